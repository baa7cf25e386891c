//! `GET /metrics` of a sidecar whose application has metrics too: both in one.

use std::{
    collections::HashSet,
    io::Write as _,
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Extension, Router,
    body::Body,
    http::{HeaderMap, Uri},
    response::{IntoResponse as _, Response},
    routing::get,
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};
use netting_runtime::admin::Accepted;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::{
    Application, Format,
    application::Failure,
    merge::{Lines, TARGET},
    metric_name,
    router::{Wanted, answer},
    scraped,
};
use crate::{
    Metrics,
    by_label::ByLabel,
    instrument::{Counter, Gauge},
    labels,
    snapshot::Descriptor,
};

const ASKED: Descriptor = Descriptor {
    name: "netting.application.scrapes",
    unit: "{scrape}",
    description: "Times that the application was asked for its metrics, by what came of it",
};

const LEFT_OUT: Descriptor = Descriptor {
    name: "netting.application.left_out",
    unit: "{metric}",
    description: "Metrics of the sidecar that the last scrape lacked, for the application has others of the same names",
};

/// How long the application may take, where the scraper does not say how long it waits.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long it may take at most, whatever the scraper says.
const PATIENCE_MAX: Duration = Duration::from_secs(120);
/// Before the scraper's patience ends, the sidecar's own metrics have to be sent.
const MARGIN: Duration = Duration::from_millis(500);
/// How much of the application's exposition is passed on.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Pieces that wait for the scraper to read.
const QUEUE: usize = 4;

/// `GET /metrics` with the application's own metrics before the sidecar's. Where both
/// have a metric of one type, it has the series of both; of two types, it is the
/// application's. Its `target_info` also says what the sidecar knows.
pub fn merged_router(metrics: Metrics, application: Application) -> Router {
    let asked = ByLabel::new(metrics.counters(ASKED), &labels::none(), "outcome");
    // From the first scrape on, which it is not yet in.
    let _ = asked.of("passed");
    let left_out = metrics.gauges(LEFT_OUT).only();
    let merging = Merging {
        metrics,
        application,
        asked,
        left_out,
    };
    let answer =
        async move |accepted: Option<Extension<Accepted>>, uri: Uri, headers: HeaderMap| {
            let pod = accepted.map(|Extension(accepted)| accepted.local.ip());
            merging.answer(pod, uri.query(), &headers).await
        };
    Router::new().route("/metrics", get(answer))
}

#[derive(Clone)]
struct Merging {
    metrics: Metrics,
    application: Application,
    asked: ByLabel<Counter>,
    left_out: Gauge,
}

impl Merging {
    /// Where the scraper asks, the application is. Loopback is private to the pod.
    async fn answer(
        &self,
        pod: Option<IpAddr>,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> Response {
        let Some(pod) = pod.filter(|pod| !pod.is_loopback()) else {
            return answer(&self.metrics, scraped, headers);
        };
        self.answer_at(pod, query, headers).await
    }

    async fn answer_at(&self, pod: IpAddr, query: Option<&str>, headers: &HeaderMap) -> Response {
        let wanted = Wanted::by(headers);
        let until = Instant::now() + patience(headers);
        let asked = timeout_at(until, self.application.ask(pod, query, wanted.format)).await;
        let (format, theirs) = match asked.unwrap_or(Err(Failure::Late)) {
            Ok(answered) => answered,
            Err(failure) => {
                self.failed(failure);
                return answer(&self.metrics, scraped, headers);
            }
        };
        let (sender, pieces) = mpsc::channel(QUEUE);
        let output = Output {
            gzip: wanted
                .gzip
                .then(|| GzEncoder::new(Vec::new(), Compression::fast())),
            sender,
        };
        tokio::spawn(self.clone().pass_on((format, theirs), until, output));
        let head = Wanted { format, ..wanted }.head();
        (head, Body::new(Pieces(pieces))).into_response()
    }

    async fn pass_on(self, theirs: (Format, Incoming), until: Instant, mut output: Output) {
        let (format, mut body) = theirs;
        let mut snapshot = self.metrics.snapshot();
        let mut lines = Lines::new(&snapshot, format);
        let scraper = output.sender.clone();
        let passed = tokio::select! {
            passed = timeout_at(until, copy(&mut body, &mut lines, &mut output)) => {
                passed.unwrap_or(Err(Failure::Late))
            }
            // Nor is the application kept at it for a scraper that has given up.
            () = scraper.closed() => Err(Failure::Late),
        };
        match passed {
            Ok(()) if lines.is_malformed => self.failed(Failure::Malformed),
            Ok(()) => self.asked.of("passed").inc(),
            Err(failure) => self.failed(failure),
        }
        let mut last = Vec::new();
        let both = lines.finish(&mut last);
        self.note(&both.left_out);
        snapshot
            .metrics
            .retain(|metric| !both.done.contains(&metric_name(metric).family));
        if both.done.contains(TARGET) {
            snapshot.resource = labels::none();
        }
        last.extend(scraped(&snapshot, format).bytes());
        output.end(last).await;
    }

    /// Says so when other metrics are the application's alone than before.
    fn note(&self, left_out: &HashSet<String>) {
        let count = i64::try_from(left_out.len()).unwrap_or(i64::MAX);
        if count != 0 && count != self.left_out.get() {
            tracing::warn!(
                metrics = ?left_out,
                "left metrics out of scrapes that the application has with another type"
            );
        }
        self.left_out.set(count);
    }

    fn failed(&self, failure: Failure) {
        let reason = failure.as_str();
        tracing::debug!(reason, "could not pass the application's metrics on");
        self.asked.of(reason).inc();
    }
}

async fn copy(
    body: &mut Incoming,
    lines: &mut Lines<'_>,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut left = BYTES_MAX;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Failure::Broken)?;
        let Ok(bytes) = frame.into_data() else {
            continue;
        };
        left = left.checked_sub(bytes.len()).ok_or(Failure::TooLarge)?;
        let mut piece = Vec::new();
        let taken = lines.take(&bytes, &mut piece);
        output.send(piece).await;
        taken.map_err(|_| Failure::TooLarge)?;
    }
    let mut piece = Vec::new();
    lines.end(&mut piece);
    output.send(piece).await;
    Ok(())
}

/// Prometheus says how long it waits.
fn patience(headers: &HeaderMap) -> Duration {
    let waits = headers.get("x-prometheus-scrape-timeout-seconds");
    let waits = waits.and_then(|waits| waits.to_str().ok()?.parse().ok());
    let waits = waits.and_then(|waits| Duration::try_from_secs_f64(waits).ok());
    waits.map_or(PATIENCE, |waits| {
        waits.saturating_sub(MARGIN).min(PATIENCE_MAX)
    })
}

/// What goes to the scraper, compressed if it wants that.
struct Output {
    gzip: Option<GzEncoder<Vec<u8>>>,
    sender: mpsc::Sender<Bytes>,
}

impl Output {
    async fn send(&mut self, piece: Vec<u8>) {
        let piece = match &mut self.gzip {
            None => piece,
            Some(gzip) => {
                gzip.write_all(&piece)
                    .expect("memory can always be written to");
                std::mem::take(gzip.get_mut())
            }
        };
        if !piece.is_empty() {
            // A scraper that has gone needs nothing more.
            let _ = self.sender.send(piece.into()).await;
        }
    }

    async fn end(mut self, last: Vec<u8>) {
        self.send(last).await;
        if let Some(gzip) = self.gzip {
            let rest = gzip.finish().expect("memory can always be written to");
            let _ = self.sender.send(rest.into()).await;
        }
    }
}

struct Pieces(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let piece = self.0.poll_recv(cx);
        piece.map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

#[cfg(test)]
mod tests;
