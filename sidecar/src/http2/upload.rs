//! A request's body, on its way beside whatever else is waited for.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
};

use bytes::Bytes;
use h2::{RecvStream, SendStream};

use super::pump::{Passed, Stuck, pump_again};

/// Under way until it is dropped. Nothing, if there is no body or it has ended.
#[derive(Default)]
pub(super) struct Upload<'u>(Option<Uploading<'u>>);

type Uploading<'u> = Pin<Box<dyn Future<Output = Result<(), Stuck>> + 'u>>;

impl<'u> Upload<'u> {
    /// Sends the body, and first of all what an earlier try took of it.
    pub(super) fn begin(
        body: &'u mut RecvStream,
        mut sink: SendStream<Bytes>,
        passed: &'u Passed,
    ) -> Self {
        Self(Some(Box::pin(async move {
            pump_again(body, &mut sink, passed).await
        })))
    }

    /// Goes on alone, to its end: all of the body is sent, or one of the streams is reset.
    pub(super) async fn finish(self) {
        if let Some(upload) = self.0 {
            // Whoever reset a stream knows.
            let _ = upload.await;
        }
    }

    /// Whether there is nothing more to send.
    pub(super) fn is_over(&self) -> bool {
        self.0.is_none()
    }

    /// Waits for something else. Nothing, if the client resets the stream.
    pub(super) async fn beside<T>(&mut self, other: impl Future<Output = T>) -> Option<T> {
        let mut other = pin!(other);
        poll_fn(|cx| {
            if let Some(upload) = &mut self.0
                && let Poll::Ready(uploaded) = upload.as_mut().poll(cx)
            {
                self.0 = None;
                if let Err(Stuck::Source(_)) = uploaded {
                    return Poll::Ready(None);
                }
            }
            other.as_mut().poll(cx).map(Some)
        })
        .await
    }
}
