//! OTLP in its other ways: compressed, as deltas, and over IPv6.

use std::time::Duration;

use netting_runtime::Drain;
use netting_telemetry::{
    Metrics,
    config::{Rehearsal, Telemetry},
    export::Exporters,
};
use tokio::runtime::Runtime;

use crate::{
    backends::Otlp,
    load::{self, DURATIONS, INBOUND, exporter_counted},
    process::until_eq,
};

fn start(list: &str, metrics: &Metrics, runtime: &Runtime) -> Exporters {
    let telemetry = Telemetry::parse(list, &Rehearsal);
    assert_eq!(telemetry.wrong, []);
    runtime
        .block_on(async { Exporters::start(&telemetry, metrics, "/nowhere".into(), &Drain::new()) })
}

#[test]
fn deltas_in_compressed_messages_come_to_every_count_once() {
    let runtime = Runtime::new().expect("a runtime");
    let metrics = load::metrics();
    let otlp = Otlp::start();
    let list = format!(
        "otlp=http://127.0.0.1:{};interval=200ms;temporality=delta;compression=gzip, \
         otlp-http=http://127.0.0.1:{};interval=200ms;temporality=delta;histograms=exponential",
        otlp.grpc, otlp.http
    );
    let exporters = start(&list, &metrics, &runtime);
    load::make(&metrics);
    for by in ["grpc", "http"] {
        until_eq(by, Some(f64::from(INBOUND)), || otlp.inbound(by));
        let metric = |name: &str| otlp.received(by)["metrics"][name].clone();
        until_eq(by, Some(f64::from(DURATIONS)), || {
            let durations = metric("http.server.request.duration");
            durations["points"]["http.response.status_code=200"]["count"].as_f64()
        });
        let kinds = ["netting.proof.requests", "http.server.active_requests"]
            .map(|name| (metric(name)["kind"].clone(), metric(name)["delta"].clone()));
        let expected = [true, false].map(|delta| ("sum".into(), delta.into()));
        assert_eq!(kinds, expected, "{by}");
    }
    runtime.block_on(exporters.flush(Duration::ZERO));
    // A last time, in which nothing came.
    for by in ["grpc", "http"] {
        assert_eq!(otlp.inbound(by), Some(f64::from(INBOUND)), "{by}");
    }
}

#[test]
fn who_takes_no_compressed_message_refuses_them_and_no_others() {
    let runtime = Runtime::new().expect("a runtime");
    let otlp = Otlp::uncompressed();
    let metrics = load::metrics();
    let target = format!(
        "otlp=http://127.0.0.1:{};interval=200ms;signals=metrics",
        otlp.grpc
    );
    let list = format!("{target};compression=gzip, {target}");
    let exporters = start(&list, &metrics, &runtime);
    load::make(&metrics);
    let dropped =
        |exporter: &str| exporter_counted(&metrics, "netting.telemetry.dropped", exporter);
    until_eq("a refusal", true, || {
        dropped("otlp")
            .iter()
            .any(|(reason, _)| reason == "refused")
    });
    until_eq("the other one", Some(f64::from(INBOUND)), || {
        otlp.inbound("grpc")
    });
    assert_eq!(dropped("otlp-2"), []);
    runtime.block_on(exporters.flush(Duration::ZERO));
}

#[test]
fn backends_are_reached_by_ipv6() {
    let runtime = Runtime::new().expect("a runtime");
    let metrics = load::metrics();
    let otlp = Otlp::over_ipv6();
    let list = format!(
        "otlp=http://[::1]:{};interval=200ms, otlp-http=http://[::1]:{};interval=200ms",
        otlp.grpc, otlp.http
    );
    let exporters = start(&list, &metrics, &runtime);
    load::make(&metrics);
    for by in ["grpc", "http"] {
        until_eq(by, Some(f64::from(INBOUND)), || otlp.inbound(by));
    }
    runtime.block_on(exporters.flush(Duration::ZERO));
}
