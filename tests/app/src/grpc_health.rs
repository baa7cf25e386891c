//! gRPC server with the standard health service alone.
//!
//! See <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>. Both messages have one
//! field, so they are read and written by hand.

use std::convert::Infallible;
use std::process::ExitCode;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::pod::Pod;
use crate::server::{self, Ending, ServerArgs};
use crate::terminate::Terminate;

const CHECK: &str = "/grpc.health.v1.Health/Check";
/// A name of a service, with room to spare.
const QUESTION_BYTES_MAX: usize = 64 * 1024;
/// gRPC's frame: a flag for compression, and the message's length in four bytes.
const FRAME_HEAD_BYTES: usize = 5;
/// The tag of field 1, if it is a string, and if it is a number.
const FIELD_1_STRING: u8 = 0x0a;
const FIELD_1_NUMBER: u8 = 0x08;

/// What a question is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Serving,
    NotServing,
    /// `grpc-status: 5`.
    NotFound,
    /// `grpc-status: 12`.
    Unimplemented,
}

/// Runs the server until it's asked to end.
///
/// # Errors
///
/// The port can't be listened on.
pub async fn run(args: &ServerArgs, pod: Pod, terminate: Terminate) -> anyhow::Result<ExitCode> {
    let listener = server::listen("grpc-health", args.port, &pod)?;
    server::serve(
        listener,
        args.on_sigterm,
        terminate,
        |stream, _peer, ending| connection(stream, ending),
    )
    .await;
    Ok(ExitCode::SUCCESS)
}

async fn connection(stream: TcpStream, mut ending: Ending) {
    let connection = http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service_fn(respond));
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = ending.begun() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn respond(
    request: Request<Incoming>,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let is_check = request.uri().path() == CHECK;
    let question = Limited::new(request.into_body(), QUESTION_BYTES_MAX)
        .collect()
        .await;
    let question = question.map(|body| body.to_bytes()).unwrap_or_default();
    let answer = if is_check {
        answer(&question)
    } else {
        Answer::Unimplemented
    };
    let (message, status) = match answer {
        Answer::Serving => (frame(1), "0"),
        Answer::NotServing => (frame(2), "0"),
        Answer::NotFound => (Bytes::new(), "5"),
        Answer::Unimplemented => (Bytes::new(), "12"),
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    let body = Full::new(message).with_trailers(async move { Some(Ok(trailers)) });
    let mut response = Response::new(body);
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, grpc);
    Ok(response)
}

fn answer(question: &[u8]) -> Answer {
    match question.get(FRAME_HEAD_BYTES..).map(service) {
        Some(Some(b"" | b"well")) => Answer::Serving,
        Some(Some(b"sick")) => Answer::NotServing,
        _ => Answer::NotFound,
    }
}

/// The name in a `HealthCheckRequest`; names of up to 127 bytes have their length in one.
fn service(message: &[u8]) -> Option<&[u8]> {
    match message {
        [] => Some(b""),
        [FIELD_1_STRING, length, name @ ..] if usize::from(*length) == name.len() => Some(name),
        _ => None,
    }
}

fn frame(status: u8) -> Bytes {
    Bytes::from(vec![0, 0, 0, 0, 2, FIELD_1_NUMBER, status])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_by_the_name_of_the_service() {
        let question = |message: &[u8]| {
            let length = u8::try_from(message.len()).expect("it is short");
            [&[0, 0, 0, 0, length], message].concat()
        };
        for (message, expected) in [
            (b"\x0a\x05other".as_slice(), Answer::NotFound),
            (b"\x0a\x09well", Answer::NotFound),
            (b"\x08\x01", Answer::NotFound),
            (b"\x0a\x04sick", Answer::NotServing),
            (b"\x0a\x04well", Answer::Serving),
            (b"\x0a\x00", Answer::Serving),
            (b"", Answer::Serving),
        ] {
            assert_eq!(answer(&question(message)), expected, "{message:?}");
        }
        assert_eq!(answer(b"\0\0"), Answer::NotFound, "no frame");
    }
}
