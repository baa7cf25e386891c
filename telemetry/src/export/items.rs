//! Spans and lines, which are sent as they come rather than looked at each interval.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    Exporters, QUEUE_BYTES_MAX, Running,
    backoff::Backoff,
    counts::Counts,
    queue::{Batch, Queue},
    reason::Reason,
    sender::{RETRY_FOR, Sender},
    transport::Transport,
};
use crate::{
    Metrics,
    buffer::{Buffer, Held},
    config::Signal,
};

mod plan;

pub(crate) use plan::{Identity, of_records, of_spans};

/// Of items that wait for the task that encodes them. A kilobyte each, mostly.
const WAITING_MAX: usize = 2048;
/// Of items in one request: at their longest a megabyte or so, which all receivers take.
const BATCH_MAX: usize = 256;
/// How long items wait for others.
const LINGER: Duration = Duration::from_secs(1);

/// Makes a protocol's words of some items.
pub(crate) type Encode<T> = Box<dyn Fn(&[T]) -> Bytes + Send>;

/// What an exporter of spans or lines is made of.
pub(crate) struct Plan<T> {
    pub(crate) name: String,
    pub(crate) target: String,
    pub(crate) encode: Encode<T>,
    pub(crate) transport: Transport,
}

/// Takes items out of a buffer, and queues them for each exporter.
struct Gatherer<T> {
    buffer: Arc<Buffer<T>>,
    outs: Vec<Out<T>>,
    stop: CancellationToken,
}

/// One exporter's way out.
struct Out<T> {
    encode: Encode<T>,
    queue: Arc<Queue>,
    counts: Counts,
}

impl Exporters {
    /// Starts exporters of items, and returns where to put those. Nothing, if there are
    /// no exporters.
    pub(super) fn add_items<T: Send + 'static>(
        &mut self,
        plans: Vec<Plan<T>>,
        signal: Signal,
        metrics: &Metrics,
    ) -> Option<Arc<Buffer<T>>> {
        if plans.is_empty() {
            return None;
        }
        let buffer = Arc::new(Buffer::new(WAITING_MAX));
        let outs = plans.into_iter().map(|plan| {
            let Plan {
                name,
                target,
                encode,
                transport,
            } = plan;
            let signal_name = signal.as_str();
            tracing::info!(
                exporter = name,
                signal = signal_name,
                target,
                "telemetry is exported"
            );
            let counts = Counts::new(metrics, &name, signal);
            let queue = Arc::new(Queue::new(QUEUE_BYTES_MAX));
            let sender = Sender {
                name: name.clone(),
                queue: Arc::clone(&queue),
                transport,
                counts: counts.clone(),
                hurry: self.stop.clone(),
                retry_for: RETRY_FOR,
                backoff: Backoff::default(),
            };
            self.tasks.spawn(sender.run());
            self.report.running.push(Running {
                name,
                signal,
                target,
                counts: counts.clone(),
            });
            Out {
                encode,
                queue,
                counts,
            }
        });
        let gatherer = Gatherer {
            buffer: Arc::clone(&buffer),
            outs: outs.collect(),
            stop: self.stop.clone(),
        };
        self.tasks.spawn(gatherer.run());
        Some(buffer)
    }
}

impl<T> Gatherer<T> {
    /// Runs until it is stopped, and queues what there is then.
    async fn run(self) {
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                () = self.buffer.arrived() => {}
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                () = self.buffer.enough() => {}
                () = sleep(LINGER) => {}
            }
            self.gather();
        }
        self.gather();
        for out in &self.outs {
            out.queue.close();
        }
    }

    fn gather(&self) {
        let Held { items, lost } = self.buffer.take();
        for out in &self.outs {
            out.counts.dropped(lost, Reason::QueueFull);
            for items in items.chunks(BATCH_MAX) {
                let lost = out.queue.push(Batch {
                    body: (out.encode)(items),
                    items: items.len() as u64,
                });
                out.counts.dropped(lost, Reason::QueueFull);
            }
        }
    }
}

#[cfg(test)]
mod tests;
