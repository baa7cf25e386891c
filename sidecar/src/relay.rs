//! Copies bytes both ways between two connections until both are finished.
//!
//! An idle connection holds no buffer: bytes go through one scratch buffer for each
//! worker thread, and only what the slower side did not take is kept, at most
//! [`BUFFER_BYTES`] for each direction.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io,
    net::Shutdown,
    pin::pin,
    task::{Context, Poll, ready},
};

use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream};

use crate::{
    reason::Reason,
    stream::{poll_read, poll_write},
};

/// Size of a worker's scratch buffer, and so of what one direction of a connection
/// can hold. Larger reads save system calls on bulk transfers; beyond 64 KiB the
/// kernel's own socket buffers are what limits.
pub const BUFFER_BYTES: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER_BYTES].into_boxed_slice());
}

/// Counts bytes as they pass.
pub trait Count {
    /// So many bytes were passed on from downstream to upstream.
    fn sent(&self, bytes: u64);
    /// So many bytes were passed on from upstream to downstream.
    fn received(&self, bytes: u64);
    /// Downstream has said all that it had to say. It may be told more than once.
    fn sent_all(&self) {}
    /// Upstream has, in the same way; if both have at once, it is told last.
    fn received_all(&self) {}
}

/// One direction of a relay.
#[derive(Debug, Default)]
struct Flow {
    /// What was read and not yet written.
    rest: Vec<u8>,
    /// How much of `rest` has been written.
    written: usize,
    /// The source has said that it is finished.
    read_all: bool,
    /// The sink has been told so, or takes no more.
    finished: bool,
    /// The sink took no more before the source was finished.
    cut: bool,
}

/// The source broke off.
struct BrokenOff;

/// What became of bytes that were read.
enum Passed {
    /// The sink has them, or they are kept for it.
    On,
    /// The sink takes no more.
    Nowhere,
}

/// Relays until both sides are finished or one breaks off. The end of one
/// direction is passed on at once, and leaves the other as it is (half-close).
///
/// Both connections are still open when this returns, for the caller to close or
/// to reset.
pub async fn relay(downstream: &TcpStream, upstream: &TcpStream, count: &impl Count) -> Reason {
    let mut to_upstream = Flow::default();
    let mut to_downstream = Flow::default();
    let mut downstream_gone = pin!(gone(downstream));
    let mut upstream_gone = pin!(gone(upstream));
    poll_fn(|cx| {
        let sent = to_upstream.poll(cx, downstream, upstream, |bytes| count.sent(bytes));
        let received = to_downstream.poll(cx, upstream, downstream, |bytes| count.received(bytes));
        if sent.is_ready() {
            count.sent_all();
        }
        if received.is_ready() {
            count.received_all();
        }
        match (sent, received) {
            (Poll::Ready(Err(BrokenOff)), _) => Poll::Ready(Reason::DownstreamReset),
            (_, Poll::Ready(Err(BrokenOff))) => Poll::Ready(Reason::UpstreamReset),
            // A server may answer and close before it has read all of the request: what
            // it said before its reset is passed on first.
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) if to_upstream.cut => {
                Poll::Ready(Reason::UpstreamReset)
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) if to_downstream.cut => {
                Poll::Ready(Reason::DownstreamReset)
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Reason::Finished),
            // Nobody reads any longer from a side that has said all: that it broke off
            // afterwards shows by this alone.
            (Poll::Ready(Ok(())), _) if downstream_gone.as_mut().poll(cx).is_ready() => {
                Poll::Ready(Reason::DownstreamReset)
            }
            (_, Poll::Ready(Ok(()))) if upstream_gone.as_mut().poll(cx).is_ready() => {
                Poll::Ready(Reason::UpstreamReset)
            }
            _ => Poll::Pending,
        }
    })
    .await
}

/// Resolves when the kernel says that a connection is broken.
async fn gone(stream: &TcpStream) {
    // The error itself is of no interest, nor is a failure to wait for it.
    let _ = stream.ready(Interest::ERROR).await;
}

impl Flow {
    /// Moves bytes until nothing more can be moved now. Ready once the source is
    /// finished and the sink knows.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &TcpStream,
        sink: &TcpStream,
        count: impl Fn(u64),
    ) -> Poll<Result<(), BrokenOff>> {
        if self.finished {
            return Poll::Ready(Ok(()));
        }
        loop {
            if ready!(self.poll_rest(cx, sink, &count)).is_err() {
                return self.cut_off();
            }
            if self.read_all {
                // A sink that is gone already needs no telling.
                let _ = SockRef::from(sink).shutdown(Shutdown::Write);
                self.finished = true;
                return Poll::Ready(Ok(()));
            }
            match ready!(self.pass_on(cx, source, sink, &count)) {
                Ok(Passed::On) => {}
                Ok(Passed::Nowhere) => return self.cut_off(),
                Err(_) => return Poll::Ready(Err(BrokenOff)),
            }
        }
    }

    /// The sink takes no more. That is no end yet of the other direction, in which
    /// it may have said something before.
    fn cut_off(&mut self) -> Poll<Result<(), BrokenOff>> {
        self.rest = Vec::new();
        (self.finished, self.cut) = (true, true);
        Poll::Ready(Ok(()))
    }

    /// Writes what an earlier turn left over.
    fn poll_rest(
        &mut self,
        cx: &mut Context<'_>,
        sink: &TcpStream,
        count: &impl Fn(u64),
    ) -> Poll<io::Result<()>> {
        while self.written < self.rest.len() {
            let wrote = ready!(poll_write(sink, cx, &self.rest[self.written..]))?;
            self.written += wrote;
            count(wrote as u64);
        }
        if !self.rest.is_empty() {
            // Gives the memory back: most connections never need it again.
            self.rest = Vec::new();
            self.written = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once, and writes as much of it as the sink takes. An error is the
    /// source's.
    fn pass_on(
        &mut self,
        cx: &mut Context<'_>,
        source: &TcpStream,
        sink: &TcpStream,
        count: &impl Fn(u64),
    ) -> Poll<io::Result<Passed>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let read = ready!(poll_read(source, cx, scratch))?;
            if read == 0 {
                self.read_all = true;
                return Poll::Ready(Ok(Passed::On));
            }
            let read = &scratch[..read];
            let wrote = match sink.try_write(read) {
                Ok(wrote) => wrote,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(_) => return Poll::Ready(Ok(Passed::Nowhere)),
            };
            count(wrote as u64);
            self.rest.extend_from_slice(&read[wrote..]);
            Poll::Ready(Ok(Passed::On))
        })
    }
}

#[cfg(test)]
mod tests;
