//! Reads and writes that cost no system call in vain, and how connections end.

use std::{
    future::poll_fn,
    io,
    ops::Deref,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{Interest, ReadBuf},
    net::TcpStream,
};

use crate::reason::Reason;

/// Reads once what is there; 0 is the end.
///
/// A read that does not fill the buffer has emptied the socket, and the kernel says
/// when there is more (epoll(7), on edge-triggered descriptors). Knowing that saves
/// the read that would say `EAGAIN`.
pub(crate) fn poll_read(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_read_ready(cx))?;
        match stream.try_read(buffer) {
            Ok(read) => {
                if 0 < read && read < buffer.len() {
                    await_more(stream);
                }
                return Poll::Ready(Ok(read));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}

/// Ready once there is something to read, or the peer has ended.
///
/// A read that just filled its buffer has left the stream looking readable: only then
/// the kernel is asked.
pub(crate) fn poll_heard(stream: &TcpStream, cx: &mut Context<'_>) -> Poll<()> {
    let mut byte = [0];
    stream
        .poll_peek(cx, &mut ReadBuf::new(&mut byte))
        .map(|_| ())
}

/// Whether the peer has ended or broken off without having said anything that is still
/// unread, as far as is known by now.
pub(crate) fn has_hung_up(stream: &TcpStream) -> bool {
    let mut nobody = Context::from_waker(Waker::noop());
    let mut byte = [0];
    let heard = stream.poll_peek(&mut nobody, &mut ReadBuf::new(&mut byte));
    matches!(heard, Poll::Ready(Ok(0) | Err(_)))
}

/// Writes once.
pub(crate) fn poll_write(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_write_ready(cx))?;
        match stream.try_write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            wrote => return Poll::Ready(wrote),
        }
    }
}

/// Writes all of it.
pub(crate) async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let wrote = poll_fn(|cx| poll_write(stream, cx, bytes)).await?;
        bytes = &bytes[wrote..];
    }
    Ok(())
}

/// Forgets that the stream was readable, so that waiting for it to be so waits for
/// bytes that are still to come.
pub(crate) fn await_more(stream: &TcpStream) {
    let _ = stream.try_io(Interest::READABLE, || {
        Err::<(), _>(io::ErrorKind::WouldBlock.into())
    });
}

/// A connection that its peer sees reset, unless it was brought to its end: also
/// when its task is aborted. Closed cleanly, a body without a length would look
/// complete.
#[derive(Debug)]
pub struct Unfinished {
    stream: TcpStream,
    finished: bool,
}

impl Unfinished {
    /// A connection that is not at its end.
    #[must_use]
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            finished: false,
        }
    }

    /// It may be closed, and is when it is dropped: whoever reads has read all.
    pub fn finish(&mut self) {
        self.finished = true;
    }
}

/// Both may be closed after a relay that ended so, but for the one whose peer is to see
/// that the other's has broken off.
pub(crate) fn finish_but_the_other(
    reason: Reason,
    downstream: &mut Unfinished,
    upstream: &mut Unfinished,
) {
    if !matches!(reason, Reason::UpstreamReset | Reason::UpstreamSilent) {
        downstream.finish();
    }
    if reason != Reason::DownstreamReset {
        upstream.finish();
    }
}

impl Deref for Unfinished {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.stream
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        if let Err(error) = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "could not reset, closing instead");
        }
    }
}
