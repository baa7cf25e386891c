//! The registry of a process, and its exposition.

use std::sync::Arc;

use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use parking_lot::RwLock;
use prometheus_client::{encoding::text, registry::Registry};

use crate::process;

/// OpenMetrics 1.0, <https://prometheus.io/docs/specs/om/open_metrics_spec/>.
/// Prometheus has read it since 2.5.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The instruments of one process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<RwLock<Registry>>,
}

impl Metrics {
    /// A registry with what each process has: its build and its memory. `part` is
    /// the process's name, such as `sidecar`; `version` that of its build.
    #[must_use]
    pub fn new(part: &'static str, version: &'static str) -> Self {
        let mut registry = Registry::default();
        process::register(&mut registry, part, version);
        Self {
            registry: Arc::new(RwLock::new(registry)),
        }
    }

    /// Adds instruments, whose names all begin with `netting_`.
    pub fn register<I>(&self, instruments: impl FnOnce(&mut Registry) -> I) -> I {
        let mut registry = self.registry.write();
        instruments(registry.sub_registry_with_prefix("netting"))
    }

    /// All series as OpenMetrics text.
    ///
    /// # Errors
    /// If a collector fails to write its series.
    pub fn expose(&self) -> Result<String, std::fmt::Error> {
        let mut exposition = String::new();
        text::encode(&mut exposition, &self.registry.read())?;
        Ok(exposition)
    }

    /// `GET /metrics`, to be merged into the admin server's routes.
    pub fn router(&self) -> Router {
        let metrics = self.clone();
        Router::new().route("/metrics", get(async move || metrics.answer()))
    }

    fn answer(&self) -> Response {
        match self.expose() {
            Ok(exposition) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], exposition).into_response(),
            Err(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "the metrics could not be written\n",
            )
                .into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn prefixes_instruments_and_ends_as_the_format_demands() {
        let metrics = Metrics::new("test", "1.2.3");
        let things = metrics.register(|registry| {
            let things: Counter = Counter::default();
            registry.register("things", "Things seen", things.clone());
            things
        });
        things.inc();
        let exposition = metrics.expose().expect("nothing here fails to write");
        assert!(
            exposition.contains("\nnetting_things_total 1\n"),
            "{exposition}"
        );
        assert!(exposition.contains(r#"version="1.2.3""#), "{exposition}");
        assert!(exposition.ends_with("# EOF\n"), "{exposition}");
    }
}
