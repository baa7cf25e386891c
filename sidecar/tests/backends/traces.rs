//! One trace through a client's application, two sidecars and a server's application,
//! as the receivers saw it.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

use serde_json::Value;

use crate::{
    harness::namespace::dst,
    pods::Pods,
    receivers::{Otlp, Zipkin},
};

const NODE: &str = "10.0.0.1";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
/// The span of the client's application.
const CLIENT: &str = "00f067aa0ba902b7";

const GRPC: &str = "prometheus,otlp=http://10.0.0.1:4317";
const HTTP: &str =
    "prometheus,otlp-http=http://10.0.0.1:4318,zipkin=http://10.0.0.1:9411/api/v2/spans";

/// The server's application: answers each request with the `traceparent` that it got, and
/// with the status that the path names.
fn serve(listener: TcpListener) {
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            thread::spawn(move || answer(&stream));
        }
    });
}

fn answer(mut stream: &TcpStream) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while let Some(Ok(first)) = lines.next() {
        let status = first
            .split(['/', ' ', '?'])
            .nth(2)
            .unwrap_or_default()
            .to_owned();
        let mut parent = String::new();
        for line in lines.by_ref() {
            let line = line?;
            if let Some(value) = line.strip_prefix("traceparent: ") {
                value.clone_into(&mut parent);
            }
            if line.is_empty() {
                break;
            }
        }
        let length = parent.len();
        write!(
            stream,
            "HTTP/1.1 {status} -\r\nContent-Length: {length}\r\n\r\n{parent}"
        )?;
    }
    Ok(())
}

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
    serve(pods.server.listen(dst("10.0.0.3", 80)));
    let otlp = Otlp::start(&pods.node, NODE);
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

    let spans = otlp.received("grpc", "spans", 1);
    let outbound = the_one_of(&spans, TRACE);
    let spans = otlp.received("http", "spans", 1);
    let inbound = the_one_of(&spans, TRACE);
    assert_eq!(text(outbound, "parent"), CLIENT);
    assert_eq!(text(inbound, "parent"), text(outbound, "id"));
    assert_eq!(told, format!("00-{TRACE}-{}-01", text(inbound, "id")));
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
    let times = |key: &str| (outbound[key].as_u64(), inbound[key].as_u64());
    let (begin, end) = (times("start"), times("end"));
    assert!(
        begin.0 <= begin.1 && end.0 >= end.1,
        "the client's is around the server's"
    );

    let spans = zipkin.received(1);
    assert_eq!(spans.len(), 1, "{spans:?}");
    assert_eq!(text(&spans[0], "traceId"), TRACE);
    assert_eq!(text(&spans[0], "id"), text(inbound, "id"));
    assert_eq!(text(&spans[0], "parentId"), text(outbound, "id"));
    assert_eq!(text(&spans[0], "kind"), "SERVER");

    for (by, span) in [("grpc", outbound), ("http", inbound)] {
        let lines = otlp.received(by, "logs", 2);
        assert_eq!(lines.len(), 2, "one for each request");
        let line = the_one_of(&lines, TRACE);
        assert_eq!(text(line, "span"), text(span, "id"));
        assert_eq!(line["attributes"]["http.response.status_code"], 503);
        // ERROR
        assert_eq!(line["severity"], 17, "{line}");
        assert!(!lines.iter().any(|line| line.to_string().contains("secret")));
    }
}
