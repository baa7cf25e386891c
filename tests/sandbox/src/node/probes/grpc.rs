//! The `grpc` probe: the standard health check over HTTP/2.
//!
//! See <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>. The two messages have one
//! field each, so they are written and read by hand.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// `HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: u8 = 1;

/// Far more than a health check's answer has.
const ANSWER_BYTES_MAX: usize = 4096;

/// # Errors
/// Why the service isn't serving, or can't be asked.
pub(super) async fn check(addr: SocketAddr, service: &str) -> Result<(), String> {
    let stream = TcpStream::connect(addr)
        .await
        .map_err(|error| format!("dial tcp {addr}: {error}"))?;
    let said = |error: hyper::Error| format!("health rpc to {addr} failed: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(said)?;
    let connection = tokio::spawn(connection);
    let answered = async {
        let request = Request::post(format!("http://{addr}/grpc.health.v1.Health/Check"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", "kube-probe/1.36")
            .body(Full::new(question(service)?))
            .map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(said)?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| format!("health rpc to {addr} failed: {error}"))?;
        // An answer without messages carries its trailers as headers.
        let status = |headers: &http::HeaderMap| headers.get("grpc-status").cloned();
        let status = body
            .trailers()
            .and_then(status)
            .or_else(|| status(&parts.headers));
        match status.as_ref().map(http::HeaderValue::as_bytes) {
            Some(b"0") => serving(&body.to_bytes()),
            Some(code) => Err(format!(
                "health rpc failed with status {}",
                String::from_utf8_lossy(code)
            )),
            None => Err(format!("no gRPC answer but HTTP status {}", parts.status)),
        }
    };
    let answer = answered.await;
    connection.abort();
    answer
}

/// A gRPC message: no compression, four bytes of length, and field 1, the service's name.
fn question(service: &str) -> Result<Bytes, String> {
    let mut message = Vec::new();
    if !service.is_empty() {
        let length = u8::try_from(service.len())
            .ok()
            .filter(|length| *length < 128);
        message.extend([
            0x0a,
            length.ok_or("the service's name has 127 bytes at most")?,
        ]);
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).map_err(|error| error.to_string())?;
    Ok([&[0][..], &length.to_be_bytes(), &message].concat().into())
}

/// Field 1 is the status; zero is left out.
fn serving(answer: &[u8]) -> Result<(), String> {
    match answer {
        [0, 0, 0, 0, 2, 0x08, SERVING] => Ok(()),
        [0, 0, 0, 0, 2, 0x08, status] => Err(format!("service unhealthy (status {status})")),
        [0, 0, 0, 0, 0] => Err("service unhealthy (status 0)".to_owned()),
        _ => Err("the answer to the health check is none".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::StreamBody;
    use hyper::body::{Frame, Incoming};

    use super::*;

    #[test]
    fn only_serving_is_healthy() {
        for answer in [
            &b""[..],
            b"\0\0\0\0\0",
            b"\0\0\0\0\x02\x08\x02",
            b"\x01\0\0\0\x02\x08\x01",
        ] {
            assert!(serving(answer).is_err(), "{answer:?}");
        }
        assert_eq!(serving(b"\0\0\0\0\x02\x08\x01"), Ok(()));
    }

    #[test]
    fn asks_for_the_service_by_name() {
        assert!(question(&"x".repeat(128)).is_err());
        assert_eq!(question("").as_deref(), Ok(&b"\0\0\0\0\0"[..]));
        assert_eq!(
            question("ab").as_deref(),
            Ok(&b"\0\0\0\0\x04\x0a\x02ab"[..])
        );
    }

    /// Answers one check with this status, for the service `web` only.
    async fn answered(service: &str, status: u8) -> Result<(), String> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a socket");
        let addr = listener.local_addr().expect("an address");
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a connection");
            let service =
                hyper::service::service_fn(move |request: Request<Incoming>| async move {
                    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                    assert_eq!(request.headers()["content-type"], "application/grpc");
                    let asked = request
                        .into_body()
                        .collect()
                        .await
                        .expect("a message")
                        .to_bytes();
                    let code = if asked.ends_with(b"\x03web") {
                        "0"
                    } else {
                        "5"
                    };
                    let message = Frame::data(Bytes::from(vec![0, 0, 0, 0, 2, 0x08, status]));
                    let mut trailers = http::HeaderMap::new();
                    trailers.insert("grpc-status", http::HeaderValue::from_static(code));
                    let frames = [message, Frame::trailers(trailers)];
                    let frames = frames.map(Ok::<_, std::convert::Infallible>);
                    let body = StreamBody::new(futures_util::stream::iter(frames));
                    Ok::<_, std::convert::Infallible>(http::Response::new(body))
                });
            // It ends when the client has gone.
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        let result = check(addr, service).await;
        server.await.expect("no panic");
        result
    }

    #[tokio::test]
    async fn a_real_server_is_healthy_if_it_says_so() {
        assert_eq!(answered("web", SERVING).await, Ok(()));
        let unhealthy = answered("web", 2).await.expect_err("not serving");
        assert!(unhealthy.contains("status 2"), "{unhealthy}");
        let unknown = answered("other", SERVING).await.expect_err("not found");
        assert!(unknown.contains("status 5"), "{unknown}");
    }
}
