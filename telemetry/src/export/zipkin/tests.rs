use serde_json::Value;

use super::*;
use crate::export::sample;

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
    assert_eq!(spans[0]["name"], "a\"b\\c\n");
}

#[test]
fn spans_have_their_resource_with_them() {
    let spans = decoded(&sample::spans());
    assert_eq!(spans.len(), 3);
    for span in &spans {
        assert_eq!(span["localEndpoint"]["serviceName"], "web");
        assert_eq!(span["tags"]["k8s.pod.name"], "web-1");
    }
    assert!(decoded(&[]).is_empty());
    // Which the schema that Zipkin publishes is asked about, in tests/backends.
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
