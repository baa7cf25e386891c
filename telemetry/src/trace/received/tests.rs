use super::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";
const W3C: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const SINGLE: &str = "4bf92f3577b34da6a3ce929d0e0e4736-e457b5a2e4d86bd1-1";

fn context(fields: &[(&str, &str)]) -> Context {
    received(fields).context()
}

fn received<'h>(fields: &[(&'h str, &'h str)]) -> Received<'h> {
    let bytes = |(name, value): &(&'h str, &'h str)| (name.as_bytes(), value.as_bytes());
    Received::of(fields.iter().map(bytes))
}

#[test]
fn what_is_there_twice_is_ignored() {
    for fields in [
        &[("traceparent", W3C), ("traceparent", W3C)][..],
        &[("Traceparent", W3C), ("traceparent", "")],
        &[("b3", SINGLE), ("b3", SINGLE)],
        &[
            ("x-b3-traceid", TRACE),
            ("x-b3-spanid", SPAN),
            ("X-B3-SpanId", SPAN),
        ],
        &[("x-b3-sampled", "1"), ("x-b3-sampled", "1")],
    ] {
        assert_eq!(context(fields), Context::default(), "{fields:?}");
    }
}

#[test]
fn what_is_malformed_leaves_room_for_what_is_not() {
    let context = context(&[
        ("traceparent", "00-0-0-01"),
        ("b3", SINGLE),
        ("x-b3-flags", "9"),
    ]);
    assert_eq!(context.sampled, Some(true));
    let formats = context.formats;
    assert!(formats.w3c.is_none() && formats.single.is_some() && formats.multi.is_none());
}

#[test]
fn nothing_is_said_by_nothing() {
    assert_eq!(context(&[]), Context::default());
    assert_eq!(
        context(&[("tracestate", "a=1"), ("x-request-id", "1")]),
        Context::default()
    );
}

#[test]
fn several_formats_are_continued_if_they_agree_on_the_trace() {
    let all = context(&[
        ("traceparent", W3C),
        ("b3", SINGLE),
        ("x-b3-traceid", TRACE),
        ("x-b3-spanid", SPAN),
    ]);
    let (_, span) = all.at.expect("it has ids");
    assert_eq!(span.to_string(), SPAN);
    let formats = all.formats;
    assert!(formats.w3c.is_some() && formats.single.is_some() && formats.multi.is_some());
    for other in [
        "e457b5a2e4d86bd1e457b5a2e4d86bd1-e457b5a2e4d86bd1-1",
        "4bf92f3577b34da6a3ce929d0e0e4736-e457b5a2e4d86bd1-0",
        "1",
    ] {
        let both = context(&[("traceparent", W3C), ("b3", other)]);
        assert!(
            both.formats.w3c.is_some() && both.formats.single.is_none(),
            "{other}"
        );
    }
}

#[test]
fn a_decision_may_come_without_a_trace() {
    for (name, value, sampled) in [
        ("b3", "0", false),
        ("b3", "1", true),
        ("X-B3-Sampled", "0", false),
        ("x-b3-flags", "1", true),
    ] {
        let context = context(&[(name, value)]);
        assert_eq!(
            (context.at, context.sampled),
            (None, Some(sampled)),
            "{name}"
        );
    }
}

#[test]
fn tracestates_are_put_together_up_to_a_bound() {
    let state = |count: usize| {
        let values = ["a=1", "b=2", "c=3", "d=4", "e=5"];
        let fields: Vec<_> = values
            .iter()
            .take(count)
            .map(|value| ("tracestate", *value))
            .collect();
        received(&fields).trace_state()
    };
    assert_eq!(state(0), None);
    assert_eq!(state(4).as_deref(), Some("a=1,b=2,c=3,d=4"));
    assert_eq!(state(5), None);
}
