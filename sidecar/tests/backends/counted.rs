//! All exporters of two sidecars at once, with requests through both: each backend has as
//! many as were made.

use std::collections::HashSet;

use serde_json::Value;

use crate::{
    NODE, application,
    backends::{Carbon, Dogstatsd, Influxdb, Otlp, Prometheus, Statsd, Victoria},
    harness::namespace::dst,
    pods::Pods,
    process::until_eq,
    query::promql,
    receivers::{Zipkin, received},
};

const REQUESTS: u32 = 600;
const CONNECTIONS: u32 = 3;

/// What the client's sidecar counts, and what the server's.
const SIDES: [Side; 2] = [
    Side {
        name: "client",
        workload: "web",
        tags: "server.address=orders.shop;server.port=80;service.name=web;\
               service.peer.name=orders;service.peer.namespace=shop",
    },
    Side {
        name: "server",
        workload: "orders",
        tags: "service.name=orders;url.scheme=http",
    },
];

struct Side {
    name: &'static str,
    workload: &'static str,
    /// The last ones of its series, which are not the other side's.
    tags: &'static str,
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
    /// Within the node.
    fn start() -> Self {
        Self {
            prometheus: Prometheus::start("10.0.0.2:15020\", \"10.0.0.3:15020"),
            victoria: Victoria::start(),
            influxdb: Influxdb::start(),
            carbon: Carbon::start(),
            statsd: Statsd::start(),
            dogstatsd: Dogstatsd::start(),
            otlp: Otlp::start(),
        }
    }

    fn list(&self) -> String {
        let Self {
            prometheus,
            victoria,
            influxdb,
            carbon,
            statsd,
            otlp,
            ..
        } = self;
        let sending = [
            format!("otlp=http://{NODE}:{}", otlp.grpc),
            format!("otlp-http=http://{NODE}:{}", otlp.http),
            format!(
                "remote-write=http://{NODE}:{}/api/v1/write",
                prometheus.port
            ),
            format!("remote-write=http://{NODE}:{}/api/v1/write", victoria.port),
            format!("graphite=tcp://{NODE}:{}", carbon.port),
            format!("graphite=tcp://{NODE}:{}", victoria.graphite),
            format!("influxdb=http://{NODE}:{}/write?db=http", influxdb.port),
            format!("influxdb=udp://{NODE}:{}", influxdb.udp),
            format!("influxdb=http://{NODE}:{}/write?db=any", victoria.port),
            format!("statsd=udp://{NODE}:{};prefix=mesh", statsd.port),
            format!("dogstatsd=unix://{}", self.dogstatsd.socket()),
        ]
        // What a backend on a busy machine answers late is sent twice, by its protocol.
        .map(|exporter| format!("{exporter};interval=1s;timeout=60s"));
        format!(
            "prometheus, zipkin=http://{NODE}:9411/api/v2/spans;timeout=60s, {}",
            sending.join(", ")
        )
    }

    fn have_all_of(&self, side: &Side) {
        let Side { name, workload, .. } = side;
        let all = Some(f64::from(REQUESTS));
        let of_prometheus =
            |of: &str| format!("sum(http_{name}_request_duration_seconds_count{{{of}}})");
        let prometheus = |query: String| {
            until_eq(&query, all, || promql(self.prometheus.port, &query));
        };
        prometheus(of_prometheus("job=\"scraped\""));
        prometheus(of_prometheus(&format!("job=\"shop/{workload}\"")));
        let duration = format!("http.{name}.request.duration");
        for query in [
            of_prometheus(""),
            format!("sum({{__name__=\"{duration}.count\"}})"),
            format!("sum({{__name__=\"{duration}_count\"}})"),
        ] {
            until_eq(&query, all, || promql(self.victoria.port, &query));
        }
        for database in ["http", "udp"] {
            let of = format!("\"k8s.pod.name\" = '{workload}-1'");
            until_eq(database, all, || {
                self.influxdb.last(database, &duration, "count", &of)
            });
        }
        let series = format!(
            "{duration}.count;http.request.method=GET;http.response.status_code=200;\
             k8s.namespace.name=shop;k8s.pod.name={workload}-1;network.protocol.version=1.1;{}",
            side.tags
        );
        until_eq("carbon", all, || self.carbon.last(&series));
        let timer = format!("mesh.{duration}.");
        until_eq("statsd", f64::from(REQUESTS), || {
            self.statsd.timed(&timer).round()
        });
        until_eq("dogstatsd", f64::from(REQUESTS), || {
            let received = self.dogstatsd.received();
            let those = received["distributions"].as_object().cloned();
            let those = those.unwrap_or_default();
            let named = |(key, _): &(&String, &Value)| key.starts_with(&format!("{duration}|"));
            let values = those.iter().filter(named);
            values.filter_map(|(_, value)| value.as_f64()).sum()
        });
        for by in ["grpc", "http"] {
            until_eq(by, f64::from(REQUESTS), || {
                let received = self.otlp.received(by);
                let points = received["metrics"][&duration]["points"]
                    .as_object()
                    .cloned();
                let points = points.unwrap_or_default();
                points
                    .values()
                    .filter_map(|point| point["count"].as_f64())
                    .sum()
            });
        }
    }
}

/// Each request once for each side: as many spans, of as many ids and half as many traces.
fn assert_each_once(spans: &[Value], [trace, id]: [&str; 2]) {
    let requests = REQUESTS as usize;
    let different = |key: &str| {
        let ids: HashSet<_> = spans.iter().map(|span| span[key].as_str()).collect();
        ids.len()
    };
    assert_eq!(
        (spans.len(), different(id), different(trace)),
        (2 * requests, 2 * requests, requests)
    );
}

#[test]
fn every_backend_has_every_request_that_went_through_two_sidecars() {
    let mut pods = Pods::new();
    application::serve(pods.server.listen(dst("10.0.0.3", 80)));
    let backends = pods.node.run(Backends::start);
    let zipkin = Zipkin::start(&pods.node, dst(NODE, 9411));
    let list = backends.list();
    let common = [
        ("NETTING_TELEMETRY", list.as_str()),
        ("NETTING_POD_NAMESPACE", "shop"),
        ("NETTING_ACCESS_LOG", "all"),
        ("NETTING_ACCESS_LOG_TO", "none"),
        ("NETTING_TRACE_RATIO", "1"),
    ];
    let client = [
        ("NETTING_POD_NAME", "web-1"),
        ("NETTING_WORKLOAD_NAME", "web"),
    ];
    let server = [
        ("NETTING_POD_NAME", "orders-1"),
        ("NETTING_WORKLOAD_NAME", "orders"),
    ];
    pods.mesh_with([
        &[&common[..], &client].concat(),
        &[&common[..], &server].concat(),
    ]);

    for _ in 0..CONNECTIONS {
        let stream = pods.connect(80);
        for _ in 0..REQUESTS / CONNECTIONS {
            let status = application::ask(&stream, "/200", "").expect("it is answered");
            assert_eq!(status, "HTTP/1.1 200 -");
        }
    }

    pods.node.run(|| {
        for side in &SIDES {
            backends.have_all_of(side);
        }
    });
    let both = 2 * REQUESTS as usize;
    for by in ["grpc", "http"] {
        assert_each_once(
            &received(&backends.otlp, by, "spans", both),
            ["trace", "id"],
        );
        assert_each_once(
            &received(&backends.otlp, by, "logs", both),
            ["trace", "span"],
        );
    }
    assert_each_once(&zipkin.received(both), ["traceId", "id"]);
}
