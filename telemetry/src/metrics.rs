//! The metrics of a process.

use std::sync::Arc;

use axum::Router;

use crate::{
    instrument::{Buckets, Counter, Gauge, Histogram, Unit},
    process,
    prometheus::{self, Application},
    registry::{Family, Moment, Registry, Settings, Value},
    snapshot::{Descriptor, Labels, Snapshot},
};

/// The metrics of one process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
}

impl Metrics {
    /// Metrics with what each process has: its build and its memory. `part` is the
    /// process's name, such as `sidecar`; `version` that of its build.
    #[must_use]
    pub fn new(part: &'static str, version: &'static str) -> Self {
        Self::of(Labels::default(), Settings::default(), part, version)
    }

    /// The same, of a process that is this resource.
    #[must_use]
    pub fn of(
        resource: Labels,
        settings: Settings,
        part: &'static str,
        version: &'static str,
    ) -> Self {
        let registry = Arc::new(Registry::new(resource, settings));
        let metrics = Self { registry };
        process::register(&metrics, part, version);
        metrics
    }

    /// What all series have come to.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.registry.snapshot(Moment::now())
    }

    /// What the process is.
    #[must_use]
    pub fn resource(&self) -> Labels {
        self.registry.resource()
    }

    /// From now on histograms keep exponential buckets beside their own. For exporters
    /// whose protocol has them.
    pub fn keep_exponential(&self) {
        self.registry.keep_exponential();
    }

    /// How they are kept.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.registry.settings
    }

    /// A metric that only grows.
    #[must_use]
    pub fn counters(&self, descriptor: Descriptor) -> Family<Counter> {
        self.registry.family(descriptor, || ())
    }

    /// A metric that goes up and down.
    #[must_use]
    pub fn gauges(&self, descriptor: Descriptor) -> Family<Gauge> {
        self.registry.family(descriptor, || ())
    }

    /// A distribution, with these upper bounds of its buckets, which rise.
    #[must_use]
    pub fn histograms(
        &self,
        descriptor: Descriptor,
        unit: Unit,
        bounds: &[f64],
    ) -> Family<Histogram> {
        let exponential = Arc::clone(&self.registry.exponential);
        let shape = || Arc::new(Buckets::new(unit, bounds, exponential));
        self.registry.family(descriptor, shape)
    }

    /// A metric with one series, whose value is asked for by each snapshot; it has none
    /// while there is no value.
    pub fn ask(
        &self,
        descriptor: Descriptor,
        labels: Labels,
        value: impl Fn() -> Option<Value> + Send + Sync + 'static,
    ) {
        self.registry.ask(descriptor, labels, value);
    }

    /// All series in Prometheus' text format, as `/instruments` has them.
    #[must_use]
    pub fn expose(&self) -> String {
        prometheus::text(&self.snapshot(), prometheus::Format::Text)
    }

    /// The same with the application's own metrics before these.
    pub fn router_with(&self, application: Application) -> Router {
        prometheus::merged_router(self.clone(), application)
    }

    /// `GET /metrics`, to be merged into the admin server's routes.
    pub fn router(&self) -> Router {
        prometheus::router(self.clone())
    }

    /// `GET` of this path: the same as `/metrics`. A path that is there already stays what
    /// it is.
    pub fn router_beside(&self, path: String) -> Router {
        prometheus::router_beside(self.clone(), path)
    }

    /// `GET /instruments`: the same for the `netting` command, which asks for it wherever
    /// else telemetry goes. Nothing of the application is in it, nor the label that tells
    /// Prometheus so.
    pub fn instruments_router(&self) -> Router {
        prometheus::instruments_router(self.clone())
    }
}
