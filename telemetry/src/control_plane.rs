//! The telemetry of the control plane's own processes, from the first series to the last
//! flush. They are alike in this: each is a Deployment, and has the same flags.

use std::time::Duration;

use axum::{Json, Router, routing::get};
use netting_runtime::Drain;
use serde::Serialize;

use crate::{
    Metrics,
    config::{Environment, Telemetry},
    export::{Dump, Exporters},
    registry::Settings,
    resource::{self, Pod},
    trace::{Sampler, Tracer, sampler::Ratio},
};

/// What the names of backends are looked up with.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// All of Netting's crates have one version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A process of the control plane.
#[derive(Clone, Copy, Debug)]
pub struct Part<'p> {
    /// What series call it: `catalog`.
    pub name: &'static str,
    /// Its container and its Deployment: `netting-catalog`.
    pub workload: &'static str,
    /// Its pod's name, if it knows it.
    pub pod_name: &'p str,
    /// Its pod's namespace, if it knows it.
    pub pod_namespace: &'p str,
}

/// Telemetry that runs.
pub struct Started {
    /// All series of the process.
    pub metrics: Metrics,
    /// What begins its spans. Nothing, if nobody is sent any.
    pub tracer: Option<Tracer>,
    exporters: Exporters,
    /// Whether somebody may ask for the series.
    exposed: bool,
}

/// The answer of `/config`. Fields are only ever added.
#[derive(Debug, Serialize)]
struct Config {
    version: &'static str,
    telemetry: Dump,
}

impl Part<'_> {
    /// Starts what a list of exporters and the `OTEL_*` variables ask for. What is wrong
    /// with it is logged, and left out. Traces are kept by `trace_ratio`, or else by what
    /// [`Sampler::configured`] finds.
    #[must_use]
    pub fn start(self, exporters: &str, trace_ratio: Option<Ratio>, drain: &Drain) -> Started {
        let mut telemetry = Telemetry::parse(exporters, &Environment);
        let sampler = Sampler::configured(trace_ratio, &mut telemetry, &Environment);
        let metrics = self.metrics(&telemetry);
        let exporters = Exporters::start(&telemetry, &metrics, RESOLV_CONF.into(), drain);
        Started {
            tracer: exporters
                .spans()
                .map(|spans| Tracer::new(sampler, spans).in_formats(telemetry.propagators)),
            exposed: telemetry.prometheus(),
            metrics,
            exporters,
        }
    }

    /// Metrics that say whose they are.
    fn metrics(self, telemetry: &Telemetry) -> Metrics {
        let pod = Pod {
            name: self.pod_name,
            namespace: self.pod_namespace,
            workload_kind: "Deployment",
            workload: self.workload,
            ..Pod::default()
        };
        let resource = resource::of_container(pod, self.workload, VERSION);
        let resource = resource::with(&resource, &telemetry.resource);
        let settings = telemetry.settings(Settings::default());
        Metrics::of(resource, settings, self.name, VERSION)
    }
}

impl Started {
    /// Routes of the admin port: `/config` and `/instruments`, and `/metrics`, if `prometheus`
    /// is on the list.
    pub fn routes(&self) -> Router {
        let report = self.exporters.report();
        let config = move || async move {
            Json(Config {
                version: VERSION,
                telemetry: report.dump(),
            })
        };
        let always = self.metrics.instruments_router();
        let always = always.route("/config", get(config));
        match self.exposed {
            true => always.merge(self.metrics.router()),
            false => always,
        }
    }

    /// Sends what there is, with what is left of the time that the drain had.
    pub async fn flush(self, drain_timeout: Duration) {
        self.exporters.flush(drain_timeout).await;
    }
}

#[cfg(test)]
mod tests {
    use axum::{
        body::Body,
        http::{Request, StatusCode},
    };
    use tower::ServiceExt as _;

    use super::*;

    const CATALOG: Part<'_> = Part {
        name: "catalog",
        workload: "netting-catalog",
        pod_name: "netting-catalog-7d4b-x2k",
        pod_namespace: "netting",
    };

    #[tokio::test]
    async fn without_a_receiver_of_spans_none_are_begun() {
        let started = CATALOG.start("prometheus", None, &Drain::new());
        assert!(started.tracer.is_none());
        assert!(started.exposed);
        let started = CATALOG.start("statsd=udp://127.0.0.1:8125", None, &Drain::new());
        assert!(started.tracer.is_none() && !started.exposed);
    }

    #[tokio::test]
    async fn a_receiver_of_spans_is_enough_to_begin_some() {
        for list in [
            "otlp=http://127.0.0.1:4317",
            "zipkin=http://127.0.0.1:9411/",
        ] {
            let started = CATALOG.start(list, None, &Drain::new());
            assert!(started.tracer.is_some(), "{list}");
        }
    }

    #[tokio::test]
    async fn the_command_is_answered_wherever_telemetry_goes() {
        for (list, metrics) in [
            ("prometheus", StatusCode::OK),
            ("otlp=http://127.0.0.1:4317", StatusCode::NOT_FOUND),
        ] {
            let routes = CATALOG.start(list, None, &Drain::new()).routes();
            for (path, expected) in [("/instruments", StatusCode::OK), ("/metrics", metrics)] {
                let asked = Request::get(path).body(Body::empty()).expect("a request");
                let answer = routes.clone().oneshot(asked).await;
                let answer = answer.expect("a router always answers");
                assert_eq!(answer.status(), expected, "{path} with {list}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_left_out_is_told_with_its_reason() {
        let list = "prometheus, otlp=collector:4317, statsd=udp://127.0.0.1:8125";
        let routes = CATALOG.start(list, None, &Drain::new()).routes();
        let asked = Request::get("/config").body(Body::empty());
        let answer = routes.oneshot(asked.expect("a request")).await;
        let body = answer.expect("a router always answers").into_body();
        let body = axum::body::to_bytes(body, usize::MAX)
            .await
            .expect("it is there");
        let config: serde_json::Value = serde_json::from_slice(&body).expect("it is JSON");
        let telemetry = &config["telemetry"];
        assert_eq!(telemetry["exporters"][0]["name"], "statsd");
        let left_out = telemetry["left_out"].as_array().expect("it is a list");
        assert_eq!(left_out.len(), 1, "{telemetry}");
        assert_eq!(left_out[0]["item"], "otlp=collector:4317");
        let why = left_out[0]["why"].as_str().expect("it is text");
        assert!(why.contains("is no URL"), "{why}");
    }

    #[tokio::test]
    async fn the_list_says_how_metrics_are_kept() {
        let started = CATALOG.start("metrics;series-max=7", None, &Drain::new());
        assert_eq!(started.metrics.settings().series_max, 7);
    }

    #[tokio::test]
    async fn a_process_says_which_pod_it_is() {
        let started = CATALOG.start("", None, &Drain::new());
        let resource = started.metrics.resource();
        let value = |key| {
            let label = resource.iter().find(|label| label.key == key);
            label.map(|label| label.value.to_string())
        };
        assert_eq!(value("service.name").as_deref(), Some("netting-catalog"));
        assert_eq!(value("k8s.pod.name").as_deref(), Some(CATALOG.pod_name));
        assert_eq!(value("k8s.namespace.name").as_deref(), Some("netting"));
    }
}
