//! What carries the instruments' values to whatever a team already runs.
//!
//! Each exporter is two tasks with a bounded queue between them: one looks at the
//! instruments and encodes what they say, one sends. An encoder is a plain function;
//! nothing of an exporter that is not configured runs. In reading order:
//!
//! - [`otlp`], [`remote_write`], [`statsd`], [`graphite`], [`influxdb`]: the encoders,
//!   with what they share in [`encoded`], [`delta`] and [`tags`];
//! - [`zipkin`] and, in [`otlp`] too, the encoders for spans and for the access log;
//! - [`collector`], [`items`], [`queue`], [`sender`]: the way of a batch;
//! - [`transport`]: how it gets to a backend, by [`http`], [`grpc`], [`datagrams`] or
//!   [`lines`] over [`net`];
//! - [`reason`], [`backoff`], [`counts`]: what becomes of failures.

use std::{path::PathBuf, sync::Arc, time::Duration};

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
pub use queue::{Batch, Queue};
pub use reason::{Failure, Reason, Retry};

use backoff::Backoff;
use collector::Collector;
use items::Identity;
use net::BadCertificates;
use plan::Plan;
use sender::Sender;

/// What may wait for one backend. It is taken only while the backend is away.
const QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The exporters of a process.
pub struct Exporters {
    tasks: JoinSet<()>,
    stop: CancellationToken,
    running: Vec<Running>,
    wrong: Vec<Wrong>,
    spans: Option<Arc<Buffer<Span>>>,
    records: Option<Arc<Buffer<Record>>>,
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
    pub fn start(telemetry: &Telemetry, metrics: &Metrics, resolv_conf: PathBuf) -> Self {
        let mut exporters = Self {
            tasks: JoinSet::new(),
            stop: CancellationToken::new(),
            running: Vec::new(),
            wrong: telemetry.wrong.clone(),
            spans: None,
            records: None,
        };
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
        for Wrong { item, why } in &exporters.wrong {
            tracing::warn!(exporter = item, why, "an exporter of telemetry is left out");
        }
        exporters
    }

    /// Those that run.
    #[must_use]
    pub fn running(&self) -> &[Running] {
        &self.running
    }

    /// What is left out, and why.
    #[must_use]
    pub fn wrong(&self) -> &[Wrong] {
        &self.wrong
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

    /// Sends what there is, until the deadline.
    pub async fn flush(mut self, deadline: Instant) {
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
        if !self.wrong.contains(&wrong) {
            self.wrong.push(wrong);
        }
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
            backoff: Backoff::default(),
        };
        self.tasks.spawn(collector.run());
        self.tasks.spawn(sender.run());
        self.running.push(Running {
            name,
            signal: Signal::Metrics,
            target,
            counts,
        });
    }
}

/// How long to flush when nothing else is known: enough for a backend that is well.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
