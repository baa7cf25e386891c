//! One trace through a client's application, two sidecars and a server's application,
//! as the receivers saw it.

use std::io::{Read as _, Write as _};

use serde_json::Value;

use crate::{
    NODE, application,
    backends::Otlp,
    harness::namespace::{Namespace, dst},
    pods::Pods,
    process::python,
    receivers::{Zipkin, received},
    zipkin::judged,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
/// The span of the client's application.
const CLIENT: &str = "00f067aa0ba902b7";
/// That of the server's.
const SERVER: &str = "b7ad6b7169203331";

const GRPC: &str = "prometheus,otlp=http://10.0.0.1:4317";
const HTTP: &str =
    "prometheus,otlp-http=http://10.0.0.1:4318,zipkin=http://10.0.0.1:9411/api/v2/spans";

/// Asks as the client's application would, and returns the answer's body.
fn ask(pods: &Pods, path: &str, fields: &str) -> String {
    let mut stream = pods.connect(80);
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: orders.shop\r\n{fields}Connection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .expect("the sidecar reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it is answered");
    let (_, body) = answer.split_once("\r\n\r\n").expect("it has a head");
    body.to_owned()
}

/// Sends what an application saw itself, from its pod to the receiver.
fn tells(pod: &Namespace, [id, parent, kind]: [&str; 3]) {
    let receiver = format!("http://{NODE}:4318");
    let sent = pod.run(|| {
        python("span.py")
            .args([&receiver, TRACE, id, parent, kind])
            .output()
    });
    let output = sent.expect("Python can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// From the last span back to the one that has no parent.
fn chain<'s>(spans: &[&'s Value], last: &str) -> Vec<&'s str> {
    let of = |id: &str| spans.iter().find(|span| text(span, "id") == id);
    let mut chain = Vec::new();
    let mut id = last;
    while let Some(span) = of(id) {
        chain.push(text(span, "id"));
        id = text(span, "parent");
    }
    assert_eq!(id, "", "a parent is missing: {spans:?}");
    chain
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

fn the_one_of<'v>(spans: &'v [Value], trace: &str) -> &'v Value {
    let of_trace: Vec<_> = spans.iter().filter(|span| span["trace"] == trace).collect();
    match of_trace[..] {
        [span] => span,
        _ => panic!("there are {of_trace:?}"),
    }
}

#[test]
fn every_receiver_sees_one_trace_and_whose_child_each_span_is() {
    let mut pods = Pods::new();
    application::serve(pods.server.listen(dst("10.0.0.3", 80)));
    let otlp = pods.node.run(|| Otlp::at(4317, 4318));
    let zipkin = Zipkin::start(&pods.node, dst(NODE, 9411));
    let common = [("NETTING_ACCESS_LOG", "all"), ("NETTING_TRACE_RATIO", "0")];
    let client = [
        &common[..],
        &[("NETTING_TELEMETRY", GRPC), ("NETTING_POD_NAME", "web-1")],
    ];
    let server = [
        &common[..],
        &[
            ("NETTING_TELEMETRY", HTTP),
            ("NETTING_POD_NAME", "orders-1"),
        ],
    ];
    pods.mesh_with([&client.concat(), &server.concat()]);

    assert_eq!(
        ask(&pods, "/200", ""),
        "",
        "nothing is forced on an application"
    );
    let parent = format!("traceparent: 00-{TRACE}-{CLIENT}-01\r\ntracestate: a=1\r\n");
    let told = ask(&pods, "/503?token=secret", &parent);

    let spans = received(&otlp, "grpc", "spans", 1);
    let outbound = the_one_of(&spans, TRACE);
    let spans = received(&otlp, "http", "spans", 1);
    let inbound = the_one_of(&spans, TRACE);
    assert_eq!(text(outbound, "parent"), CLIENT);
    assert_eq!(text(inbound, "parent"), text(outbound, "id"));
    assert_eq!(told, format!("00-{TRACE}-{}-01", text(inbound, "id")));
    // Its application continues what it was told, as the client's began it.
    let told_of = told.split('-').nth(2).expect("it is a traceparent");
    tells(&pods.client, [CLIENT, "", "CLIENT"]);
    tells(&pods.server, [SERVER, told_of, "SERVER"]);
    let by_http = received(&otlp, "http", "spans", 3);
    let all: Vec<_> = spans.iter().chain(&by_http).chain([outbound]).collect();
    assert_eq!(
        chain(&all, SERVER),
        [SERVER, text(inbound, "id"), text(outbound, "id"), CLIENT]
    );
    // OTLP's numbers for who asks and who is asked, and for an error.
    assert_eq!(
        (&outbound["kind"], &inbound["kind"]),
        (&3.into(), &2.into())
    );
    for (span, pod) in [(outbound, "web-1"), (inbound, "orders-1")] {
        assert_eq!((text(span, "name"), text(span, "state")), ("GET", "a=1"));
        assert_eq!(span["status"], 2, "{span}");
        assert_eq!(span["attributes"]["http.response.status_code"], 503);
        assert_eq!(span["attributes"]["url.path"], "/503");
        assert_eq!(span["attributes"]["server.address"], "orders.shop");
        assert_eq!(span["resource"]["k8s.pod.name"], pod);
        assert!(span["end"].as_u64() > span["start"].as_u64(), "{span}");
    }
    // When a proxy notices that it has passed an answer on says nothing of when the other
    // one notices: the ends are in no order.
    let at = |span: &Value, key: &str| span[key].as_u64().expect("it is a number");
    let begun = [at(outbound, "start"), at(inbound, "start")];
    assert!(
        begun[0] <= begun[1] && begun[1] <= at(outbound, "end"),
        "the server is asked meanwhile: {outbound} {inbound}"
    );

    let spans = zipkin.received(1);
    assert_eq!(spans.len(), 1, "{spans:?}");
    assert_eq!(judged(&spans.clone().into()), Ok(()));
    assert_eq!(text(&spans[0], "traceId"), TRACE);
    assert_eq!(text(&spans[0], "id"), text(inbound, "id"));
    assert_eq!(text(&spans[0], "parentId"), text(outbound, "id"));
    assert_eq!(text(&spans[0], "kind"), "SERVER");

    for (by, span) in [("grpc", outbound), ("http", inbound)] {
        let lines = received(&otlp, by, "logs", 2);
        assert_eq!(lines.len(), 2, "one for each request");
        let line = the_one_of(&lines, TRACE);
        assert_eq!(text(line, "span"), text(span, "id"));
        assert_eq!(line["attributes"]["http.response.status_code"], 503);
        // ERROR
        assert_eq!(line["severity"], 17, "{line}");
        assert!(!lines.iter().any(|line| line.to_string().contains("secret")));
    }
}
