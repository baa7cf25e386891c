//! Copies bytes both ways between two connections until both are finished.
//!
//! An idle connection holds no buffer: bytes go through one scratch buffer for each
//! worker thread, and only what the slower side did not take is kept, at most
//! [`BUFFER_BYTES`] for each direction.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    net::Shutdown,
    pin::Pin,
    task::{Context, Poll, ready},
};

use socket2::SockRef;
use tokio::{io::AsyncWrite as _, net::TcpStream};

use crate::reason::Reason;

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
    /// The sink has been told so.
    finished: bool,
}

/// Which side an error is about.
enum Side {
    Source,
    Sink,
}

/// Relays until both sides are finished or one breaks off. The end of one
/// direction is passed on at once, and leaves the other as it is (half-close).
///
/// Both connections are still open when this returns, for the caller to close or
/// to reset.
pub async fn relay(
    downstream: &mut TcpStream,
    upstream: &mut TcpStream,
    count: &impl Count,
) -> Reason {
    let mut to_upstream = Flow::default();
    let mut to_downstream = Flow::default();
    poll_fn(|cx| {
        let sent = to_upstream.poll(cx, downstream, upstream, |bytes| count.sent(bytes));
        if let Poll::Ready(Err(side)) = &sent {
            return Poll::Ready(match side {
                Side::Source => Reason::DownstreamReset,
                Side::Sink => Reason::UpstreamReset,
            });
        }
        let received = to_downstream.poll(cx, upstream, downstream, |bytes| count.received(bytes));
        match (sent, received) {
            (_, Poll::Ready(Err(Side::Source))) => Poll::Ready(Reason::UpstreamReset),
            (_, Poll::Ready(Err(Side::Sink))) => Poll::Ready(Reason::DownstreamReset),
            (Poll::Ready(_), Poll::Ready(_)) => Poll::Ready(Reason::Finished),
            _ => Poll::Pending,
        }
    })
    .await
}

impl Flow {
    /// Moves bytes until nothing more can be moved now. Ready once the source is
    /// finished and the sink knows.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &TcpStream,
        sink: &mut TcpStream,
        count: impl Fn(u64),
    ) -> Poll<Result<(), Side>> {
        if self.finished {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.poll_rest(cx, sink, &count)).map_err(|_| Side::Sink)?;
            if self.read_all {
                // A sink that is gone already needs no telling.
                let _ = SockRef::from(&*sink).shutdown(Shutdown::Write);
                self.finished = true;
                return Poll::Ready(Ok(()));
            }
            ready!(source.poll_read_ready(cx)).map_err(|_| Side::Source)?;
            match self.pass_on(source, sink, &count) {
                Err((_, error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err((side, _)) => return Poll::Ready(Err(side)),
                Ok(()) => {}
            }
        }
    }

    /// Writes what an earlier turn left over.
    fn poll_rest(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut TcpStream,
        count: &impl Fn(u64),
    ) -> Poll<io::Result<()>> {
        while self.written < self.rest.len() {
            let wrote = ready!(Pin::new(&mut *sink).poll_write(cx, &self.rest[self.written..]))?;
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

    /// Reads once, and writes as much of it as the sink takes.
    fn pass_on(
        &mut self,
        source: &TcpStream,
        sink: &TcpStream,
        count: &impl Fn(u64),
    ) -> Result<(), (Side, io::Error)> {
        SCRATCH.with_borrow_mut(|scratch| {
            let read = source.try_read(scratch).map_err(|e| (Side::Source, e))?;
            self.read_all = read == 0;
            let read = &scratch[..read];
            let wrote = match sink.try_write(read) {
                Ok(wrote) => wrote,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err((Side::Sink, error)),
            };
            count(wrote as u64);
            self.rest.extend_from_slice(&read[wrote..]);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;
