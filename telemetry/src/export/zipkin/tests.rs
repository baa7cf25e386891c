use serde_json::{Map, Value};

use super::*;
use crate::export::sample;

/// The schema `Span` of zipkin2-api.yaml: its fields, and what each of them has to be.
fn assert_is_span(value: &Value) {
    let span = value.as_object().expect("a span is an object");
    for required in ["traceId", "id"] {
        assert!(span.contains_key(required), "{required} is missing");
    }
    for (key, value) in span {
        let fits = match key.as_str() {
            "traceId" => is_hex(value, &[16, 32]),
            "parentId" | "id" => is_hex(value, &[16]),
            "kind" => ["CLIENT", "SERVER", "PRODUCER", "CONSUMER"].contains(&text(value)),
            "name" => text(value).chars().all(|c| !c.is_uppercase()),
            "timestamp" => value.as_i64().is_some(),
            "duration" => value.as_i64().is_some_and(|micros| micros >= 1),
            "debug" | "shared" => value.is_boolean(),
            "localEndpoint" | "remoteEndpoint" => is_endpoint(value.as_object()),
            "annotations" => value.is_array(),
            "tags" => value
                .as_object()
                .is_some_and(|tags| tags.values().all(Value::is_string)),
            _ => false,
        };
        assert!(fits, "{key}: {value}");
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn is_hex(value: &Value, lengths: &[usize]) -> bool {
    let text = text(value);
    let lower = |c| matches!(c, 'a'..='f' | '0'..='9');
    lengths.contains(&text.len()) && text.chars().all(lower)
}

fn is_endpoint(endpoint: Option<&Map<String, Value>>) -> bool {
    let field = |(key, value): (&String, &Value)| match key.as_str() {
        "serviceName" => value.is_string() && text(value) == text(value).to_lowercase(),
        "ipv4" => text(value).parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text(value).parse::<std::net::Ipv6Addr>().is_ok(),
        "port" => value.as_u64().is_some_and(|port| port <= 65535),
        _ => false,
    };
    endpoint.is_some_and(|endpoint| endpoint.iter().all(field))
}

fn zipkin() -> Zipkin {
    let pair = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    Zipkin::new(&[("k8s.pod.name", "web-1"), ("service.name", "Web")].map(pair))
}

fn decoded(spans: &[Span]) -> Vec<Value> {
    let encoded = zipkin().encode(spans);
    serde_json::from_slice(&encoded).expect("it is a list in JSON")
}

#[test]
fn what_would_break_json_does_not() {
    let mut span = sample::spans().remove(0);
    span.name = "a\"b\\c\n".into();
    let spans = decoded(&[span]);
    assert_is_span(&spans[0]);
    assert_eq!(spans[0]["name"], "a\"b\\c\n");
}

#[test]
fn spans_are_as_the_published_schema_has_them() {
    let spans = decoded(&sample::spans());
    assert_eq!(spans.len(), 3);
    for span in &spans {
        assert_is_span(span);
        assert_eq!(span["localEndpoint"]["serviceName"], "web");
        assert_eq!(span["tags"]["k8s.pod.name"], "web-1");
    }
    assert!(decoded(&[]).is_empty());
    let pretty = serde_json::to_string_pretty(&spans).expect("it was JSON");
    sample::assert_golden("zipkin.json", &format!("{pretty}\n"));
}

#[test]
fn a_failure_says_what_it_was() {
    let spans = decoded(&sample::spans());
    assert_eq!(spans[0]["tags"].get("error"), None);
    assert_eq!(spans[1]["tags"]["error"], "503");
    assert_eq!(spans[1]["tags"]["otel.status_code"], "ERROR");
}
