//! One HTTP/1.1 connection of a server.

use std::convert::Infallible;
use std::future::Future;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::http::body::ReplyBody;
use crate::server::Ending;

/// Answers requests until the client closes, or the server is ending: then the answer in progress
/// is the last, and says `connection: close`.
///
/// A client that closed its own side after the request (as `tcp-send` does) still gets its answer.
/// What goes wrong on a connection ends that connection; its client knows best what it missed.
pub(crate) async fn serve<S, H, F>(stream: S, mut ending: Ending, respond: H)
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<ReplyBody>>,
{
    let service = service_fn(|request| {
        let response = respond(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let connection = http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = ending.begun() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
