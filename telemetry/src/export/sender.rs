//! Takes batches out of a queue and brings them to a backend, one after the other.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    backoff::Backoff,
    counts::Counts,
    queue::{Batch, Queue},
    reason::{Failure, Reason, Retry},
    transport::Transport,
};

/// A batch that could not be brought for so long is given up, where nothing else is said.
pub(crate) const RETRY_FOR: Duration = Duration::from_secs(300);

/// One backend's.
pub(crate) struct Sender {
    /// The exporter's name, for the log.
    pub(crate) name: String,
    pub(crate) queue: Arc<Queue>,
    pub(crate) transport: Transport,
    pub(crate) counts: Counts,
    /// Once this is so, each batch has one attempt.
    pub(crate) hurry: CancellationToken,
    /// A batch that could not be brought for so long is given up.
    pub(crate) retry_for: Duration,
    pub(crate) backoff: Backoff,
}

/// Lost with its reason, unless it arrives.
struct Undelivered<'a> {
    batch: &'a Batch,
    counts: &'a Counts,
    reason: Option<Reason>,
}

impl Drop for Undelivered<'_> {
    fn drop(&mut self) {
        if let Some(reason) = self.reason {
            self.counts.dropped(self.batch.items, reason);
        }
    }
}

impl Sender {
    /// Runs until the queue is closed and empty.
    pub(crate) async fn run(mut self) {
        while let Some(batch) = self.queue.pop().await {
            self.deliver(&batch).await;
        }
        self.transport.close().await;
    }

    async fn deliver(&mut self, batch: &Batch) {
        let counts = self.counts.clone();
        let mut undelivered = Undelivered {
            batch,
            counts: &counts,
            // Also if this task is ended where it stands.
            reason: Some(Reason::Shutdown),
        };
        let begun = Instant::now();
        loop {
            let failure = match self.transport.send(batch).await {
                Ok(rejected) => {
                    undelivered.reason = None;
                    return self.delivered(batch, rejected);
                }
                Err(failure) => failure,
            };
            let pause = self.failed(&failure);
            if failure.retry == Retry::Never || begun.elapsed() + pause > self.retry_for {
                undelivered.reason = Some(failure.reason);
                return;
            }
            if self.hurry.is_cancelled() {
                return;
            }
            tokio::select! {
                () = sleep(pause) => {}
                // One more attempt, and the end.
                () = self.hurry.cancelled() => {}
            }
        }
    }

    fn delivered(&mut self, batch: &Batch, rejected: u64) {
        let rejected = rejected.min(batch.items);
        self.counts.sent(batch.items - rejected);
        self.counts.dropped(rejected, Reason::Rejected);
        if self.backoff.failures() > 0 {
            tracing::info!(exporter = self.name, "telemetry is exported again");
        }
        self.backoff.reset();
    }

    /// Counts a failure, and says how long to wait.
    fn failed(&mut self, failure: &Failure) -> Duration {
        let Failure {
            reason,
            message,
            retry,
        } = failure;
        self.counts.failed(*reason, message);
        if self.backoff.failures() == 0 {
            // Once, not for each attempt.
            tracing::warn!(
                exporter = self.name,
                reason = reason.as_str(),
                error = message,
                "telemetry could not be exported"
            );
        }
        let asked = match retry {
            Retry::After(asked) => Some(*asked),
            Retry::Later | Retry::Never => None,
        };
        self.backoff.pause(asked)
    }
}

#[cfg(test)]
mod tests;
