//! An answer's body: a text, or as many bytes of a pattern as were asked for, made as they are
//! sent.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// The pattern, repeated; a corrupted or reordered stream shows in its digest.
const PATTERN: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+\n";
/// Repetitions in the block that is sent over and over.
const BLOCK_REPETITIONS: u64 = 1024;

/// Its length is always known, so that answers carry `content-length`.
#[derive(Debug)]
pub(crate) struct ReplyBody {
    block: Bytes,
    remaining: u64,
}

impl ReplyBody {
    /// `length` bytes, of which only one block is held in memory.
    pub(super) fn pattern(length: u64) -> Self {
        let repetitions = length.div_ceil(PATTERN.len() as u64).min(BLOCK_REPETITIONS);
        let repetitions = usize::try_from(repetitions).expect("it's at most BLOCK_REPETITIONS");
        Self {
            block: PATTERN.repeat(repetitions).into(),
            remaining: length,
        }
    }
}

impl<T: Into<Bytes>> From<T> for ReplyBody {
    fn from(text: T) -> Self {
        let block = text.into();
        Self {
            remaining: block.len() as u64,
            block,
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        let block = match usize::try_from(self.remaining) {
            Ok(remaining) if remaining < self.block.len() => self.block.slice(..remaining),
            _ => self.block.clone(),
        };
        self.remaining -= block.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(block))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_pattern_has_the_length_that_was_asked_for_and_no_seams() {
        let block = PATTERN.len() * 1024;
        for length in [0, 1, 63, 64, 65, block - 1, block, block + 1, 3 * block + 7] {
            let body = ReplyBody::pattern(length as u64);
            assert_eq!(body.size_hint().exact(), Some(length as u64));
            let bytes = body.collect().await.expect("it can't fail").to_bytes();
            assert_eq!(bytes.len(), length);
            let expected = PATTERN.iter().cycle().take(length);
            assert!(bytes.iter().eq(expected), "a seam shows in {length} bytes");
        }
    }
}
