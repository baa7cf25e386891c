//! Unary gRPC calls with bodies that are encoded already.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
    transport::{Channel, Endpoint, Uri},
};

use super::{
    http::USER_AGENT,
    net::Dialer,
    reason::{Failure, Reason, Retry},
};
use crate::config::Http;

mod retry_info;

/// Of an answer; those of OTLP are a few hundred bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// What a backend may send before it is read: the least that HTTP/2 has.
const WINDOW_BYTES: u32 = 65_535;
const HEADERS_BYTES_MAX: u32 = 16 * 1024;
/// Of a message from a backend, in a log line.
const MESSAGE_CHARS_MAX: usize = 200;

/// Calls one method of one backend.
pub(crate) struct GrpcClient {
    dialer: Dialer,
    endpoint: Endpoint,
    method: PathAndQuery,
    metadata: MetadataMap,
    gzip: bool,
    timeout: Duration,
    kept: Option<Channel>,
}

impl GrpcClient {
    /// `method` is its path, such as `/package.Service/Method`.
    pub(crate) fn new(to: &Http, dialer: Dialer, timeout: Duration, method: &'static str) -> Self {
        let scheme = if to.url.tls { "https" } else { "http" };
        let uri = |scheme: &str| -> Uri {
            let uri = format!("{scheme}://{}", to.url.authority);
            uri.parse().expect("a host and a port make an authority")
        };
        // What the connector does is not for tonic to know, which would want to do TLS
        // itself.
        let endpoint = Endpoint::from(uri("http"))
            .origin(uri(scheme))
            .user_agent(USER_AGENT)
            .expect("it is letters, digits and dots")
            .initial_connection_window_size(WINDOW_BYTES)
            .initial_stream_window_size(WINDOW_BYTES)
            .http2_max_header_list_size(HEADERS_BYTES_MAX);
        Self {
            dialer,
            endpoint,
            method: PathAndQuery::from_static(method),
            metadata: MetadataMap::from_headers(to.headers.clone()),
            gzip: to.gzip,
            timeout,
            kept: None,
        }
    }

    /// Makes the call and returns its answer.
    pub(crate) async fn call(&mut self, body: Bytes) -> Result<Bytes, Failure> {
        let limit = self.timeout;
        let outcome = timeout(limit, self.exchange(body)).await;
        let outcome = outcome.unwrap_or_else(|_| {
            let to = &self.dialer.authority;
            let message = format!("{to} did not answer within {limit:?}");
            Err(Failure::transient(Reason::Timeout, message))
        });
        if let Err(failure) = &outcome
            && failure.reason != Reason::Refused
        {
            // The next call connects anew, perhaps to another address.
            self.kept = None;
        }
        outcome
    }

    async fn exchange(&mut self, body: Bytes) -> Result<Bytes, Failure> {
        let channel = match &self.kept {
            Some(kept) => kept.clone(),
            None => self.connect().await?,
        };
        let mut grpc = Grpc::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
        if self.gzip {
            grpc = grpc.send_compressed(CompressionEncoding::Gzip);
        }
        if let Err(error) = grpc.ready().await {
            return Err(Failure::transient(Reason::Broken, chain(&error)));
        }
        let mut request = Request::new(body);
        *request.metadata_mut() = self.metadata.clone();
        let answer = grpc.unary(request, self.method.clone(), Encoded).await;
        answer
            .map(tonic::Response::into_inner)
            .map_err(|status| failed(&status))
    }

    async fn connect(&mut self) -> Result<Channel, Failure> {
        // Dialled here, not by the connector: its failure keeps its reason that way.
        let stream = self.dialer.dial().await?;
        let mut stream = Some(stream);
        let connector = tower::service_fn(move |_: Uri| {
            let stream = stream.take();
            async move { stream.map(TokioIo::new).ok_or_else(once) }
        });
        let channel = self.endpoint.connect_with_connector(connector).await;
        let channel = channel.map_err(|error| Failure::transient(Reason::Broken, chain(&error)))?;
        Ok(self.kept.insert(channel).clone())
    }
}

/// A channel is for one connection.
fn once() -> std::io::Error {
    std::io::ErrorKind::NotConnected.into()
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    message
}

/// What a status means, by OTLP's table
/// (<https://opentelemetry.io/docs/specs/otlp/#failures>).
fn failed(status: &Status) -> Failure {
    let said: String = status.message().chars().take(MESSAGE_CHARS_MAX).collect();
    let message = format!("{:?}: {}", status.code(), said.escape_debug());
    let asked = pushback(status.metadata()).or_else(|| retry_info::delay(status.details()));
    match status.code() {
        _ if is_made_here(status) => Failure::transient(Reason::Broken, message),
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Failure {
            retry: asked.map_or(Retry::Later, Retry::After),
            ..Failure::transient(Reason::Unavailable, message)
        },
        // Only if the backend says when; otherwise it is for good.
        Code::ResourceExhausted if asked.is_some() => Failure {
            retry: asked.map_or(Retry::Later, Retry::After),
            ..Failure::transient(Reason::Unavailable, message)
        },
        _ => Failure::lasting(Reason::Refused, message),
    }
}

/// Whether no backend said so: it is what tonic makes of a connection that breaks, or on
/// which there is no HTTP/2. Of some errors of hyper's it keeps nothing but their words.
fn is_made_here(status: &Status) -> bool {
    let words = ["h2 protocol error: ", "operation was canceled"];
    let begins = |words: &str| status.message().starts_with(words);
    std::error::Error::source(status).is_some() || words.into_iter().any(begins)
}

/// gRPC's own way to say when to try again
/// (<https://github.com/grpc/proposal/blob/master/A6-client-retries.md>).
fn pushback(metadata: &MetadataMap) -> Option<Duration> {
    let pushback = metadata.get("grpc-retry-pushback-ms")?.to_str().ok()?;
    pushback.parse().ok().map(Duration::from_millis)
}

/// Bytes as they are, both ways.
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, body: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(body);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let retry = |code| failed(&Status::new(code, "")).retry;
        assert_eq!(retry(Code::InvalidArgument), Retry::Never);
        assert_eq!(retry(Code::Unauthenticated), Retry::Never);
        assert_eq!(retry(Code::Unimplemented), Retry::Never);
        assert_eq!(retry(Code::ResourceExhausted), Retry::Never);
        assert_eq!(retry(Code::Unavailable), Retry::Later);
        assert_eq!(retry(Code::Aborted), Retry::Later);
    }

    #[test]
    fn what_no_backend_said_is_a_broken_connection() {
        for (message, reason) in [
            ("h2 protocol error: http2 error", Reason::Broken),
            ("operation was canceled", Reason::Broken),
            ("too many of them", Reason::Unavailable),
        ] {
            for code in [Code::Cancelled, Code::Unavailable] {
                let failure = failed(&Status::new(code, message));
                assert_eq!(
                    (failure.reason, failure.retry),
                    (reason, Retry::Later),
                    "{code:?} {message}"
                );
            }
        }
    }

    #[test]
    fn a_backend_can_say_when() {
        let mut status = Status::new(Code::ResourceExhausted, "");
        let pushback = "1500".parse().expect("digits are metadata");
        status
            .metadata_mut()
            .insert("grpc-retry-pushback-ms", pushback);
        assert_eq!(
            failed(&status).retry,
            Retry::After(Duration::from_millis(1500))
        );
        for code in [Code::ResourceExhausted, Code::Unavailable] {
            let details = retry_info::asking_for(7, 0);
            let status = Status::with_details(code, "", details);
            assert_eq!(
                failed(&status).retry,
                Retry::After(Duration::from_secs(7)),
                "{code:?}"
            );
        }
    }
}
