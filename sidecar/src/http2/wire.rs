//! A connection whose writes are gathered.
//!
//! The library writes and flushes each frame of data that is not tiny, which is a
//! system call for each response. Here frames are kept until the connection's task
//! has nothing more to write, and then go out together.

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    mem,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::{
    protocol::Begun,
    stream::{await_more, poll_write},
};

/// What is gathered at most. More makes no system call cheaper.
const HELD_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    /// Memory for the next connection that writes: nearly always all is sent before
    /// another one does.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The connection, as the library uses it.
#[derive(Debug)]
pub(super) struct Wire(Rc<Gathered>);

/// What was written and not yet sent. The connection's task sends it whenever it has
/// nothing else to do.
#[derive(Debug)]
pub(super) struct Gathered {
    stream: TcpStream,
    /// What was read before, and is to be read first.
    early: RefCell<Vec<u8>>,
    /// Something came since that was last asked.
    heard: Cell<bool>,
    first: Cell<First>,
    held: RefCell<Vec<u8>>,
    /// How much of it has been sent.
    sent: Cell<usize>,
}

/// What has come of the first frame.
#[derive(Clone, Copy, Debug, Default)]
struct First {
    bytes: usize,
    /// How long its payload is (RFC 9113 section 4.1), as far as that has come.
    length: [u8; 3],
}

impl First {
    const HEAD_BYTES: usize = 9;

    fn heard(mut self, bytes: &[u8]) -> Self {
        let length = self.length.iter_mut().skip(self.bytes);
        for (place, byte) in length.zip(bytes) {
            *place = *byte;
        }
        self.bytes = self.bytes.saturating_add(bytes.len());
        self
    }

    fn is_whole(self) -> bool {
        let [high, middle, low] = self.length.map(usize::from);
        self.bytes >= Self::HEAD_BYTES + (high << 16 | middle << 8 | low)
    }
}

/// Both ends of a connection's task. So many bytes have been sent of what will be
/// written first.
pub(super) fn gather(stream: TcpStream, has: usize) -> (Wire, Rc<Gathered>) {
    joined(stream, has, Vec::new())
}

/// The same for a connection from which this was read.
pub(super) fn gather_behind(stream: TcpStream, begun: Begun) -> (Wire, Rc<Gathered>) {
    joined(stream, 0, begun.into_bytes())
}

fn joined(stream: TcpStream, has: usize, early: Vec<u8>) -> (Wire, Rc<Gathered>) {
    let gathered = Rc::new(Gathered {
        stream,
        early: RefCell::new(early),
        heard: Cell::new(false),
        first: Cell::default(),
        held: RefCell::default(),
        sent: Cell::new(has),
    });
    (Wire(Rc::clone(&gathered)), gathered)
}

impl Gathered {
    /// Whether a whole frame has come.
    pub(super) fn has_first_frame(&self) -> bool {
        self.first.get().is_whole()
    }

    /// Whether something has come since this was last asked.
    pub(super) fn take_heard(&self) -> bool {
        self.heard.take()
    }

    fn read_early(&self, buffer: &mut ReadBuf<'_>) {
        let mut early = self.early.borrow_mut();
        let now = early.len().min(buffer.remaining());
        buffer.put_slice(&early[..now]);
        if now == early.len() {
            *early = Vec::new();
        } else {
            early.drain(..now);
        }
    }

    /// Sends what is held. If it cannot all be sent now, the task is woken when it can.
    ///
    /// # Errors
    /// If the peer has gone.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut held = self.held.borrow_mut();
        while self.sent.get() < held.len() {
            let rest = &held[self.sent.get()..];
            let wrote = ready!(poll_write(&self.stream, cx, rest))?;
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent.set(self.sent.get() + wrote);
        }
        self.sent.set(0);
        if held.capacity() > 0 {
            held.clear();
            SPARE.set(mem::take(&mut held));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.0.early.borrow().is_empty() {
            self.0.read_early(buffer);
            return Poll::Ready(Ok(()));
        }
        let stream = &self.0.stream;
        let before = buffer.filled().len();
        loop {
            ready!(stream.poll_read_ready(cx))?;
            match stream.try_read_buf(buffer) {
                Ok(read) => {
                    self.0.heard.set(true);
                    let first = self.0.first.get();
                    self.0.first.set(first.heard(&buffer.filled()[before..]));
                    if 0 < read && buffer.remaining() > 0 {
                        await_more(stream);
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.0.held.borrow().len() >= HELD_BYTES_MAX {
            ready!(self.0.poll_send(cx))?;
        }
        let mut held = self.0.held.borrow_mut();
        if held.capacity() == 0 {
            *held = SPARE.take();
        }
        let before = held.len();
        for slice in slices {
            let room = HELD_BYTES_MAX - held.len();
            held.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        Poll::Ready(Ok(held.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The connection's task does that.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.0.poll_send(cx))?;
        Poll::Ready(SockRef::from(&self.0.stream).shutdown(std::net::Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    async fn connected() -> (Wire, Rc<Gathered>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("there is a free port");
        let addr = listener.local_addr().expect("it is bound");
        let connecting = TcpStream::connect(addr);
        let (near, far) = tokio::join!(connecting, listener.accept());
        let (wire, gathered) = gather(near.expect("it listens"), 0);
        (wire, gathered, far.expect("it connects").0)
    }

    #[tokio::test]
    async fn nothing_is_sent_to_a_peer_that_has_gone() {
        let (mut wire, gathered, far) = connected().await;
        far.set_zero_linger().expect("a socket can be set so");
        drop(far);
        let mut byte = [0];
        let read = wire.read(&mut byte).await;
        assert!(read.is_err(), "it was reset");
        wire.write_all(b"late").await.expect("it is held");
        assert!(poll_fn(|cx| gathered.poll_send(cx)).await.is_err());
    }

    #[test]
    fn the_first_frame_is_known_when_all_of_it_has_come() {
        let frame = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1];
        let mut first = First::default();
        for byte in &frame {
            assert!(!first.is_whole(), "{first:?}");
            first = first.heard(&[*byte]);
        }
        assert!(first.is_whole());
        assert!(First::default().heard(&frame).is_whole());
        assert!(!First::default().heard(&frame[..14]).is_whole());
    }

    #[tokio::test]
    async fn what_is_written_goes_out_together_when_it_is_sent() {
        let (mut wire, gathered, mut far) = connected().await;
        for frame in [&b"one "[..], b"two "] {
            wire.write_all(frame).await.expect("it is held");
            wire.flush().await.expect("it is held");
        }
        let mut buffer = [0; 64];
        let early = far.try_read(&mut buffer);
        let kind = early.expect_err("nothing was sent").kind();
        assert_eq!(kind, io::ErrorKind::WouldBlock);
        let sent = poll_fn(|cx| gathered.poll_send(cx)).await;
        sent.expect("the peer reads");
        wire.write_all(b"three").await.expect("it is held");
        wire.shutdown().await.expect("the rest is sent first");
        let mut all = String::new();
        far.read_to_string(&mut all).await.expect("it ends");
        assert_eq!(all, "one two three");
    }

    #[tokio::test]
    async fn a_slow_reader_is_waited_for_and_gets_all_of_it() {
        let (mut wire, gathered, mut far) = connected().await;
        let bytes = vec![7; 16 << 20];
        let write = async {
            wire.write_all(&bytes).await.expect("the peer reads");
            let sent = poll_fn(|cx| gathered.poll_send(cx)).await;
            sent.expect("the peer reads");
            wire.shutdown().await.expect("the peer reads");
            assert_eq!(gathered.held.borrow().capacity(), 0, "all memory is back");
        };
        let mut got = Vec::new();
        let (_, read) = tokio::join!(write, far.read_to_end(&mut got));
        read.expect("it ends");
        assert!(got == bytes, "all bytes come, in order");
    }
}
