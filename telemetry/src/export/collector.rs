//! Looks at the instruments each interval, and queues what they say.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::{counts::Counts, encoded::Encoded, queue::Queue, reason::Reason};
use crate::{Metrics, snapshot::Snapshot};

/// Makes a protocol's words of a snapshot. The last snapshot of all says so.
pub(crate) type Encode = Box<dyn FnMut(&Snapshot, Last) -> Encoded + Send>;

/// Whether there will be another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    No,
    Yes,
}

/// One exporter's.
pub(crate) struct Collector {
    pub(crate) metrics: Metrics,
    pub(crate) encode: Encode,
    pub(crate) interval: Duration,
    pub(crate) queue: Arc<Queue>,
    pub(crate) counts: Counts,
    pub(crate) stop: CancellationToken,
}

impl Collector {
    /// Runs until it is stopped, and queues a last snapshot then.
    pub(crate) async fn run(mut self) {
        // All pods of a Deployment start at once; their backends are not to be met by
        // all of them at once for ever after.
        let first = self.interval.mul_f64(fastrand::f64());
        let mut look = interval_at(Instant::now() + first, self.interval);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                _ = look.tick() => self.collect(Last::No),
            }
        }
        self.collect(Last::Yes);
        self.queue.close();
    }

    fn collect(&mut self, last: Last) {
        let snapshot = self.metrics.snapshot();
        let encoded = (self.encode)(&snapshot, last);
        self.counts.dropped(encoded.too_long, Reason::TooLong);
        for batch in encoded.batches {
            let lost = self.queue.push(batch);
            self.counts.dropped(lost, Reason::QueueFull);
        }
    }
}
