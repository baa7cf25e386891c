//! All exporters at once, from the same instruments: each backend has every count,
//! once.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use netting_runtime::Drain;
use netting_telemetry::{
    Metrics,
    config::{Rehearsal, Signal, Telemetry},
    export::{Exporters, Running},
    prometheus::{Format, scraped},
};
use tokio::{net::TcpListener, runtime::Runtime};

use crate::{
    backends::{Carbon, Dogstatsd, Influxdb, Otlp, Prometheus, Statsd, Victoria},
    load::{self, ACTIVE, DURATIONS, INBOUND, OUTBOUND},
    process::until_eq,
    query::promql,
};

fn some(count: u32) -> Option<f64> {
    Some(f64::from(count))
}

struct Backends {
    prometheus: Prometheus,
    victoria: Victoria,
    influxdb: Influxdb,
    carbon: Carbon,
    statsd: Statsd,
    dogstatsd: Dogstatsd,
    otlp: Otlp,
}

impl Backends {
    fn start(target: &str) -> Self {
        Self {
            prometheus: Prometheus::start(target),
            victoria: Victoria::start(),
            influxdb: Influxdb::start(),
            carbon: Carbon::start(),
            statsd: Statsd::start(),
            dogstatsd: Dogstatsd::start(),
            otlp: Otlp::start(),
        }
    }

    fn list(&self) -> String {
        let prometheus = self.prometheus.port;
        let victoria = self.victoria.port;
        [
            "prometheus".to_owned(),
            format!("otlp=http://127.0.0.1:{}", self.otlp.grpc),
            format!("otlp-http=http://127.0.0.1:{};compression=gzip;histograms=exponential", self.otlp.http),
            format!("remote-write=http://127.0.0.1:{prometheus}/api/v1/write;tag.way=classic"),
            format!("remote-write=http://127.0.0.1:{prometheus}/api/v1/write;tag.way=native;histograms=exponential"),
            format!("remote-write=http://127.0.0.1:{victoria}/api/v1/write"),
            format!("graphite=tcp://127.0.0.1:{}", self.carbon.port),
            format!("graphite=tcp://127.0.0.1:{}", self.victoria.graphite),
            format!("influxdb=http://127.0.0.1:{}/write?db=http;compression=gzip", self.influxdb.port),
            format!("influxdb=udp://127.0.0.1:{}", self.influxdb.udp),
            format!("influxdb=http://127.0.0.1:{victoria}/write?db=any"),
            format!("influxdb=http://127.0.0.1:{victoria}/api/v2/write?org=shop&bucket=mesh;tag.way=v2"),
            format!("statsd=udp://127.0.0.1:{};prefix=mesh", self.statsd.port),
            format!("dogstatsd=unix://{};tag.env=test", self.dogstatsd.socket()),
        ]
        .map(|exporter| match exporter.as_str() {
            "prometheus" => exporter,
            _ => format!("{exporter};interval=1s"),
        })
        .join(", ")
    }

    fn have_everything(&self) {
        self.prometheus_has_everything();
        self.victoria_has_everything();
        self.influxdb_has_everything();
        self.carbon_has_everything();
        self.statsd_has_everything();
        self.dogstatsd_has_everything();
        self.otlp_has_everything();
    }

    fn prometheus_has_everything(&self) {
        let port = self.prometheus.port;
        for of in [
            "job=\"scraped\"",
            "job=\"web\",way=\"classic\"",
            "job=\"web\",way=\"native\"",
        ] {
            let requests = |direction: &str| {
                let query = format!(
                    "netting_proof_requests_total{{{of},netting_direction=\"{direction}\"}}"
                );
                promql(port, &query)
            };
            until_eq(of, some(INBOUND), || requests("inbound"));
            until_eq(of, some(OUTBOUND), || requests("outbound"));
            let active = format!("http_server_active_requests{{{of}}}");
            until_eq(of, some(ACTIVE), || promql(port, &active));
        }
        for of in ["job=\"scraped\"", "job=\"web\",way=\"classic\""] {
            let count = format!("http_server_request_duration_seconds_count{{{of}}}");
            until_eq(of, some(DURATIONS), || promql(port, &count));
            let all = format!("http_server_request_duration_seconds_bucket{{{of},le=\"+Inf\"}}");
            until_eq(of, some(DURATIONS), || promql(port, &all));
        }
        let native = "histogram_count(http_server_request_duration_seconds{way=\"native\"})";
        until_eq(native, some(DURATIONS), || promql(port, native));
        let median =
            "histogram_quantile(0.5, http_server_request_duration_seconds{way=\"native\"})";
        let median = promql(port, median).expect("a native histogram has quantiles");
        assert!(
            (0.6..0.7).contains(&median),
            "the middle of 0.3 ms to 1.3 s: {median}"
        );
    }

    fn victoria_has_everything(&self) {
        let port = self.victoria.port;
        let direction = r#"netting\.direction="inbound""#;
        for (what, query, count) in [
            (
                "remote write",
                r#"netting_proof_requests_total{netting_direction="inbound"}"#.to_owned(),
                INBOUND,
            ),
            (
                "remote write's histogram",
                "http_server_request_duration_seconds_count".to_owned(),
                DURATIONS,
            ),
            (
                "graphite",
                format!("{{__name__=\"netting.proof.requests\",{direction}}}"),
                INBOUND,
            ),
            (
                "graphite's histogram",
                "{__name__=\"http.server.request.duration.count\"}".to_owned(),
                DURATIONS,
            ),
            (
                "influxdb",
                format!("{{__name__=\"netting.proof.requests_counter\",way=\"\",{direction}}}"),
                INBOUND,
            ),
            (
                "influxdb's version 2",
                format!("{{__name__=\"netting.proof.requests_counter\",way=\"v2\",{direction}}}"),
                INBOUND,
            ),
            (
                "influxdb's histogram",
                "{__name__=\"http.server.request.duration_count\",way=\"\"}".to_owned(),
                DURATIONS,
            ),
        ] {
            until_eq(what, some(count), || promql(port, &query));
        }
    }

    fn influxdb_has_everything(&self) {
        for database in ["http", "udp"] {
            let last =
                |measurement, field, tag| self.influxdb.last(database, measurement, field, tag);
            let inbound = "\"netting.direction\" = 'inbound'";
            let status = "\"http.response.status_code\" = '200'";
            let pod = "\"k8s.pod.name\" = 'web-1'";
            until_eq(database, some(INBOUND), || {
                last("netting.proof.requests", "counter", inbound)
            });
            until_eq(database, some(DURATIONS), || {
                last("http.server.request.duration", "count", status)
            });
            until_eq(database, some(ACTIVE), || {
                last("http.server.active_requests", "gauge", pod)
            });
        }
    }

    fn carbon_has_everything(&self) {
        let pod = "k8s.namespace.name=shop;k8s.pod.name=web-1";
        let requests =
            format!("netting.proof.requests;{pod};netting.direction=inbound;service.name=web");
        until_eq("carbon", some(INBOUND), || self.carbon.last(&requests));
        let durations = format!(
            "http.server.request.duration.count;http.response.status_code=200;{pod};service.name=web"
        );
        until_eq("carbon", some(DURATIONS), || self.carbon.last(&durations));
    }

    fn statsd_has_everything(&self) {
        let requests =
            |direction: &str| format!("mesh.netting.proof.requests.netting_direction.{direction}");
        until_eq("statsd", f64::from(INBOUND), || {
            self.statsd.counted(&requests("inbound"))
        });
        until_eq("statsd", f64::from(OUTBOUND), || {
            self.statsd.counted(&requests("outbound"))
        });
        let durations = "mesh.http.server.request.duration.http_response_status_code.200";
        until_eq("statsd's timer", f64::from(DURATIONS), || {
            self.statsd.timed(durations).round()
        });
    }

    fn dogstatsd_has_everything(&self) {
        let requests = "netting.proof.requests|#";
        let named = |kind: &str, name: &str| {
            let received = self.dogstatsd.received();
            let of = received[kind].as_object()?.clone();
            let name = name.trim_end_matches('#');
            let (tags, value) = of.iter().find(|(key, _)| key.starts_with(name))?;
            assert!(
                tags.contains("env:test") && tags.contains("pod_name:web-1"),
                "{tags}"
            );
            value.as_f64()
        };
        let both = f64::from(INBOUND) + f64::from(OUTBOUND);
        until_eq("dogstatsd", both, || {
            let received = self.dogstatsd.received();
            let counters = received["counters"]
                .as_object()
                .cloned()
                .unwrap_or_default();
            let ours = counters
                .iter()
                .filter(|(key, _)| key.starts_with(requests.trim_end_matches('#')));
            ours.filter_map(|(_, value)| value.as_f64()).sum()
        });
        until_eq("dogstatsd's distribution", some(DURATIONS), || {
            named("distributions", "http.server.request.duration|")
        });
        until_eq("dogstatsd's gauge", some(ACTIVE), || {
            named("gauges", "http.server.active_requests|")
        });
    }

    fn otlp_has_everything(&self) {
        for by in ["grpc", "http"] {
            let metric = |name: &str, point: &str| {
                let received = self.otlp.received(by);
                received["metrics"][name]["points"][point].clone()
            };
            let requests =
                || metric("netting.proof.requests", "netting.direction=inbound").as_f64();
            until_eq(by, some(INBOUND), requests);
            let count = || {
                metric(
                    "http.server.request.duration",
                    "http.response.status_code=200",
                )["count"]
                    .as_f64()
            };
            until_eq(by, some(DURATIONS), count);
            let received = self.otlp.received(by);
            let duration = &received["metrics"]["http.server.request.duration"];
            let kind = if by == "grpc" {
                "histogram"
            } else {
                "exponential_histogram"
            };
            assert_eq!(
                (&duration["kind"], &duration["unit"]),
                (&kind.into(), &"s".into())
            );
            assert_eq!(duration["resource"]["service.name"], "web");
        }
    }
}

fn of_metrics(exporters: &Exporters) -> Vec<Running> {
    let mut running = exporters.report().running;
    running.retain(|exporter| exporter.signal == Signal::Metrics);
    running
}

pub(crate) async fn serve(metrics: &Metrics) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    let serving = axum::serve(listener, metrics.router());
    tokio::spawn(async move { serving.await.expect("it serves") });
    addr.to_string()
}

#[test]
fn every_backend_has_every_count_once() {
    let runtime = Runtime::new().expect("a runtime");
    let metrics = load::metrics();
    let target = runtime.block_on(serve(&metrics));
    let backends = Backends::start(&target);
    let telemetry = Telemetry::parse(&backends.list(), &Rehearsal);
    assert_eq!(telemetry.wrong, []);
    let exporters = runtime.block_on(async {
        Exporters::start(&telemetry, &metrics, "/nowhere".into(), &Drain::new())
    });
    assert_eq!(of_metrics(&exporters).len(), 13);

    load::make(&metrics);
    backends.have_everything();

    for exporter in of_metrics(&exporters) {
        let counted = |name| load::exporter_counted(&metrics, name, &exporter.name);
        assert_eq!(
            counted("netting.telemetry.dropped"),
            [],
            "{}",
            exporter.name
        );
        assert!(exporter.counts.items_sent() > 0, "{}", exporter.name);
    }
    runtime.block_on(exporters.flush(Duration::ZERO));
    // A last time, in which nothing came that was not there before.
    backends.statsd_has_everything();
    backends.dogstatsd_has_everything();
    let port = backends.prometheus.port;
    until_eq("an end in Prometheus", None, || {
        promql(port, "netting_proof_requests_total{job=\"web\"}")
    });
}

#[test]
fn what_is_sent_at_the_end_arrives() {
    let runtime = Runtime::new().expect("a runtime");
    let metrics = load::metrics();
    let (otlp, carbon, statsd) = (Otlp::start(), Carbon::start(), Statsd::start());
    let list = format!(
        "otlp=http://127.0.0.1:{};interval=1h, graphite=tcp://127.0.0.1:{};interval=1h, \
         statsd=udp://127.0.0.1:{};interval=1h",
        otlp.grpc, carbon.port, statsd.port
    );
    let drain = Drain::new();
    let telemetry = Telemetry::parse(&list, &Rehearsal);
    let exporters = runtime
        .block_on(async { Exporters::start(&telemetry, &metrics, "/nowhere".into(), &drain) });
    load::make(&metrics);
    drain.start();
    runtime.block_on(exporters.flush(Duration::from_secs(30)));
    until_eq("otlp", some(INBOUND), || {
        let received = otlp.received("grpc");
        let points = &received["metrics"]["netting.proof.requests"]["points"];
        points["netting.direction=inbound"].as_f64()
    });
    let requests = "netting.proof.requests.netting_direction.inbound";
    until_eq("statsd", f64::from(INBOUND), || statsd.counted(requests));
    let series = "netting.proof.requests;k8s.namespace.name=shop;k8s.pod.name=web-1;\
                  netting.direction=inbound;service.name=web";
    until_eq("carbon", some(INBOUND), || carbon.last(series));
}

#[test]
fn promtool_has_nothing_to_say_about_the_exposition() {
    let metrics = load::metrics();
    load::make(&metrics);
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed by `hack/test.sh telemetry`");
    let mut stdin = promtool.stdin.take().expect("it is piped");
    let text = scraped(&metrics.snapshot(), Format::Text);
    stdin.write_all(text.as_bytes()).expect("it reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}
