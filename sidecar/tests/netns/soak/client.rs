//! A client's connection to a service, over which one request follows the other.

use std::{
    convert::Infallible,
    io, mem,
    pin::Pin,
    task::{Context, Poll},
};

use hyper::{
    Request,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, task::spawn_local};

use super::service::Service;

pub(super) enum Sender {
    Http1(http1::SendRequest<Late>),
    Http2(http2::SendRequest<Late>),
}

impl Sender {
    pub(super) async fn connect(service: Service) -> io::Result<Self> {
        let stream = TcpStream::connect(service.addr()).await?;
        stream.set_nodelay(true)?;
        let stream = TokioIo::new(stream);
        Ok(if service.is_http2() {
            let handshake = http2::handshake(TokioExecutor::new(), stream).await;
            let (sender, connection) = handshake.map_err(io::Error::other)?;
            spawn_local(connection);
            Sender::Http2(sender)
        } else {
            let handshake = http1::handshake(stream).await;
            let (sender, connection) = handshake.map_err(io::Error::other)?;
            spawn_local(connection);
            Sender::Http1(sender)
        })
    }

    pub(super) async fn send(
        &mut self,
        request: Request<Late>,
    ) -> hyper::Result<hyper::Response<Incoming>> {
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

/// A body that comes in a write of its own, behind the head.
pub(super) struct Late {
    text: &'static str,
    is_head_sent: bool,
}

impl Late {
    pub(super) fn new(text: &'static str) -> Self {
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
