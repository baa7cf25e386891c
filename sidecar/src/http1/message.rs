//! A message on its way from one connection to the other.

use std::task::{Context, Poll, ready};

use tokio::net::TcpStream;

use super::{body::Body, side::Side};
use crate::stream::poll_write;

/// A head, then a body.
#[derive(Debug)]
pub(crate) struct Message {
    /// The head, and the beginning of the body as far as it goes along or is kept.
    pub(crate) head: Vec<u8>,
    written: usize,
    /// What is taken of the body is kept behind the head: it may have to be sent again.
    keeps: bool,
    pub(crate) body: Body,
    /// Bytes at the front of the source's buffer that are the body's.
    approved: usize,
    /// Where in `head` the body begins.
    body_begins: usize,
    /// Bytes that were passed on, other than those of `head`.
    streamed: u64,
    /// All bytes that were passed on.
    pub(crate) passed: u64,
}

/// Why a message does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stuck {
    /// Where it comes from broke off.
    SourceBroke,
    /// Where it comes from ended too early.
    SourceEnded,
    /// Where it goes takes no more.
    SinkBroke,
    /// It breaks the rules.
    Malformed,
}

/// As much of a body goes along with its head, in one system call.
const ALONG_BYTES_MAX: usize = 16 * 1024;
/// Of a message that may have to be sent again, at most so much is kept.
const KEPT_BYTES_MAX: usize = 64 * 1024;

impl Message {
    pub(crate) fn new(head: Vec<u8>, body: Body) -> Self {
        Self {
            head,
            written: 0,
            keeps: false,
            body,
            approved: 0,
            body_begins: usize::MAX,
            streamed: 0,
            passed: 0,
        }
    }

    /// Lets what has come of the body go along with the head.
    ///
    /// # Errors
    /// If the body breaks the rules.
    pub(crate) fn take_along(&mut self, source: &mut Side) -> Result<(), Stuck> {
        let bytes = source.buffer.bytes();
        let taken = self.body.take(bytes).map_err(|_| Stuck::Malformed)?;
        self.body_begins = self.head.len();
        if self.head.len() + taken <= ALONG_BYTES_MAX {
            self.head.extend_from_slice(&bytes[..taken]);
            source.buffer.consume(taken);
        } else {
            self.approved = taken;
        }
        Ok(())
    }

    /// Whether nothing of it was passed on, but for what is forgotten.
    pub(crate) fn is_at_beginning(&self) -> bool {
        self.written == 0 && self.streamed == 0
    }

    /// Forgets a head that was passed on, and is followed by another one.
    pub(crate) fn forget_head(&mut self) {
        self.head.clear();
        self.written = 0;
    }

    /// Whether all of it can be sent once more.
    pub(crate) fn can_be_repeated(&self) -> bool {
        self.streamed == 0 && self.approved == 0
    }

    /// Whether nothing of it is left at its source.
    pub(crate) fn is_taken(&self) -> bool {
        self.body.is_over() && self.approved == 0
    }

    /// Whether all that has come of it was passed on, and more is to come.
    pub(crate) fn awaits_source(&self) -> bool {
        self.written == self.head.len() && self.approved == 0 && !self.body.is_over()
    }

    /// Bytes of its body that were passed on, counted once however often it was sent.
    pub(crate) fn body_passed(&self) -> u64 {
        self.streamed + self.written.saturating_sub(self.body_begins) as u64
    }

    /// Makes it be sent (again) from its beginning, but for so many bytes. What is still
    /// to come of its body is kept from now on if that may not be the last time.
    pub(crate) fn begin_behind(&mut self, sent: usize, is_last: bool) {
        self.written = sent;
        self.keeps = !is_last;
    }

    /// It is not going to be sent again.
    pub(crate) fn let_go(&mut self) {
        self.keeps = false;
        self.release();
    }

    /// Holds no more memory than a head needs, once all that is kept was passed on and is
    /// of no more use.
    fn release(&mut self) {
        let is_of_use = self.keeps || self.written < self.head.len();
        if is_of_use || self.head.capacity() <= ALONG_BYTES_MAX {
            return;
        }
        self.streamed += self.written.saturating_sub(self.body_begins) as u64;
        self.head.truncate(self.body_begins);
        self.head.shrink_to(ALONG_BYTES_MAX);
        self.written = self.head.len();
    }

    /// Keeps what was read of the body, if there is not too much of it.
    fn keep(&mut self, source: &mut Side) {
        if self.head.len() + self.approved > KEPT_BYTES_MAX {
            return self.let_go();
        }
        let bytes = &source.buffer.bytes()[..self.approved];
        self.head.extend_from_slice(bytes);
        source.buffer.consume(self.approved);
        self.approved = 0;
    }

    /// Passes the head on.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        sink: &TcpStream,
    ) -> Poll<Result<(), Stuck>> {
        while self.written < self.head.len() {
            let wrote = ready!(poll_write(sink, cx, &self.head[self.written..]));
            let wrote = wrote.map_err(|_| Stuck::SinkBroke)?;
            self.written += wrote;
            self.passed += wrote as u64;
        }
        Poll::Ready(Ok(()))
    }

    /// Passes on what can be passed on now. Ready at the message's end.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Side,
        sink: &TcpStream,
    ) -> Poll<Result<(), Stuck>> {
        loop {
            if self.keeps && self.approved > 0 {
                self.keep(source);
            }
            ready!(self.poll_head(cx, sink))?;
            self.release();
            while self.approved > 0 {
                let bytes = &source.buffer.bytes()[..self.approved];
                let wrote = ready!(poll_write(sink, cx, bytes)).map_err(|_| Stuck::SinkBroke)?;
                source.buffer.consume(wrote);
                self.approved -= wrote;
                self.streamed += wrote as u64;
                self.passed += wrote as u64;
            }
            if self.body.is_over() {
                return Poll::Ready(Ok(()));
            }
            if source.buffer.is_empty() {
                let ended = source.ended
                    || ready!(source.poll_fill(cx)).map_err(|_| Stuck::SourceBroke)? == 0;
                match self.body {
                    Body::UntilClose if ended => return Poll::Ready(Ok(())),
                    _ if ended => return Poll::Ready(Err(Stuck::SourceEnded)),
                    _ => {}
                }
            }
            let bytes = source.buffer.bytes();
            self.approved = self.body.take(bytes).map_err(|_| Stuck::Malformed)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::http1::side::tests::side;

    #[tokio::test]
    async fn a_body_is_not_taken_before_it_is_passed_on() {
        let ((mut source, _client), (sink, _app)) = (side().await, side().await);
        source.buffer.put(b"hello and more");
        let mut message = Message::new(vec![b'x'; ALONG_BYTES_MAX], Body::Length(5));
        message.take_along(&mut source).expect("it has a length");
        assert!(message.body.is_over() && !message.is_taken());
        let passed = poll_fn(|cx| message.poll(cx, &mut source, &sink.stream)).await;
        passed.expect("the connection holds");
        assert!(message.is_taken());
        assert_eq!(source.buffer.bytes(), b" and more");
    }

    #[tokio::test]
    async fn a_head_that_was_passed_on_is_forgotten_and_counted() {
        let (sink, _app) = side().await;
        let mut message = Message::new(b"interim".to_vec(), Body::NONE);
        let passed = poll_fn(|cx| message.poll_head(cx, &sink.stream)).await;
        passed.expect("the connection holds");
        assert!(!message.is_at_beginning());
        message.forget_head();
        assert!(message.is_at_beginning() && message.head.is_empty());
        assert_eq!(message.passed, 7);
    }

    /// Has more of a body read, as it comes to the sidecar.
    fn put(source: &mut Side, bytes: usize) {
        source.buffer.put(&vec![b'x'; bytes]);
    }

    /// Passes on what there is, and tells whether that was all of the message.
    async fn pass(message: &mut Message, source: &mut Side, sink: &Side) -> bool {
        let passed = poll_fn(|cx| Poll::Ready(message.poll(cx, source, &sink.stream))).await;
        passed
            .map(|passed| passed.expect("the connection holds"))
            .is_ready()
    }

    #[tokio::test]
    async fn what_comes_late_is_kept_until_it_is_let_go() {
        let ((mut source, _client), (sink, _app)) = (side().await, side().await);
        let mut message = Message::new(b"head".to_vec(), Body::Length(40_000));
        message.take_along(&mut source).expect("it has a length");
        message.begin_behind(0, false);
        for part in [1, 19_999, 20_000] {
            assert!(message.can_be_repeated());
            put(&mut source, part);
            pass(&mut message, &mut source, &sink).await;
        }
        assert!(message.is_taken() && message.can_be_repeated());
        assert_eq!(
            (message.head.len(), message.body_passed()),
            (40_004, 40_000)
        );
        message.let_go();
        assert!(!message.can_be_repeated());
        assert_eq!(message.head, b"head");
        assert!(message.head.capacity() <= ALONG_BYTES_MAX);
        assert_eq!((message.passed, message.body_passed()), (40_004, 40_000));
    }

    #[tokio::test]
    async fn what_is_let_go_before_it_is_sent_goes_once_it_is() {
        let ((mut source, _client), (sink, _app)) = (side().await, side().await);
        let mut message = Message::new(b"head".to_vec(), Body::Length(20_000));
        message.take_along(&mut source).expect("it has a length");
        message.begin_behind(0, false);
        put(&mut source, 20_000);
        pass(&mut message, &mut source, &sink).await;
        message.begin_behind(0, false);
        message.let_go();
        assert_eq!(message.head.len(), 20_004);
        assert!(pass(&mut message, &mut source, &sink).await);
        assert_eq!((message.head.len(), message.body_passed()), (4, 20_000));
    }

    #[tokio::test]
    async fn of_what_is_too_much_nothing_is_kept() {
        let ((mut source, _client), (sink, _app)) = (side().await, side().await);
        let mut message = Message::new(b"head".to_vec(), Body::Length(80_000));
        message.take_along(&mut source).expect("it has a length");
        message.begin_behind(0, false);
        for _ in 0..4 {
            put(&mut source, 20_000);
            pass(&mut message, &mut source, &sink).await;
        }
        assert!(message.is_taken() && !message.can_be_repeated());
        assert_eq!((message.head.len(), message.body_passed()), (4, 80_000));
        assert!(message.head.capacity() <= ALONG_BYTES_MAX);
    }

    #[tokio::test]
    async fn what_is_sent_for_the_last_time_is_not_kept() {
        let ((mut source, _client), (sink, _app)) = (side().await, side().await);
        let mut message = Message::new(b"head".to_vec(), Body::Length(3));
        message.take_along(&mut source).expect("it has a length");
        message.begin_behind(0, true);
        put(&mut source, 3);
        assert!(pass(&mut message, &mut source, &sink).await);
        assert_eq!(message.head, b"head");
        assert!(!message.can_be_repeated());
    }
}
