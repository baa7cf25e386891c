//! A body on its way from one stream to another.

use std::{
    cell::Cell,
    future::poll_fn,
    task::{Poll, ready},
};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::HeaderMap;

/// Why a body does not go on.
#[derive(Debug)]
pub(super) enum Stuck {
    /// Where it comes from was reset, or its connection is gone.
    Source(h2::Error),
    /// Where it goes takes no more.
    Sink,
}

/// Passes a body and its trailers on, to their end, and tells the trailers. What is
/// taken from the source counts as passed.
pub(super) async fn pump(
    source: &mut RecvStream,
    sink: &mut SendStream<Bytes>,
    passed: &Cell<u64>,
) -> Result<Option<HeaderMap>, Stuck> {
    loop {
        let next = poll_fn(|cx| {
            if sink.poll_reset(cx).is_ready() {
                return Poll::Ready(Err(Stuck::Sink));
            }
            Poll::Ready(match ready!(source.poll_data(cx)) {
                Some(Ok(data)) => Ok(Some(data)),
                Some(Err(error)) => Err(Stuck::Source(error)),
                None => Ok(None),
            })
        });
        let Some(data) = next.await? else {
            return trailers(source, sink).await;
        };
        let count = data.len();
        let is_last = source.is_end_stream();
        passed.set(passed.get() + count as u64);
        send(sink, data, is_last).await?;
        // Only now may the sender send as much again.
        let _ = source.flow_control().release_capacity(count);
        if is_last {
            return Ok(None);
        }
    }
}

async fn trailers(
    source: &mut RecvStream,
    sink: &mut SendStream<Bytes>,
) -> Result<Option<HeaderMap>, Stuck> {
    let trailers = source.trailers().await.map_err(Stuck::Source)?;
    let sent = match &trailers {
        Some(trailers) => sink.send_trailers(trailers.clone()),
        None => sink.send_data(Bytes::new(), true),
    };
    sent.map_err(|_| Stuck::Sink)?;
    Ok(trailers)
}

/// Sends data as far as the window is open, and waits for the rest.
async fn send(sink: &mut SendStream<Bytes>, mut data: Bytes, is_last: bool) -> Result<(), Stuck> {
    loop {
        sink.reserve_capacity(data.len());
        while !data.is_empty() && sink.capacity() == 0 {
            match poll_fn(|cx| sink.poll_capacity(cx)).await {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(Stuck::Sink),
            }
        }
        let part = data.split_to(data.len().min(sink.capacity()));
        let ends = is_last && data.is_empty();
        if ends || !part.is_empty() {
            sink.send_data(part, ends).map_err(|_| Stuck::Sink)?;
        }
        if data.is_empty() {
            return Ok(());
        }
    }
}
