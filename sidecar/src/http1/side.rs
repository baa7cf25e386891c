//! One of the two connections of an exchange, and what was read from it.

use std::{
    io,
    net::Shutdown,
    num::NonZeroU32,
    task::{Context, Poll, Waker, ready},
};

use socket2::SockRef;
use tokio::net::TcpStream;

use super::buffer::Buffer;
use crate::{
    stream::{Unfinished, poll_heard, poll_read, write_all},
    tcp_info,
};

/// A connection, and what was read from it.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) stream: Unfinished,
    pub(crate) buffer: Buffer,
    /// The peer will send nothing more.
    pub(crate) ended: bool,
    /// For how many seconds the peer keeps the connection while nothing is sent over it,
    /// if it says so.
    pub(crate) kept_seconds: Option<NonZeroU32>,
    /// How many bytes the peer was sent with messages before.
    pub(crate) sent: u64,
}

impl Side {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream: Unfinished::new(stream),
            buffer: Buffer::default(),
            ended: false,
            kept_seconds: None,
            sent: 0,
        }
    }

    /// Reads once, behind what is held; 0 is the end.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // No memory is taken before there is something for it.
        ready!(self.stream.poll_read_ready(cx))?;
        match poll_read(&self.stream, cx, self.buffer.room()) {
            Poll::Ready(Ok(read)) => {
                self.buffer.filled(read);
                self.ended = read == 0;
                Poll::Ready(Ok(read))
            }
            other => {
                self.buffer.filled(0);
                other
            }
        }
    }

    /// Sends what is held of it to the other side, and holds no memory for it any longer.
    /// Tells whether that went well.
    pub(crate) async fn pass_on(&mut self, to: &Side) -> bool {
        let held = self.buffer.bytes();
        let length = held.len();
        let sent = write_all(&to.stream, held).await.is_ok();
        self.buffer.consume(length);
        sent
    }

    /// Whether the peer has said nothing, not even that it ends. Between requests, one
    /// that says something has hung up, or breaks the rules.
    pub(crate) fn is_silent(&self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        poll_heard(&self.stream, &mut nobody).is_pending()
    }

    /// Whether a peer that has ended did so before it had a byte of the last message, as
    /// its kernel says. Who has said its last word does not begin to work on what comes
    /// later. A peer that broke off instead may have read what it did not acknowledge: that
    /// is told by the first call on the socket, if only by that.
    pub(crate) fn ended_before(&self) -> bool {
        tcp_info::acknowledged(&*self.stream) == Some(self.sent)
    }

    /// Tells the peer that nothing more comes. One that is gone needs no telling.
    pub(crate) fn end(&self) {
        let _ = SockRef::from(&*self.stream).shutdown(Shutdown::Write);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{
        future::poll_fn,
        io::{Read as _, Write as _},
        time::Duration,
    };

    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::proxy::chain::listen;

    pub(in crate::http1) async fn side() -> (Side, TcpStream) {
        let (listener, addr) = listen().await;
        let connected = TcpStream::connect(addr).await.expect("it listens");
        let (peer, _) = listener.accept().await.expect("it is connected");
        (Side::new(connected), peer)
    }

    #[tokio::test]
    async fn what_is_held_before_a_tunnel_is_passed_on_and_not_held_any_longer() {
        let ((mut source, _client), (sink, mut app)) = (side().await, side().await);
        source.buffer.put(b"early");
        assert!(source.pass_on(&sink).await);
        assert!(source.buffer.is_empty(), "its memory has gone back");
        let mut heard = [0; 5];
        let read = app.read_exact(&mut heard).await;
        read.expect("the connection holds");
        assert_eq!(&heard, b"early");
    }

    /// What a peer does before and after a message is sent to it. Then it is closed.
    type Does = fn(std::net::TcpStream, &dyn Fn());

    fn take(peer: &mut std::net::TcpStream, bytes: usize) {
        let read = peer.read_exact(&mut vec![0; bytes]);
        read.expect("it was sent as many");
    }

    fn reset(peer: &std::net::TcpStream) {
        let set = SockRef::from(peer).set_linger(Some(Duration::ZERO));
        set.expect("a socket can be set so");
    }

    #[tokio::test]
    async fn only_an_end_before_the_message_shows_that_nobody_read_it() {
        const BEFORE: &[u8] = b"before";
        const MESSAGE: &[u8] = b"message";
        let cases: [(&str, bool, Does); 5] = [
            ("it ended before", true, |peer, send| {
                drop(peer);
                send();
            }),
            ("it read all and ended", false, |mut peer, send| {
                send();
                take(&mut peer, MESSAGE.len());
            }),
            ("it read a part and ended", false, |mut peer, send| {
                send();
                take(&mut peer, 1);
            }),
            ("it read nothing and ended", false, |_peer, send| send()),
            ("it read all and broke off", false, |mut peer, send| {
                send();
                take(&mut peer, MESSAGE.len());
                reset(&peer);
            }),
        ];
        for (case, is_unread, does) in cases {
            let (mut side, peer) = side().await;
            let mut peer = peer.into_std().expect("it was a socket");
            peer.set_nonblocking(false).expect("a socket can be set so");
            // Talk, after which a kernel takes its time with what it acknowledges.
            for _ in 0..4 {
                let wrote = write_all(&side.stream, BEFORE).await;
                wrote.expect("the connection holds");
                side.sent += BEFORE.len() as u64;
                take(&mut peer, BEFORE.len());
                peer.write_all(b"x").expect("the connection holds");
                let read = poll_fn(|cx| side.poll_fill(cx)).await;
                assert_eq!(read.expect("the connection holds"), 1);
                side.buffer.consume(1);
            }
            does(peer, &|| {
                let wrote = side.stream.try_write(MESSAGE);
                assert_eq!(wrote.expect("the kernel takes it"), MESSAGE.len());
            });
            let ended = poll_fn(|cx| side.poll_fill(cx)).await.is_ok();
            assert_eq!(ended && side.ended_before(), is_unread, "{case}");
        }
    }
}
