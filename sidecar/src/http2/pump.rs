//! A body on its way from one stream to another.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use h2::{RecvStream, SendStream};
use http::HeaderMap;

/// Of a body that may have to be sent again, at most so much is kept.
const KEPT_MAX: usize = 64 * 1024;

/// A frame of less takes more memory than its data, while it waits.
const SMALL_BYTES: usize = 256;

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
        self.unreleased.set(self.unreleased.get() + data.len());
        let mut kept = self.kept.borrow_mut();
        if let Some(before) = kept.as_mut() {
            if before.data.len() + data.len() > KEPT_MAX {
                *kept = None;
            } else {
                before.data.extend_from_slice(data);
            }
        }
    }

    /// So much of what was taken is sent on. Only now may its sender send as much again.
    fn release(&self, source: &mut RecvStream, sent: usize) {
        let now = sent.min(self.unreleased.get());
        self.unreleased.set(self.unreleased.get() - now);
        let _ = source.flow_control().release_capacity(now);
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
    let kept = Waiting {
        is_last,
        ..Waiting::new(source, passed, data)
    };
    kept.send(sink).await?;
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
        let mut taken = Waiting::new(source, passed, Bytes::new());
        taken.join(data);
        let is_last = taken.send(sink).await?;
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

/// Data that waits for a window to open, joined by small frames that come meanwhile. The
/// library holds each of those in memory of its own, and gives up a connection that has
/// too many of them, with all streams that share it.
struct Waiting<'w> {
    source: &'w mut RecvStream,
    passed: &'w Passed,
    data: Bytes,
    /// What is behind it.
    joined: BytesMut,
    /// The last frame was small, and the next one may be.
    joins: bool,
    /// Nothing follows, nor do trailers.
    is_last: bool,
    /// Why nothing follows that should have.
    broken: Option<h2::Error>,
}

impl<'w> Waiting<'w> {
    fn new(source: &'w mut RecvStream, passed: &'w Passed, data: Bytes) -> Self {
        Self {
            source,
            passed,
            data,
            joined: BytesMut::new(),
            joins: false,
            is_last: false,
            broken: None,
        }
    }

    /// Takes a frame's data.
    fn join(&mut self, data: Bytes) {
        self.is_last = self.source.is_end_stream();
        self.joins = !self.is_last && data.len() < SMALL_BYTES;
        self.passed.data(&data);
        if self.is_last {
            self.passed.end(None);
        }
        if self.data.is_empty() {
            self.data = data;
        } else {
            self.joined.extend_from_slice(&data);
        }
    }

    /// Sends it as far as the window is open, and waits for the rest. Tells whether it was
    /// the last.
    async fn send(mut self, sink: &mut SendStream<Bytes>) -> Result<bool, Stuck> {
        loop {
            sink.reserve_capacity(self.data.len());
            while !self.data.is_empty() && sink.capacity() == 0 {
                poll_fn(|cx| self.poll_room(sink, cx)).await?;
            }
            let part = self.data.len().min(sink.capacity());
            let part = self.data.split_to(part);
            if self.data.is_empty() {
                self.data = self.joined.split().freeze();
            }
            let (ends, size) = (self.is_last && self.data.is_empty(), part.len());
            if ends || size > 0 {
                sink.send_data(part, ends).map_err(|_| Stuck::Sink)?;
                self.passed.release(self.source, size);
            }
            if self.data.is_empty() {
                return match self.broken {
                    Some(error) => Err(Stuck::Source(error)),
                    None => Ok(self.is_last),
                };
            }
        }
    }

    /// Waits for the window, and takes what may join.
    fn poll_room(
        &mut self,
        sink: &mut SendStream<Bytes>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Stuck>> {
        if let Poll::Ready(room) = sink.poll_capacity(cx) {
            let is_open = matches!(room, Some(Ok(_)));
            return Poll::Ready(is_open.then_some(()).ok_or(Stuck::Sink));
        }
        while self.joins
            && let Poll::Ready(next) = self.source.poll_data(cx)
        {
            match next {
                Some(Ok(data)) => self.join(data),
                Some(Err(error)) => {
                    self.joins = false;
                    self.broken = Some(error);
                }
                None => self.joins = false,
            }
        }
        Poll::Pending
    }
}
