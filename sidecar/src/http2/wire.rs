//! A connection whose writes are gathered, and whose reads are sifted.
//!
//! The library writes and flushes each frame of data that is not tiny, which is a
//! system call for each response. Here frames are kept until the connection's task
//! has nothing more to write, and then go out together. Frames that come and say nothing
//! it does not get to see ([`frames`](super::frames)).

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    mem,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::frames::Frames;
use crate::{
    protocol::Begun,
    stream::{await_more, poll_write},
};

/// What is gathered at most. More makes no system call cheaper.
const HELD_BYTES_MAX: usize = 64 * 1024;

/// What a client begins with (RFC 9113 section 3.4).
const PREFACE_BYTES: usize = 24;

/// Where there is less room, it is read to elsewhere: a frame's head has to fit.
const ROOM_BYTES_MIN: usize = 64;

thread_local! {
    /// Memory for the next connection that writes: nearly always all is sent before
    /// another one does.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The connection, as the library uses it.
#[derive(Debug)]
pub(super) struct Wire(Rc<Gathered>);

/// What was written and not yet sent. The connection's task sends it whenever it has
/// nothing else to do.
#[derive(Debug)]
pub(super) struct Gathered {
    stream: TcpStream,
    /// What was read before, and is to be read first.
    early: RefCell<Vec<u8>>,
    frames: RefCell<Frames>,
    /// Something came since that was last asked.
    heard: Cell<bool>,
    held: RefCell<Vec<u8>>,
    /// How much of it has been sent.
    sent: Cell<usize>,
}

/// Both ends of a connection's task. So many bytes have been sent of what will be
/// written first.
pub(super) fn gather(stream: TcpStream, has: usize) -> (Wire, Rc<Gathered>) {
    joined(stream, has, (Vec::new(), Frames::default()))
}

/// The same for a connection from which this was read.
pub(super) fn gather_behind(stream: TcpStream, begun: Begun) -> (Wire, Rc<Gathered>) {
    let (mut early, mut frames) = (begun.into_bytes(), Frames::behind(PREFACE_BYTES));
    let told = frames.sift(&mut early, false);
    early.truncate(told);
    joined(stream, 0, (early, frames))
}

fn joined(
    stream: TcpStream,
    has: usize,
    (early, frames): (Vec<u8>, Frames),
) -> (Wire, Rc<Gathered>) {
    let gathered = Rc::new(Gathered {
        stream,
        early: RefCell::new(early),
        frames: RefCell::new(frames),
        heard: Cell::new(false),
        held: RefCell::default(),
        sent: Cell::new(has),
    });
    (Wire(Rc::clone(&gathered)), gathered)
}

impl Gathered {
    /// Whether a whole frame has come.
    pub(super) fn has_first_frame(&self) -> bool {
        self.frames.borrow().have_first()
    }

    /// Whether something has come since this was last asked.
    pub(super) fn take_heard(&self) -> bool {
        self.heard.take()
    }

    fn read_early(&self, buffer: &mut ReadBuf<'_>) {
        let mut early = self.early.borrow_mut();
        let now = early.len().min(buffer.remaining());
        buffer.put_slice(&early[..now]);
        if now == early.len() {
            *early = Vec::new();
        } else {
            early.drain(..now);
        }
    }

    /// Reads what is to be told; nothing at the end of the connection.
    fn poll_frames(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            let mut frames = self.frames.borrow_mut();
            buffer.put_slice(frames.begun());
            match self.stream.try_read_buf(buffer) {
                Ok(read) => {
                    self.heard.set(true);
                    if 0 < read && buffer.remaining() > 0 {
                        await_more(&self.stream);
                    }
                    let told = frames.sift(&mut buffer.filled_mut()[before..], read == 0);
                    buffer.set_filled(before + told);
                    if told > 0 || read == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    buffer.set_filled(before);
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Sends what is held. If it cannot all be sent now, the task is woken when it can.
    ///
    /// # Errors
    /// If the peer has gone.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut held = self.held.borrow_mut();
        while self.sent.get() < held.len() {
            let rest = &held[self.sent.get()..];
            let wrote = ready!(poll_write(&self.stream, cx, rest))?;
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent.set(self.sent.get() + wrote);
        }
        self.sent.set(0);
        if held.capacity() > 0 {
            held.clear();
            SPARE.set(mem::take(&mut held));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let gathered = &self.0;
        if gathered.early.borrow().is_empty() {
            if buffer.remaining() >= ROOM_BYTES_MIN {
                return gathered.poll_frames(cx, buffer);
            }
            let mut block = [0; ROOM_BYTES_MIN];
            let mut some = ReadBuf::new(&mut block);
            ready!(gathered.poll_frames(cx, &mut some))?;
            gathered.early.replace(some.filled().to_vec());
        }
        gathered.read_early(buffer);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.0.held.borrow().len() >= HELD_BYTES_MAX {
            ready!(self.0.poll_send(cx))?;
        }
        let mut held = self.0.held.borrow_mut();
        if held.capacity() == 0 {
            *held = SPARE.take();
        }
        let before = held.len();
        for slice in slices {
            let room = HELD_BYTES_MAX - held.len();
            held.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        Poll::Ready(Ok(held.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The connection's task does that.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.0.poll_send(cx))?;
        Poll::Ready(SockRef::from(&self.0.stream).shutdown(std::net::Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    async fn connected() -> (Wire, Rc<Gathered>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("there is a free port");
        let addr = listener.local_addr().expect("it is bound");
        let connecting = TcpStream::connect(addr);
        let (near, far) = tokio::join!(connecting, listener.accept());
        let (wire, gathered) = gather(near.expect("it listens"), 0);
        (wire, gathered, far.expect("it connects").0)
    }

    #[tokio::test]
    async fn nothing_is_sent_to_a_peer_that_has_gone() {
        let (mut wire, gathered, far) = connected().await;
        far.set_zero_linger().expect("a socket can be set so");
        drop(far);
        let mut byte = [0];
        let read = wire.read(&mut byte).await;
        assert!(read.is_err(), "it was reset");
        wire.write_all(b"late").await.expect("it is held");
        assert!(poll_fn(|cx| gathered.poll_send(cx)).await.is_err());
    }

    #[tokio::test]
    async fn frames_are_read_whatever_room_there_is() {
        let empty = [0, 0, 0, 0, 0, 0, 0, 0, 1];
        let ping = [&[0, 0, 8, 6, 0, 0, 0, 0, 0][..], b"whatever"].concat();
        for room in [1, 8, 9, 64, 100] {
            let (mut wire, _gathered, mut far) = connected().await;
            let said = [&ping[..], &empty, &ping, &empty, &ping, &empty[..5]].concat();
            far.write_all(&said).await.expect("it is connected");
            far.shutdown().await.expect("it is connected");
            let (mut heard, mut block) = (Vec::new(), vec![0; room]);
            loop {
                let read = wire.read(&mut block).await.expect("it is connected");
                if read == 0 {
                    break;
                }
                heard.extend_from_slice(&block[..read]);
            }
            let expected = [&ping.repeat(3)[..], &empty[..5]].concat();
            assert_eq!(heard, expected, "room for {room}");
        }
    }

    #[tokio::test]
    async fn what_is_written_goes_out_together_when_it_is_sent() {
        let (mut wire, gathered, mut far) = connected().await;
        for frame in [&b"one "[..], b"two "] {
            wire.write_all(frame).await.expect("it is held");
            wire.flush().await.expect("it is held");
        }
        let mut buffer = [0; 64];
        let early = far.try_read(&mut buffer);
        let kind = early.expect_err("nothing was sent").kind();
        assert_eq!(kind, io::ErrorKind::WouldBlock);
        let sent = poll_fn(|cx| gathered.poll_send(cx)).await;
        sent.expect("the peer reads");
        wire.write_all(b"three").await.expect("it is held");
        wire.shutdown().await.expect("the rest is sent first");
        let mut all = String::new();
        far.read_to_string(&mut all).await.expect("it ends");
        assert_eq!(all, "one two three");
    }

    #[tokio::test]
    async fn a_slow_reader_is_waited_for_and_gets_all_of_it() {
        let (mut wire, gathered, mut far) = connected().await;
        let bytes = vec![7; 16 << 20];
        let write = async {
            wire.write_all(&bytes).await.expect("the peer reads");
            let sent = poll_fn(|cx| gathered.poll_send(cx)).await;
            sent.expect("the peer reads");
            wire.shutdown().await.expect("the peer reads");
            assert_eq!(gathered.held.borrow().capacity(), 0, "all memory is back");
        };
        let mut got = Vec::new();
        let (_, read) = tokio::join!(write, far.read_to_end(&mut got));
        read.expect("it ends");
        assert!(got == bytes, "all bytes come, in order");
    }
}
