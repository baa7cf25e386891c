//! What carries the instruments' values to whatever a team already runs.
//!
//! Each exporter is two tasks with a bounded queue between them: one looks at the
//! instruments and encodes what they say, one sends. An encoder is a plain function;
//! nothing of an exporter that is not configured runs. In reading order:
//!
//! - `otlp`, `remote_write`, `statsd`, `graphite`, `influxdb`: the encoders,
//!   with what they share in `encoded`, `delta` and `tags`;
//! - `zipkin` and, in `otlp` too, the encoders for spans and for the access log;
//! - `collector`, `items`, `queue`, `sender`: the way of a batch;
//! - `transport`: how it gets to a backend, by `http`, `grpc`, `datagrams` or
//!   `lines` over `net`;
//! - `reason`, `backoff`, `counts`: what becomes of failures; `dump`: what is told of it.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use netting_runtime::Drain;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Metrics,
    access_log::Record,
    buffer::Buffer,
    config::{Exporter, Histograms, Signal, Telemetry, Wrong},
    trace::Span,
};

mod backoff;
mod collector;
mod counts;
mod datagrams;
mod delta;
mod dump;
mod encoded;
mod graphite;
mod grpc;
mod http;
mod influxdb;
mod items;
mod lines;
mod net;
mod otlp;
mod plan;
mod queue;
mod reason;
mod remote_write;
#[cfg(test)]
mod sample;
mod sender;
mod statsd;
mod tags;
mod transport;
mod zipkin;

pub use counts::Counts;
pub use dump::Dump;
pub use queue::{Batch, Queue};
pub use reason::{Failure, Reason, Retry};

use backoff::Backoff;
use collector::Collector;
use items::Identity;
use net::BadCertificates;
use plan::Plan;
use sender::{RETRY_FOR, Sender};

/// What may wait for one backend. It is taken only while the backend is away.
const QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What they have at the end, if nothing is left of the drain's time, and at most.
const FLUSH_TIME_MIN: Duration = Duration::from_millis(500);
const FLUSH_TIME_MAX: Duration = Duration::from_secs(5);

/// The exporters of a process.
pub struct Exporters {
    tasks: JoinSet<()>,
    stop: CancellationToken,
    drain_started: Arc<OnceLock<Instant>>,
    report: Report,
    spans: Option<Arc<Buffer<Span>>>,
    records: Option<Arc<Buffer<Record>>>,
}

/// What exporters say about themselves. Cheap to clone, and current as long as it is kept.
#[derive(Clone, Default)]
pub struct Report {
    /// Those that send.
    pub running: Vec<Running>,
    /// What is left out, and why.
    pub wrong: Vec<Wrong>,
}

/// One that runs.
#[derive(Clone)]
pub struct Running {
    /// As counters and logs call it.
    pub name: String,
    /// What it sends.
    pub signal: Signal,
    /// Its backend, without what is secret.
    pub target: String,
    /// What becomes of what it sends.
    pub counts: Counts,
}

impl Exporters {
    /// Starts what the configuration asks for, on this runtime. What is wrong with it is
    /// logged, and left out.
    #[must_use]
    pub fn start(
        telemetry: &Telemetry,
        metrics: &Metrics,
        resolv_conf: PathBuf,
        drain: &Drain,
    ) -> Self {
        let mut exporters = Self {
            tasks: JoinSet::new(),
            stop: CancellationToken::new(),
            drain_started: Arc::default(),
            report: Report {
                running: Vec::new(),
                wrong: telemetry.wrong.clone(),
            },
            spans: None,
            records: None,
        };
        exporters.notice(drain.clone());
        let resolv_conf = Arc::new(resolv_conf);
        for exporter in &telemetry.exporters {
            let plan = Plan::of(exporter, &telemetry.resource, Arc::clone(&resolv_conf));
            match plan {
                Ok(Some(plan)) => exporters.add(exporter, plan, metrics),
                Ok(None) => {}
                Err(why) => exporters.leave_out(exporter, &why),
            }
        }
        let identity = Identity {
            own: &metrics.resource(),
            configured: &telemetry.resource,
        };
        let (mut spans, mut records) = (Vec::new(), Vec::new());
        for exporter in &telemetry.exporters {
            match items::of_spans(exporter, identity, Arc::clone(&resolv_conf)) {
                Ok(plan) => spans.extend(plan),
                Err(why) => exporters.leave_out(exporter, &why),
            }
            match items::of_records(exporter, identity, Arc::clone(&resolv_conf)) {
                Ok(plan) => records.extend(plan),
                Err(why) => exporters.leave_out(exporter, &why),
            }
        }
        exporters.spans = exporters.add_items(spans, Signal::Traces, metrics);
        exporters.records = exporters.add_items(records, Signal::Logs, metrics);
        for Wrong { item, why } in &exporters.report.wrong {
            tracing::warn!(exporter = item, why, "an exporter of telemetry is left out");
        }
        exporters
    }

    /// What they say about themselves.
    #[must_use]
    pub fn report(&self) -> Report {
        self.report.clone()
    }

    /// Where to put spans at their end. Nothing, if nobody is sent any.
    #[must_use]
    pub fn spans(&self) -> Option<Arc<Buffer<Span>>> {
        self.spans.clone()
    }

    /// Where to put lines of the access log. Nothing, if nobody is sent any.
    #[must_use]
    pub fn records(&self) -> Option<Arc<Buffer<Record>>> {
        self.records.clone()
    }

    /// Sends what there is, with what is left of the time that the drain had.
    pub async fn flush(mut self, drain_timeout: Duration) {
        let now = Instant::now();
        let drained_by = self
            .drain_started
            .get()
            .map(|started| *started + drain_timeout);
        let deadline = drained_by
            .unwrap_or(now)
            .clamp(now + FLUSH_TIME_MIN, now + FLUSH_TIME_MAX);
        self.stop.cancel();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout_at(deadline, all).await.is_err() {
            tracing::warn!("not all telemetry could be exported before the end");
        }
    }

    fn leave_out(&mut self, exporter: &Exporter, why: &BadCertificates) {
        let wrong = Wrong {
            item: exporter.name.clone(),
            why: why.to_string(),
        };
        // Once, though it sends more than one thing.
        if !self.report.wrong.contains(&wrong) {
            self.report.wrong.push(wrong);
        }
    }

    /// Remembers when the drain began: what comes after it has no more time than it.
    fn notice(&mut self, drain: Drain) {
        let (started, stop) = (Arc::clone(&self.drain_started), self.stop.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = drain.started() => drop(started.set(Instant::now())),
                () = stop.cancelled() => {}
            }
        });
    }

    fn add(&mut self, exporter: &Exporter, plan: Plan, metrics: &Metrics) {
        if exporter.histograms == Histograms::Exponential {
            metrics.keep_exponential();
        }
        let Plan {
            encode,
            transport,
            target,
        } = plan;
        let name = exporter.name.clone();
        tracing::info!(exporter = name, target, "telemetry is exported");
        let counts = Counts::new(metrics, &name, Signal::Metrics);
        let queue = Arc::new(Queue::new(QUEUE_BYTES_MAX));
        let collector = Collector {
            metrics: metrics.clone(),
            encode,
            interval: exporter.interval,
            queue: Arc::clone(&queue),
            counts: counts.clone(),
            stop: self.stop.clone(),
        };
        let sender = Sender {
            name: name.clone(),
            queue,
            transport,
            counts: counts.clone(),
            hurry: self.stop.clone(),
            retry_for: exporter.retry_for.unwrap_or(RETRY_FOR),
            backoff: Backoff::default(),
        };
        self.tasks.spawn(collector.run());
        self.tasks.spawn(sender.run());
        self.report.running.push(Running {
            name,
            signal: Signal::Metrics,
            target,
            counts,
        });
    }
}
