//! The books: what was sent and what became of it. The caller tells the time.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use crate::client::failure::{Failure, FailureKind};
use crate::load::histogram::{Histogram, Percentiles};

/// Failures that are told in full; all are counted.
const FAILURES_KEPT: usize = 20;
/// Pods that are told apart; answers of further ones count for [`OTHER_PODS`].
const PODS_MAX: usize = 1000;
/// Stands for the pods beyond [`PODS_MAX`].
const OTHER_PODS: &str = "(others)";
/// Stands for an answer that doesn't name its pod.
const UNNAMED_POD: &str = "(unnamed)";

/// A complete answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) pod: Option<String>,
    /// What a proxy on the way says about it (RFC 9209).
    pub(super) proxy_status: Option<String>,
}

/// Counts since the start or the last reset.
#[derive(Debug)]
pub(super) struct Recorder {
    started_unix_ms: u64,
    in_flight: u64,
    books: Page,
    second: Page,
}

#[derive(Debug)]
struct Page {
    counts: Counts,
    latencies: Histogram,
    by_pod: BTreeMap<String, u64>,
    seen: BTreeMap<String, Seen>,
    by_status: BTreeMap<u16, u64>,
    by_kind: BTreeMap<String, u64>,
    failures: VecDeque<FailureRecord>,
}

/// Plain counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests begun. `sent = ok + failed + in_flight`, also across a reset.
    pub sent: u64,
    /// Complete answers with a status below 400.
    pub ok: u64,
    /// All others.
    pub failed: u64,
    /// Requests that waited for a place, since as many as allowed were in flight.
    pub late: u64,
    /// Connections opened.
    pub connections: u64,
    /// Times that connecting was tried again.
    pub connect_retries: u64,
    /// Requests sent again, since the kept-alive connection turned out to be closed.
    pub stale_retries: u64,
}

/// When a pod answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// First, in milliseconds since 1970-01-01 UTC.
    pub first_unix_ms: u64,
    /// Most recently, likewise.
    pub last_unix_ms: u64,
}

/// A failed request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureRecord {
    /// When it was known to have failed, in milliseconds since 1970-01-01 UTC.
    pub unix_ms: u64,
    /// The same since the start or the last reset.
    pub after_ms: u64,
    /// How long after the request was due, in milliseconds.
    pub took_ms: u64,
    /// What it counts as.
    pub kind: FailureKind,
    /// What happened.
    pub reason: String,
}

/// All of the books, for `/stats` and the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Milliseconds since the start or the last reset.
    pub elapsed_ms: u64,
    /// Plain counts, at the top level in JSON.
    #[serde(flatten)]
    pub counts: Counts,
    /// Requests without an outcome yet.
    pub in_flight: u64,
    /// Latencies of the successful requests, from when they were due.
    pub latency_ms: Option<Percentiles>,
    /// Answers of each pod, whatever their status.
    pub by_pod: BTreeMap<String, u64>,
    /// When each pod answered.
    pub seen: BTreeMap<String, Seen>,
    /// Answers of each status.
    pub by_status: BTreeMap<u16, u64>,
    /// Failures of each kind; every kind is there.
    pub failures_by_kind: BTreeMap<String, u64>,
    /// The last 20, oldest first.
    pub failures: Vec<FailureRecord>,
}

/// What a second added.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Second {
    /// Milliseconds since the start or the last reset.
    elapsed_ms: u64,
    /// Counts of this second.
    #[serde(flatten)]
    counts: Counts,
    /// Failures since the start or the last reset.
    failed_in_all: u64,
    /// Requests without an outcome yet.
    in_flight: u64,
    /// Latencies of this second's successful requests.
    latency_ms: Option<Percentiles>,
    /// This second's answers of each pod.
    by_pod: BTreeMap<String, u64>,
}

impl Summary {
    /// Whether requests succeeded, and none failed.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.counts.ok > 0 && self.counts.failed == 0
    }
}

impl Recorder {
    pub(super) fn new(now_unix_ms: u64) -> Self {
        Self {
            started_unix_ms: now_unix_ms,
            in_flight: 0,
            books: Page::new(),
            second: Page::new(),
        }
    }

    pub(super) fn started(&mut self) {
        self.in_flight += 1;
        self.count(|counts| counts.sent += 1);
    }

    pub(super) fn late(&mut self) {
        self.count(|counts| counts.late += 1);
    }

    pub(super) fn connected(&mut self) {
        self.count(|counts| counts.connections += 1);
    }

    pub(super) fn retried_connect(&mut self) {
        self.count(|counts| counts.connect_retries += 1);
    }

    pub(super) fn retried_stale(&mut self) {
        self.count(|counts| counts.stale_retries += 1);
    }

    /// Books the outcome of a request that was [`Recorder::started`], `took` after it was due.
    pub(super) fn finished(
        &mut self,
        outcome: Result<Answer, Failure>,
        took: Duration,
        now_unix_ms: u64,
    ) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let after_ms = now_unix_ms.saturating_sub(self.started_unix_ms);
        for page in [&mut self.books, &mut self.second] {
            let failure = match &outcome {
                Ok(answer) => page.answered(answer, now_unix_ms),
                Err(failure) => Some(failure.clone()),
            };
            match failure {
                None => page.succeeded(took),
                Some(Failure { kind, reason }) => page.failed(FailureRecord {
                    unix_ms: now_unix_ms,
                    after_ms,
                    took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                    kind,
                    reason,
                }),
            }
        }
    }

    /// Starts the books anew; requests in flight will be booked there.
    pub(super) fn reset(&mut self, now_unix_ms: u64) {
        let in_flight = self.in_flight;
        *self = Self::new(now_unix_ms);
        self.in_flight = in_flight;
        self.books.counts.sent = in_flight;
    }

    pub(super) fn summary(&self, now_unix_ms: u64) -> Summary {
        Summary {
            elapsed_ms: now_unix_ms.saturating_sub(self.started_unix_ms),
            counts: self.books.counts,
            in_flight: self.in_flight,
            latency_ms: self.books.latencies.percentiles(),
            by_pod: self.books.by_pod.clone(),
            seen: self.books.seen.clone(),
            by_status: self.books.by_status.clone(),
            failures_by_kind: self.books.by_kind.clone(),
            failures: self.books.failures.iter().cloned().collect(),
        }
    }

    /// What happened since this was called before.
    pub(super) fn second(&mut self, now_unix_ms: u64) -> Second {
        let second = std::mem::replace(&mut self.second, Page::new());
        Second {
            elapsed_ms: now_unix_ms.saturating_sub(self.started_unix_ms),
            counts: second.counts,
            failed_in_all: self.books.counts.failed,
            in_flight: self.in_flight,
            latency_ms: second.latencies.percentiles(),
            by_pod: second.by_pod,
        }
    }

    fn count(&mut self, count: impl Fn(&mut Counts)) {
        count(&mut self.books.counts);
        count(&mut self.second.counts);
    }
}

impl Page {
    fn new() -> Self {
        Self {
            counts: Counts::default(),
            latencies: Histogram::new(),
            by_pod: BTreeMap::new(),
            seen: BTreeMap::new(),
            by_status: BTreeMap::new(),
            by_kind: FailureKind::ALL
                .map(|kind| (kind.as_str().to_owned(), 0))
                .into(),
            failures: VecDeque::new(),
        }
    }

    /// Books who answered; returns the failure that the answer itself tells of.
    fn answered(&mut self, answer: &Answer, now_unix_ms: u64) -> Option<Failure> {
        let pod = answer.pod.as_deref().unwrap_or(UNNAMED_POD);
        let known = self.by_pod.contains_key(pod) || self.by_pod.len() < PODS_MAX;
        let pod = if known { pod } else { OTHER_PODS };
        *self.by_pod.entry(pod.to_owned()).or_default() += 1;
        self.seen
            .entry(pod.to_owned())
            .and_modify(|seen| seen.last_unix_ms = now_unix_ms)
            .or_insert(Seen {
                first_unix_ms: now_unix_ms,
                last_unix_ms: now_unix_ms,
            });
        *self.by_status.entry(answer.status.as_u16()).or_default() += 1;
        let refused = answer.status.as_u16() >= 400;
        refused.then(|| {
            let mut reason = format!("{} from {pod}", answer.status);
            if let Some(proxy_status) = &answer.proxy_status {
                reason.push_str(": ");
                reason.push_str(proxy_status);
            }
            Failure::new(FailureKind::Status, reason)
        })
    }

    fn succeeded(&mut self, took: Duration) {
        self.counts.ok += 1;
        self.latencies.add(took);
    }

    fn failed(&mut self, record: FailureRecord) {
        self.counts.failed += 1;
        *self
            .by_kind
            .entry(record.kind.as_str().to_owned())
            .or_default() += 1;
        if self.failures.len() == FAILURES_KEPT {
            self.failures.pop_front();
        }
        self.failures.push_back(record);
    }
}

#[cfg(test)]
mod tests;
