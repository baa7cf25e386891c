//! A body on its way from one stream to another.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    task::{Poll, ready},
};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::HeaderMap;

/// Of a body that may have to be sent again, at most so much is kept.
const KEPT_MAX: usize = 64 * 1024;

/// Why a body does not go on.
#[derive(Debug)]
pub(super) enum Stuck {
    /// Where it comes from was reset, or its connection is gone.
    Source(h2::Error),
    /// Where it goes takes no more.
    Sink,
}

/// What was taken of a body.
#[derive(Debug, Default)]
pub(super) struct Passed {
    bytes: Cell<u64>,
    /// Of that, what its sender does not yet know of: it is not sent on yet.
    unreleased: Cell<usize>,
    /// All that has come of it is sent on, and more is to come.
    awaits_source: Cell<bool>,
    /// All of that, while it may have to be sent again.
    kept: RefCell<Option<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    data: Vec<u8>,
    /// The body has come to its end, with these trailers.
    end: Option<Option<HeaderMap>>,
}

impl Passed {
    /// Of a body that may have to be sent again.
    pub(super) fn keeping() -> Self {
        Self {
            kept: RefCell::new(Some(Kept::default())),
            ..Self::default()
        }
    }

    /// How much was taken.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Whether its sender is the one who is waited for.
    pub(super) fn awaits_source(&self) -> bool {
        self.awaits_source.get()
    }

    /// Whether the body can be sent again.
    pub(super) fn is_kept(&self) -> bool {
        self.kept.borrow().is_some()
    }

    /// The body is not going to be sent again.
    pub(super) fn let_go(&self) {
        self.kept.replace(None);
    }

    fn data(&self, data: &Bytes) {
        self.awaits_source.set(false);
        self.bytes.set(self.bytes.get() + data.len() as u64);
        self.unreleased.set(data.len());
        let mut kept = self.kept.borrow_mut();
        if let Some(before) = kept.as_mut() {
            if before.data.len() + data.len() > KEPT_MAX {
                *kept = None;
            } else {
                before.data.extend_from_slice(data);
            }
        }
    }

    /// What was taken is sent on. Only now may its sender send as much again.
    fn release(&self, source: &mut RecvStream) {
        let _ = source
            .flow_control()
            .release_capacity(self.unreleased.take());
    }

    fn end(&self, trailers: Option<&HeaderMap>) {
        self.awaits_source.set(false);
        if let Some(kept) = self.kept.borrow_mut().as_mut() {
            kept.end = Some(trailers.cloned());
        }
    }
}

/// Passes a body on as [`pump`] does, after what was kept of it.
pub(super) async fn pump_again(
    source: &mut RecvStream,
    sink: &mut SendStream<Bytes>,
    passed: &Passed,
) -> Result<(), Stuck> {
    let (data, end) = match passed.kept.borrow().as_ref() {
        Some(kept) => (Bytes::copy_from_slice(&kept.data), kept.end.clone()),
        None => (Bytes::new(), None),
    };
    let is_last = matches!(end, Some(None));
    passed.awaits_source.set(false);
    send(sink, data, is_last).await?;
    passed.release(source);
    match end {
        None => pump(source, sink, passed).await.map(drop),
        Some(None) => Ok(()),
        Some(Some(trailers)) => sink.send_trailers(trailers).map_err(|_| Stuck::Sink),
    }
}

/// Passes a body and its trailers on, to their end, and tells the trailers. What is
/// taken from the source counts as passed.
pub(super) async fn pump(
    source: &mut RecvStream,
    sink: &mut SendStream<Bytes>,
    passed: &Passed,
) -> Result<Option<HeaderMap>, Stuck> {
    loop {
        passed.awaits_source.set(true);
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
            return pump_trailers(source, sink, passed).await;
        };
        let is_last = source.is_end_stream();
        passed.data(&data);
        if is_last {
            passed.end(None);
        }
        send(sink, data, is_last).await?;
        passed.release(source);
        if is_last {
            return Ok(None);
        }
    }
}

async fn pump_trailers(
    source: &mut RecvStream,
    sink: &mut SendStream<Bytes>,
    passed: &Passed,
) -> Result<Option<HeaderMap>, Stuck> {
    let trailers = source.trailers().await.map_err(Stuck::Source)?;
    passed.end(trailers.as_ref());
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
