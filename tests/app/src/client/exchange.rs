//! One HTTP/1.1 request and its answer on a connection that may carry more.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::HOST;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::client::failure::{Failure, FailureKind};
use crate::client::target::HttpUrl;

/// What is sent.
pub type HttpRequest = Request<Full<Bytes>>;

/// A connection that speaks HTTP/1.1. Dropping it closes it.
#[derive(Debug)]
pub struct HttpConnection {
    sender: SendRequest<Full<Bytes>>,
}

impl HttpConnection {
    /// Makes `stream` one; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// The connection has ended already.
    pub async fn new(stream: TcpStream) -> Result<Self, Failure> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Failure::from_hyper("set up the connection", &error))?;
        // Its errors reach us through the sender.
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    /// Whether another request can be sent: the answer before was read to its end, and the server
    /// didn't close.
    pub async fn is_reusable(&mut self) -> bool {
        !self.sender.is_closed() && self.sender.ready().await.is_ok()
    }

    /// Sends `request` and waits for the head of its answer.
    ///
    /// # Errors
    ///
    /// `Timeout` at `deadline`; `Reset` or `Protocol` if no head came.
    pub async fn send(
        &mut self,
        request: HttpRequest,
        deadline: Instant,
    ) -> Result<Response<Incoming>, Failure> {
        timeout_at(deadline, self.sender.send_request(request))
            .await
            .map_err(|_| Failure::timeout("waiting for the answer"))?
            .map_err(|error| Failure::from_hyper("waiting for the answer", &error))
    }
}

/// Reads an answer's body to its end, handing each piece to `take`.
///
/// # Errors
///
/// `Timeout` at `deadline`; `Reset` or `Protocol` if it ended too early.
pub async fn read_body(
    mut body: Incoming,
    deadline: Instant,
    mut take: impl FnMut(&[u8]),
) -> Result<(), Failure> {
    let doing = "reading the answer's body";
    while let Some(frame) = timeout_at(deadline, body.frame())
        .await
        .map_err(|_| Failure::timeout(doing))?
    {
        let frame = frame.map_err(|error| Failure::from_hyper(doing, &error))?;
        if let Some(data) = frame.data_ref() {
            take(data);
        }
    }
    Ok(())
}

/// A request without a body.
///
/// # Errors
///
/// The URL's authority can't be a header's value.
pub fn request(method: Method, url: &HttpUrl) -> Result<HttpRequest, Failure> {
    Request::builder()
        .method(method)
        .uri(url.path())
        .header(HOST, url.authority())
        .header(
            "user-agent",
            concat!("netting-test-app/", env!("CARGO_PKG_VERSION")),
        )
        .body(Full::default())
        .map_err(|error| Failure::new(FailureKind::Protocol, format!("write the request: {error}")))
}
