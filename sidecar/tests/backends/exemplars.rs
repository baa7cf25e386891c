//! From a slow bucket to its trace: the exemplars that Prometheus has, of what it scraped
//! and of what it was sent.

use std::net::TcpStream;

use crate::{
    NODE, application,
    backends::Prometheus,
    harness::{namespace::dst, sidecar::Sidecar},
    pods::{ENDPOINT, Pods},
    process::until,
    query,
    receivers::Zipkin,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
/// From long ago to long from now.
const EVER: [(&str, &str); 2] = [("start", "0"), ("end", "9999999999")];

#[test]
fn prometheus_has_the_trace_of_a_request_whether_it_asks_or_is_told() {
    let mut pods = Pods::new();
    application::serve(pods.server.listen(dst(ENDPOINT, 80)));
    let _zipkin = Zipkin::start(&pods.node, dst(NODE, 9411));
    let prometheus = pods.node.run(|| Prometheus::start("10.0.0.3:15020"));
    let telemetry = format!(
        "prometheus, zipkin=http://{NODE}:9411/api/v2/spans, \
         remote-write=http://{NODE}:{}/api/v1/write;interval=1s",
        prometheus.port
    );
    let variables = [
        ("NETTING_TELEMETRY", telemetry.as_str()),
        ("NETTING_POD_NAME", "orders-1"),
        ("NETTING_POD_NAMESPACE", "shop"),
        ("NETTING_WORKLOAD_NAME", "orders"),
    ];
    pods.sidecars
        .push(Sidecar::start_with(&pods.server, &variables));
    let stream = pods.client.run(|| TcpStream::connect(dst(ENDPOINT, 80)));
    let parent = format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n");
    let stream = stream.expect("the sidecar listens");
    application::ask(&stream, "/200", &parent).expect("it is answered");

    for job in ["scraped", "shop/orders"] {
        let series = format!("http_server_request_duration_seconds_bucket{{job=\"{job}\"}}");
        let labels = until(&format!("an exemplar of {job}"), || {
            let asked = [("query", series.as_str()), EVER[0], EVER[1]];
            let port = prometheus.port;
            let path = "/api/v1/query_exemplars";
            let answer = pods.node.run(|| query::json(port, path, &asked))?;
            let exemplar = answer.pointer("/data/0/exemplars/0/labels")?;
            Some(exemplar.clone())
        });
        assert_eq!(labels["trace_id"], TRACE, "{job}: {labels}");
        let span = labels["span_id"].as_str().map(str::len);
        assert_eq!(span, Some(16), "{job}: {labels}");
    }
}
