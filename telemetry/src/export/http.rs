//! POSTs over HTTP/1.1, one at a time on a connection that is kept.
//!
//! Whatever a backend answers, little of it is read: its head is bounded, and a body
//! that goes on for too long ends the connection.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{Builder, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{task::AbortHandle, time::timeout};

use super::{
    net::Dialer,
    reason::{Failure, Reason, Retry},
};
use crate::config::Http;

/// Of an answer's head. hyper takes no less than 8 KiB.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Of an answer's body. What explains an error, or counts what was rejected, is short.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Of a message from a backend, in a log line.
const MESSAGE_CHARS_MAX: usize = 200;

/// What a protocol has beside its bodies.
pub(crate) struct Protocol {
    /// Headers of each request.
    pub(crate) headers: &'static [(&'static str, &'static str)],
    /// Whether the same may be sent again after such an answer.
    pub(crate) passes: fn(StatusCode) -> bool,
}

/// Sends requests to one backend.
pub(crate) struct HttpClient {
    dialer: Dialer,
    to: Http,
    timeout: Duration,
    /// Headers of the protocol, and those of the configuration over them.
    headers: HeaderMap,
    passes: fn(StatusCode) -> bool,
    kept: Option<Connection>,
}

/// Ends when it is dropped.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: AbortHandle,
}

/// A successful answer's body.
pub(crate) type Answer = Bytes;

impl HttpClient {
    pub(crate) fn new(to: Http, dialer: Dialer, timeout: Duration, protocol: &Protocol) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in protocol.headers {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        let host = HeaderValue::try_from(to.url.authority.to_string());
        headers.insert(
            header::HOST,
            host.expect("a host is letters, digits and dots"),
        );
        for (name, value) in &to.headers {
            headers.insert(name, value.clone());
        }
        Self {
            dialer,
            to,
            timeout,
            headers,
            passes: protocol.passes,
            kept: None,
        }
    }

    /// Sends a body and returns what a 2xx answer has to say.
    pub(crate) async fn post(&mut self, body: Bytes) -> Result<Answer, Failure> {
        let limit = self.timeout;
        match timeout(limit, self.exchange(body)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.kept = None;
                let message = format!("{} did not answer within {limit:?}", self.to.url);
                Err(Failure::transient(Reason::Timeout, message))
            }
        }
    }

    async fn exchange(&mut self, body: Bytes) -> Result<Answer, Failure> {
        // Taken out: it is put back when it is good for another one.
        let mut connection = match self.kept.take() {
            Some(kept) if !kept.sender.is_closed() => kept,
            _ => Connection::open(&self.dialer).await?,
        };
        let request = self.request(body);
        let answer = connection.sender.send_request(request).await;
        let answer = answer.map_err(broken)?;
        let (head, body) = answer.into_parts();
        let body = read(body).await?;
        if let Some(body) = body.as_ref().filter(|_| head.status.is_success()) {
            self.kept = Some(connection);
            return Ok(body.clone());
        }
        if head.status.is_success() {
            return Ok(Bytes::new());
        }
        if body.is_some() {
            self.kept = Some(connection);
        }
        let failure = refused(head.status, &body.unwrap_or_default());
        let after = head.headers.get(header::RETRY_AFTER).and_then(retry_after);
        Err(Failure {
            retry: match after {
                _ if !(self.passes)(head.status) => Retry::Never,
                Some(after) => Retry::After(after),
                None => Retry::Later,
            },
            ..failure
        })
    }

    fn request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let (body, encoding) = if self.to.gzip {
            (gzipped(&body), Some("gzip"))
        } else {
            (body, None)
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.to.url.path.clone().into();
        *request.headers_mut() = self.headers.clone();
        if let Some(encoding) = encoding {
            let encoding = HeaderValue::from_static(encoding);
            request
                .headers_mut()
                .insert(header::CONTENT_ENCODING, encoding);
        }
        request
    }
}

pub(crate) const USER_AGENT: &str = concat!("netting/", env!("CARGO_PKG_VERSION"));

impl Connection {
    async fn open(dialer: &Dialer) -> Result<Self, Failure> {
        let stream = dialer.dial().await?;
        let (sender, driver) = Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        let driver = tokio::spawn(async move {
            // Whoever uses the connection sees its end too.
            let _ = driver.await;
        });
        Ok(Self {
            sender,
            driver: driver.abort_handle(),
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The body, if it has an end soon enough.
async fn read(body: Incoming) -> Result<Option<Bytes>, Failure> {
    let mut body = pin!(body);
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(broken)?;
        let data = frame.data_ref().map_or(&[][..], |data| data);
        if read.len() + data.len() > BODY_BYTES_MAX {
            return Ok(None);
        }
        read.extend_from_slice(data);
    }
    Ok(Some(read.into()))
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "it is what map_err has to give"
)]
fn broken(error: hyper::Error) -> Failure {
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
    let message = format!("{error}{}", cause.unwrap_or_default());
    Failure::transient(Reason::Broken, message)
}

/// Whether what such an answer says may pass (RFC 9110 section 15), where a protocol has
/// no rules of its own.
pub(crate) fn passes(status: StatusCode) -> bool {
    let asks_again = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    status.is_server_error() || asks_again.contains(&status)
}

/// What an answer other than 2xx means.
fn refused(status: StatusCode, body: &[u8]) -> Failure {
    let said = String::from_utf8_lossy(body);
    let said: String = said.trim().chars().take(MESSAGE_CHARS_MAX).collect();
    let reason = if passes(status) {
        Reason::Unavailable
    } else {
        Reason::Refused
    };
    Failure::lasting(reason, format!("{status}: {}", said.escape_debug()))
}

/// In seconds. As a date it is for caches and people; our own pauses do as well.
fn retry_after(value: &HeaderValue) -> Option<Duration> {
    let seconds = value.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn gzipped(body: &[u8]) -> Bytes {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let written = encoder.write_all(body).and_then(|()| encoder.finish());
    written.expect("a vector takes all that is written").into()
}

#[cfg(test)]
mod tests;
