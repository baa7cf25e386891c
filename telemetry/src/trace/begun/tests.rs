use super::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";
const PARENT: &str = "05e3ac9a4f6e3b90";

fn keeping(ratio: &str) -> Sampler {
    Sampler::ratio(ratio.parse().expect("it is a ratio"))
}

fn begin(ratio: &str, fields: &[(&str, &str)]) -> Option<Begun> {
    begin_as(None, ratio, fields)
}

fn begin_as(
    propagators: Option<Propagators>,
    ratio: &str,
    fields: &[(&str, &str)],
) -> Option<Begun> {
    let fields = fields
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    Begun::new(&Received::of(fields), keeping(ratio), propagators)
}

/// Begins a span and returns what the request goes on with; `S` stands for the new span.
fn rewritten(fields: &[(&str, &str)]) -> Vec<String> {
    told(&begin("0", fields).expect("it is sampled"))
}

fn told(begun: &Begun) -> Vec<String> {
    let span = begun.span.to_string();
    let fields = begun.fields().map(|(field, text)| {
        let text = String::from_utf8_lossy(text.bytes()).replace(&span, "S");
        format!("{}: {text}", field.name())
    });
    fields.collect()
}

#[test]
fn what_a_parent_has_decided_is_kept_to() {
    let w3c = |flags: &str| format!("00-{TRACE}-{SPAN}-{flags}");
    let b3 = |state: &str| format!("{TRACE}-{SPAN}{state}");
    for (name, value) in [
        ("traceparent", w3c("00")),
        ("traceparent", w3c("02")),
        ("b3", b3("-0")),
        ("b3", "0".to_owned()),
        ("x-b3-sampled", "0".to_owned()),
    ] {
        assert!(begin("1", &[(name, &value)]).is_none(), "{name}: {value}");
    }
    for (name, value) in [
        ("traceparent", w3c("01")),
        ("b3", b3("-1")),
        ("b3", b3("-d")),
        ("b3", "1".to_owned()),
        ("x-b3-flags", "1".to_owned()),
    ] {
        assert!(begin("0", &[(name, &value)]).is_some(), "{name}: {value}");
    }
}

#[test]
fn what_nobody_has_decided_goes_by_the_ratio() {
    let deferred = format!("{TRACE}-{SPAN}");
    for fields in [
        &[][..],
        &[("b3", deferred.as_str())],
        &[("traceparent", "malformed")],
    ] {
        assert!(begin("0", fields).is_none(), "{fields:?}");
        assert!(begin("1", fields).is_some(), "{fields:?}");
    }
}

#[test]
fn a_trace_is_continued_in_the_format_it_came_in() {
    let w3c = format!("00-{TRACE}-{SPAN}-01");
    let b3 = format!("{TRACE}-{SPAN}-1");
    assert_eq!(
        rewritten(&[("traceparent", &w3c)]),
        [format!("traceparent: 00-{TRACE}-S-01")]
    );
    assert_eq!(rewritten(&[("b3", &b3)]), [format!("b3: {TRACE}-S-1")]);
    assert_eq!(
        rewritten(&[("b3", &format!("{TRACE}-{SPAN}-d-{PARENT}"))]),
        [format!("b3: {TRACE}-S-d-{SPAN}")]
    );
    assert_eq!(
        rewritten(&[("b3", &format!("{}-{SPAN}-1", &TRACE[16..]))]),
        [format!("b3: {}-S-1", &TRACE[16..])]
    );
    assert_eq!(
        rewritten(&[
            ("X-B3-TraceId", TRACE),
            ("X-B3-SpanId", SPAN),
            ("X-B3-ParentSpanId", PARENT),
            ("X-B3-Sampled", "true"),
        ]),
        [
            format!("x-b3-traceid: {TRACE}"),
            "x-b3-spanid: S".to_owned(),
            format!("x-b3-parentspanid: {SPAN}"),
            "x-b3-sampled: 1".to_owned(),
        ]
    );
    assert_eq!(
        rewritten(&[
            ("x-b3-traceid", TRACE),
            ("x-b3-spanid", SPAN),
            ("x-b3-flags", "1")
        ]),
        [
            format!("x-b3-traceid: {TRACE}"),
            "x-b3-spanid: S".to_owned()
        ]
    );
    assert_eq!(rewritten(&[("traceparent", &w3c), ("b3", &b3)]).len(), 2);
}

#[test]
fn flags_and_versions_are_written_as_far_as_they_are_known() {
    let parent = |version: &str, flags: &str| format!("{version}-{TRACE}-{SPAN}-{flags}");
    assert_eq!(
        rewritten(&[("traceparent", &parent("00", "ff"))]),
        [format!("traceparent: 00-{TRACE}-S-03")]
    );
    assert_eq!(
        rewritten(&[("traceparent", &parent("cc", "01-new"))]),
        [format!("traceparent: 00-{TRACE}-S-01")]
    );
}

#[test]
fn a_trace_that_begins_here_is_w3c() {
    let begun = begin("1", &[]).expect("all are kept");
    assert_eq!((begun.parent, begun.void()), (None, None));
    let fields: Vec<_> = begun.fields().collect();
    let [(Field::TraceParent, text)] = &fields[..] else {
        panic!("{fields:?}");
    };
    let parent = TraceParent::parse(text.bytes()).expect("it is one");
    assert_eq!(
        (parent.trace, parent.span, parent.flags()),
        (begun.trace, begun.span, 1)
    );
}

#[test]
fn a_decision_without_a_trace_begins_one_in_its_own_format() {
    let fields = rewritten(&[("b3", "1")]);
    assert!(fields.len() == 1 && fields[0].starts_with("b3: ") && fields[0].ends_with("-S-1"));
    let names: Vec<_> = rewritten(&[("x-b3-sampled", "1")]);
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn a_state_goes_on_with_its_trace_and_only_with_that() {
    let w3c = format!("00-{TRACE}-{SPAN}-01");
    let known = begin("1", &[("traceparent", &w3c), ("tracestate", "a=1")]).expect("kept");
    assert_eq!((known.state.as_deref(), known.void()), (Some("a=1"), None));
    let restarted = begin("1", &[("traceparent", "00-0-0-0"), ("tracestate", "a=1")]);
    let restarted = restarted.expect("kept");
    assert_eq!(
        (restarted.state.as_deref(), restarted.void()),
        (None, Some(Field::TraceState))
    );
    let b3 = format!("{TRACE}-{SPAN}-1");
    let other = begin("1", &[("b3", &b3), ("tracestate", "a=1")]).expect("kept");
    assert_eq!((other.state.as_deref(), other.void()), (None, None));
}

#[test]
fn what_is_said_to_be_spoken_is_read_and_all_of_it_written() {
    let w3c = format!("00-{TRACE}-{SPAN}-01");
    let b3 = format!("{TRACE}-{SPAN}-d");
    let multi = [("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)];
    let begun = |list: &str, fields: &[(&str, &str)]| {
        let (propagators, _) = Propagators::parse(list);
        begin_as(propagators, "1", fields).expect("all are kept")
    };
    let all = begun("tracecontext,b3,b3multi", &[("traceparent", &w3c)]);
    let expected = [
        format!("traceparent: 00-{TRACE}-S-01"),
        format!("b3: {TRACE}-S-1"),
        format!("x-b3-traceid: {TRACE}"),
        "x-b3-spanid: S".to_owned(),
        "x-b3-sampled: 1".to_owned(),
    ];
    assert_eq!(told(&all), expected);
    // Either encoding of B3 is read, and its debug flag goes on.
    let debug = begun("b3multi", &[("b3", &b3)]);
    let expected = [
        format!("x-b3-traceid: {TRACE}"),
        "x-b3-spanid: S".to_owned(),
    ];
    assert_eq!(told(&debug), expected);
    assert_eq!(told(&begun("b3", &multi)), [format!("b3: {TRACE}-S-1")]);
    // What is not read is another's trace, and goes on as it came.
    let other = begun("b3", &[("traceparent", &w3c), ("tracestate", "a=1")]);
    assert_eq!(
        (other.parent, other.state.as_deref(), other.void()),
        (None, None, None)
    );
    assert_ne!(other.trace.to_string(), TRACE);
    let fields = told(&other);
    assert!(
        fields.len() == 1 && fields[0].starts_with("b3: "),
        "{fields:?}"
    );
    let none = begun("none", &[("traceparent", &w3c), ("b3", &b3)]);
    assert_eq!((told(&none), none.parent), (vec![], None));
}

#[test]
fn each_try_is_told_beside_the_others() {
    let w3c = format!("00-{TRACE}-{SPAN}-01");
    let b3 = format!("{TRACE}-{SPAN}-1");
    let fields = [
        ("traceparent", w3c.as_str()),
        ("b3", &b3),
        ("tracestate", "a=1"),
    ];
    let first = begin("0", &fields).expect("it is sampled");
    let second = first.again();
    assert_ne!(first.span, second.span);
    assert!(second.at >= first.at && second.took() <= first.took());
    assert_eq!(
        (first.trace, first.parent, &first.state),
        (second.trace, second.parent, &second.state)
    );
    let told = |begun: &Begun| -> Vec<_> {
        let fields = begun.fields().map(|(field, text)| {
            let text = String::from_utf8_lossy(text.bytes()).into_owned();
            (field, text.replace(&begun.span.to_string(), "S"))
        });
        fields.collect()
    };
    assert_eq!(told(&first), told(&second), "in the same formats");
}
