//! HTTP requests through the sidecar, and the RPC calls among them, after
//! OpenTelemetry's conventions
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-metrics/>,
//! <https://opentelemetry.io/docs/specs/semconv/rpc/rpc-metrics/>).

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use crate::{
    Metrics,
    by_label::ByLabel,
    cache::{Cache, Source},
    connections::Direction,
    instrument::{Counter, Gauge, Histogram, OneMore, Unit, nanoseconds},
    labels,
    peer::{Owner, Peer},
    registry::{Family, Room},
    snapshot::Labels,
};

mod descriptors;
mod ended;
pub mod grpc;
mod method;

use descriptors::{CLIENT, DURATION_SECONDS, Descriptors, RETRIED, SERVER, SIZE_BYTES};
use ended::{CallKey, Key};

pub use ended::{Call, Ended, Version};
pub use method::Method;

/// The request instruments of a process.
#[derive(Clone, Debug)]
pub struct RequestMetrics {
    inbound: Arc<Families>,
    outbound: Arc<Families>,
}

/// The instruments of one direction.
#[derive(Debug)]
struct Families {
    direction: Direction,
    duration: Family<Histogram>,
    request_body: Family<Histogram>,
    response_body: Family<Histogram>,
    active: Family<Gauge>,
    calls: Family<Histogram>,
    retried: Family<Counter>,
    /// Calls are told apart by their method, which the program does not know.
    by_rpc_method: bool,
}

/// The instruments for the requests to one peer, or to the application: looked up once,
/// and then recorded into without a lock. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Requests(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    families: Arc<Families>,
    base: Labels,
    ended: Cache<Key, Series>,
    calls: Cache<CallKey, Histogram>,
    /// The same by method, where that is wanted: by its name's hash.
    methods: Cache<(CallKey, u64), Histogram>,
    active: Cache<Method, Gauge>,
    retried: ByLabel<Counter>,
}

/// What requests are recorded into that ended alike.
#[derive(Debug)]
struct Series {
    duration: Histogram,
    request_body: Histogram,
    response_body: Histogram,
}

/// Calls of one method.
struct OfMethod<'m> {
    inner: &'m Inner,
    method: &'m str,
}

impl RequestMetrics {
    /// Adds the instruments to those of a process.
    #[must_use]
    pub fn register(metrics: &Metrics) -> Self {
        Self {
            inbound: Arc::new(Families::register(metrics, Direction::Inbound, SERVER)),
            outbound: Arc::new(Families::register(metrics, Direction::Outbound, CLIENT)),
        }
    }

    /// The instruments for one direction, where no peer is known.
    #[must_use]
    pub fn of(&self, direction: Direction) -> Requests {
        match direction {
            Direction::Inbound => {
                // There is no other: TLS of the application's own is not looked into.
                let base = labels::labels(&[("url.scheme", "http")]);
                Requests::new(&self.inbound, base)
            }
            Direction::Outbound => Requests::new(&self.outbound, labels::none()),
        }
    }

    /// The instruments for requests of the application to this peer.
    #[must_use]
    pub fn to(&self, peer: Peer<'_>) -> Requests {
        Requests::new(&self.outbound, peer.labels(&labels::none()))
    }
}

impl Families {
    fn register(metrics: &Metrics, direction: Direction, of: Descriptors) -> Self {
        let settings = metrics.settings();
        let seconds = settings
            .duration_bounds
            .as_deref()
            .unwrap_or(&DURATION_SECONDS);
        let bytes = settings.size_bounds.as_deref().unwrap_or(&SIZE_BYTES);
        let took = |descriptor| metrics.histograms(descriptor, Unit::Seconds, seconds);
        let size = |descriptor| metrics.histograms(descriptor, Unit::Whole, bytes);
        Self {
            direction,
            duration: took(of.duration),
            request_body: size(of.request_body),
            response_body: size(of.response_body),
            active: metrics.gauges(of.active),
            calls: took(of.calls),
            retried: metrics.counters(RETRIED),
            by_rpc_method: settings.labels.admits("rpc.method"),
        }
    }
}

impl Requests {
    fn new(families: &Arc<Families>, base: Labels) -> Self {
        let direction = [("direction", families.direction.as_str())];
        let retried = labels::with(&without_scheme(&base), &direction);
        Self(Arc::new(Inner {
            families: Arc::clone(families),
            retried: ByLabel::new(families.retried.clone(), &retried, "reason"),
            base,
            ended: Cache::default(),
            calls: Cache::default(),
            methods: Cache::default(),
            active: Cache::default(),
        }))
    }

    /// The same for what pods of this owner serve.
    #[must_use]
    pub(crate) fn at(&self, owner: Owner<'_>) -> Self {
        let base = labels::with(&self.0.base, &owner.pairs());
        Self::new(&self.0.families, base)
    }

    /// A request is under way until what is returned is dropped.
    #[must_use]
    pub fn begin(&self, method: Method) -> OneMore {
        let inner = &*self.0;
        inner.active.get(method, method as usize, inner).one_more()
    }

    /// A request ended.
    pub fn ended(&self, ended: &Ended<'_>) {
        let inner = &*self.0;
        let key = Key::of(ended);
        let series = inner.ended.get(key, key.spread(), inner);
        let took = nanoseconds(ended.took);
        series.duration.record_in(took, ended.trace);
        series.request_body.record(ended.sent);
        series.response_body.record(ended.received);
        if let Some(call) = &ended.call {
            let key = CallKey::of(call, ended);
            let calls = if inner.families.by_rpc_method {
                let method = call.path.trim_start_matches('/');
                let (hash, spread) = spread(method);
                let calls = OfMethod { inner, method };
                inner.methods.get((key, hash), spread, &calls)
            } else {
                inner.calls.get(key, key.spread(), inner)
            };
            calls.record_in(took, ended.trace);
        }
    }

    /// A request is sent once more.
    pub fn retried(&self, reason: &'static str) {
        self.0.retried.of(reason).inc();
    }
}

/// A number of its own for each text, and a small one.
fn spread(text: &str) -> (u64, usize) {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let hash = hasher.finish();
    (hash, usize::from(hash.to_le_bytes()[0]))
}

/// What only HTTP itself has by the conventions.
fn without_scheme(labels: &Labels) -> Labels {
    let others = labels.iter().filter(|label| label.key != "url.scheme");
    others.cloned().collect()
}

impl Source<Key, Series> for Inner {
    fn room(&self) -> &Room {
        self.families.duration.room()
    }

    fn find(&self, key: Key) -> Option<Series> {
        let families = &*self.families;
        let labels = key.labels(&self.base, families.direction);
        Some(Series {
            duration: families.duration.find(&labels)?,
            request_body: families.request_body.find(&labels)?,
            response_body: families.response_body.find(&labels)?,
        })
    }

    fn overflow(&self) -> Series {
        let families = &*self.families;
        Series {
            duration: families.duration.overflow(),
            request_body: families.request_body.overflow(),
            response_body: families.response_body.overflow(),
        }
    }
}

impl Source<Method, Gauge> for Inner {
    fn room(&self) -> &Room {
        self.families.active.room()
    }

    fn find(&self, method: Method) -> Option<Gauge> {
        let method = [("http.request.method", method.as_str())];
        let labels = labels::with(&self.base, &method);
        self.families.active.find(&labels)
    }

    fn overflow(&self) -> Gauge {
        self.families.active.overflow()
    }
}

impl Source<CallKey, Histogram> for Inner {
    fn room(&self) -> &Room {
        self.families.calls.room()
    }

    fn find(&self, key: CallKey) -> Option<Histogram> {
        let labels = key.labels(&self.base, self.families.direction);
        self.families.calls.find(&labels)
    }

    fn overflow(&self) -> Histogram {
        self.families.calls.overflow()
    }
}

impl Source<(CallKey, u64), Histogram> for OfMethod<'_> {
    fn room(&self) -> &Room {
        self.inner.families.calls.room()
    }

    fn find(&self, (key, _): (CallKey, u64)) -> Option<Histogram> {
        let families = &*self.inner.families;
        let labels = key.labels(&self.inner.base, families.direction);
        let labels = labels::with(&labels, &[("rpc.method", self.method)]);
        families.calls.find(&labels)
    }

    fn overflow(&self) -> Histogram {
        self.inner.families.calls.overflow()
    }
}

#[cfg(test)]
mod tests;
