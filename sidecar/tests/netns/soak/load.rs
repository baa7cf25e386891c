//! Clients that ask all the time.

use std::{
    cell::RefCell,
    convert::Infallible,
    fmt, mem,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http_body_util::BodyExt as _;
use hyper::{
    Method, Request,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::TcpStream,
    task::{LocalSet, spawn_local},
    time::{sleep, timeout},
};

use super::replica::{BODY, Slot};
use crate::harness::{PATIENCE, namespace::dst};

/// Requests at a time.
const AT_A_TIME: usize = 8;
/// Between an answer and the next request.
const PAUSE: Duration = Duration::from_millis(2);

/// What the sidecar says of a request whose replica was killed under it.
const LOST: &str = "upstream_closed";

/// A protocol, which has a service of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Speaks {
    Http1,
    Http2,
}

/// What came of the requests.
#[derive(Debug)]
pub(super) struct Load {
    speaks: Speaks,
    answered: usize,
    failures: Vec<String>,
    /// Calls that a replica may have worked on when it was killed, and that may not be
    /// done twice: no retry covers these.
    lost: usize,
    slowest: Duration,
}

/// How often a request may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Twice, if need be: GET.
    Repeatable,
    /// Once at most: POST, with a body that comes after its head, as most clients say it.
    Once,
}

impl Speaks {
    pub(crate) fn service(self) -> SocketAddr {
        match self {
            Speaks::Http1 => dst("192.0.2.10", 80),
            Speaks::Http2 => dst("192.0.2.11", 80),
        }
    }

    pub(crate) fn endpoint(self, slot: Slot) -> SocketAddr {
        let first = match self {
            Speaks::Http1 => 8080,
            Speaks::Http2 => 9080,
        };
        let slot = u16::try_from(slot).expect("there are few");
        dst("10.0.0.1", first + slot)
    }
}

/// A client's connection, over which one request follows the other.
enum Sender {
    Http1(http1::SendRequest<Late>),
    Http2(http2::SendRequest<Late>),
}

impl Load {
    /// Asks until then, in the namespace of the calling thread.
    pub(super) fn run(speaks: Speaks, until: Instant) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be built");
        let load = Rc::new(RefCell::new(Self {
            speaks,
            answered: 0,
            failures: Vec::new(),
            lost: 0,
            slowest: Duration::ZERO,
        }));
        let clients = LocalSet::new();
        for _ in 0..AT_A_TIME {
            clients.spawn_local(ask_until(Rc::clone(&load), until));
        }
        runtime.block_on(clients);
        Rc::into_inner(load).expect("all have ended").into_inner()
    }

    fn note(&mut self, kind: Kind, failure: Option<String>, took: Duration) {
        self.slowest = self.slowest.max(took);
        let is_lost = |failure: &String| kind == Kind::Once && failure.contains(LOST);
        match failure {
            None => self.answered += 1,
            Some(failure) if is_lost(&failure) => self.lost += 1,
            Some(failure) => self.failures.push(failure),
        }
    }

    pub(super) fn assert_none_failed(&self) {
        assert!(self.answered > 100, "{self}");
        assert!(self.failures.is_empty(), "{self}");
        // A few at each replica's end, of which there is one a second.
        assert!(self.lost * 4 < self.answered, "{self}");
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first: Vec<_> = self.failures.iter().take(5).collect();
        write!(
            f,
            "{:?}: {} answered, the slowest after {:?}; {} lost, {} failed {first:?}",
            self.speaks,
            self.answered,
            self.slowest,
            self.lost,
            self.failures.len(),
        )
    }
}

async fn ask_until(load: Rc<RefCell<Load>>, until: Instant) {
    let speaks = load.borrow().speaks;
    let mut sender = None;
    let mut kinds = [Kind::Repeatable, Kind::Once].into_iter().cycle();
    while Instant::now() < until {
        let begun = Instant::now();
        let kind = kinds.next().expect("it goes on and on");
        let asked = timeout(PATIENCE, ask(speaks, kind, &mut sender)).await;
        let failure = match asked {
            Ok(Ok(answer)) if answer == BODY => None,
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => Some(format!("{error:?}")),
            Err(_) => Some("no answer".to_owned()),
        };
        if failure.is_some() {
            sender = None;
        }
        load.borrow_mut().note(kind, failure, begun.elapsed());
        sleep(PAUSE).await;
    }
}

/// The answer's body, or its whole head if it is not 200.
async fn ask(
    speaks: Speaks,
    kind: Kind,
    sender: &mut Option<Sender>,
) -> Result<String, Box<dyn std::error::Error>> {
    let sender = match sender {
        Some(sender) => sender,
        None => sender.insert(Sender::connect(speaks).await?),
    };
    let (method, body) = match kind {
        Kind::Repeatable => (Method::GET, ""),
        Kind::Once => (Method::POST, "a word"),
    };
    let request = Request::builder().method(method).uri("http://app.test/");
    let request = request.header("host", "app.test").body(Late::new(body))?;
    let answer = sender.send(request).await?;
    if answer.status() != 200 {
        return Ok(format!("{answer:?}"));
    }
    let body = answer.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// A body that comes in a write of its own, behind the head.
struct Late {
    text: &'static str,
    is_head_sent: bool,
}

impl Late {
    fn new(text: &'static str) -> Self {
        let is_head_sent = false;
        Self { text, is_head_sent }
    }
}

impl Body for Late {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if !mem::replace(&mut self.is_head_sent, true) {
            // What is there already goes out before the body is asked again.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let text = mem::take(&mut self.text);
        let frame = || Ok(Frame::data(Bytes::from_static(text.as_bytes())));
        Poll::Ready((!text.is_empty()).then(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.text.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.text.len() as u64)
    }
}

impl Sender {
    async fn connect(speaks: Speaks) -> Result<Self, Box<dyn std::error::Error>> {
        let stream = TokioIo::new(TcpStream::connect(speaks.service()).await?);
        Ok(match speaks {
            Speaks::Http1 => {
                let (sender, connection) = http1::handshake(stream).await?;
                spawn_local(connection);
                Sender::Http1(sender)
            }
            Speaks::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
                spawn_local(connection);
                Sender::Http2(sender)
            }
        })
    }

    async fn send(&mut self, request: Request<Late>) -> hyper::Result<hyper::Response<Incoming>> {
        match self {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}
