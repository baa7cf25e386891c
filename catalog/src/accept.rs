//! Accepts connections to the gRPC port, as many as there are slots for.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use netting_runtime::{Acceptor, Drain, Holder, Slot};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Sleep, sleep},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

/// A client that connects and doesn't say what every HTTP/2 client begins with
/// gives its slot back after this. Later silence is found out by pings.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);
/// `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`, RFC 9113, section 3.4.
const PREFACE_BYTES: usize = 24;
/// So does one that has no stream for so long: a sidecar connects for each of its streams.
const NO_STREAM_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections to a listener, until the drain starts.
pub fn connections(
    listener: TcpListener,
    connections_max: usize,
    drain: &Drain,
) -> ReceiverStream<io::Result<Connection>> {
    let acceptor = Acceptor::new(listener, "connections of sidecars", connections_max);
    let (accepted, connections) = mpsc::channel(1);
    let stopped = drain.clone();
    let accepting = async move {
        tokio::select! {
            () = stopped.started() => {}
            () = accept(&acceptor, &accepted) => {}
        }
    };
    drain.spawn(drain.vital("what accepts sidecars' connections", accepting));
    ReceiverStream::new(connections)
}

async fn accept(acceptor: &Acceptor, accepted: &mpsc::Sender<io::Result<Connection>>) {
    loop {
        let (stream, addr, slot) = acceptor.accept().await;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "messages may be delayed by Nagle's algorithm");
        }
        let connection = Connection::new(stream, addr, slot);
        if accepted.send(Ok(connection)).await.is_err() {
            return;
        }
    }
}

/// A connection that holds its slot, must begin soon, and is for streams.
pub struct Connection {
    stream: TcpStream,
    preface: Option<Preface>,
    client: Client,
    /// Resolves once the slot is to be given back; `None` if it is.
    over: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _slot: Slot,
}

#[derive(Debug)]
struct Preface {
    read: usize,
    deadline: Pin<Box<Sleep>>,
}

/// Who has a connection; in the extensions of each of its requests.
#[derive(Clone, Debug)]
pub struct Client {
    /// Where it is.
    pub addr: SocketAddr,
    /// Whoever serves it, which is to be told of its streams.
    pub holder: Arc<Holder>,
}

impl Connection {
    fn new(stream: TcpStream, addr: SocketAddr, slot: Slot) -> Self {
        let holder = Arc::new(slot.holder().clone());
        let client = Client { addr, holder };
        let holder = Arc::clone(&client.holder);
        let over = async move {
            tokio::select! {
                () = holder.revoked() => {}
                () = holder.idle_for(NO_STREAM_TIMEOUT) => {}
            }
        };
        Self {
            stream,
            preface: Some(Preface {
                read: 0,
                deadline: Box::pin(sleep(PREFACE_TIMEOUT)),
            }),
            client,
            over: Some(Box::pin(over)),
            _slot: slot,
        }
    }

    /// Fails once the slot is to be given back; whoever waits for the connection then
    /// hears of it.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Some(over) = &mut self.over
            && over.as_mut().poll(cx).is_pending()
        {
            return Ok(());
        }
        self.over = None;
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, .. } = self;
        f.debug_struct("Connection")
            .field("client", client)
            .finish_non_exhaustive()
    }
}

impl Connected for Connection {
    type ConnectInfo = Client;

    fn connect_info(&self) -> Client {
        self.client.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let Some(preface) = &mut self.preface else {
            return read;
        };
        preface.read += buf.filled().len() - before;
        if preface.read >= PREFACE_BYTES {
            self.preface = None;
        } else if preface.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
