use super::*;

const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
const SPAN: &str = "e457b5a2e4d86bd1";
const PARENT: &str = "05e3ac9a4f6e3b90";

fn single(text: &str) -> Option<B3> {
    B3::parse(text.as_bytes())
}

#[test]
fn refuses_what_is_no_single_field() {
    for text in [
        "",
        "-",
        "2",
        "D",
        "true",
        "10",
        TRACE,
        &format!("{TRACE}-"),
        &format!("-{SPAN}"),
        &format!("{TRACE}-{SPAN}-"),
        &format!("{TRACE}-{SPAN}-2"),
        &format!("{TRACE}-{SPAN}-true"),
        &format!("{TRACE}-{SPAN}-1-"),
        &format!("{TRACE}-{SPAN}-1-{PARENT}-"),
        &format!("{TRACE}-{SPAN}-1-{PARENT}-1"),
        &format!("{TRACE}-{SPAN}-{PARENT}"),
        &format!("{TRACE}-{SPAN}-1-0000000000000000"),
        &format!("{TRACE}-{SPAN}-1-{}", &PARENT[1..]),
        &format!("{TRACE}-0000000000000000-1"),
        &format!("00000000000000000000000000000000-{SPAN}-1"),
        &format!("0000000000000000-{SPAN}-1"),
        &format!("{}-{SPAN}-1", &TRACE[1..]),
        &format!("{}-{SPAN}-1", TRACE.to_uppercase()),
        &format!("{TRACE}-{}-1", &SPAN[1..]),
        &format!("{TRACE}_{SPAN}_1"),
        &format!("{TRACE}-{SPAN}-1,{TRACE}-{SPAN}-1"),
    ] {
        assert_eq!(single(text), None, "{text}");
    }
}

#[test]
fn a_single_field_may_leave_out_its_end_or_its_beginning() {
    let at = |text: &str| single(text).expect("it is one").at.expect("it has ids");
    let all = at(&format!("{TRACE}-{SPAN}-1-{PARENT}"));
    assert_eq!(
        (all.trace.to_string(), all.span.to_string()),
        (TRACE.into(), SPAN.into())
    );
    assert!(all.has_parent && !all.narrow);
    assert!(at(&format!("{}-{SPAN}", &TRACE[16..])).narrow);
    for (state, sampled, debug) in [
        ("", None, false),
        ("-0", Some(false), false),
        ("-1", Some(true), false),
        ("-d", Some(true), true),
    ] {
        let b3 = single(&format!(" {TRACE}-{SPAN}{state} ")).expect("it is one");
        assert_eq!((b3.sampled, b3.debug), (sampled, debug), "{state}");
    }
    for (state, sampled) in [("0", false), ("1", true), ("d", true)] {
        let b3 = single(state).expect("it is one");
        assert_eq!((b3.at, b3.sampled), (None, Some(sampled)));
    }
}

fn multi<'h>(fields: &[(&str, &'h str)]) -> Multi<'h> {
    let mut multi = Multi::default();
    for (name, value) in fields {
        let value = Some(value.as_bytes());
        match *name {
            "traceid" => multi.trace = value,
            "spanid" => multi.span = value,
            "parentspanid" => multi.parent = value,
            "sampled" => multi.sampled = value,
            _ => multi.flags = value,
        }
    }
    multi
}

#[test]
fn refuses_fields_that_do_not_make_a_context() {
    let tables: [&[(&str, &str)]; 16] = [
        &[],
        &[("traceid", TRACE)],
        &[("spanid", SPAN)],
        &[("parentspanid", PARENT)],
        &[("parentspanid", PARENT), ("sampled", "1")],
        &[("traceid", TRACE), ("sampled", "1")],
        &[("traceid", TRACE), ("spanid", "")],
        &[("traceid", ""), ("spanid", SPAN)],
        &[("traceid", TRACE), ("spanid", TRACE)],
        &[("traceid", TRACE), ("spanid", SPAN), ("sampled", "")],
        &[("traceid", TRACE), ("spanid", SPAN), ("sampled", "yes")],
        &[("traceid", TRACE), ("spanid", SPAN), ("sampled", "d")],
        &[("traceid", TRACE), ("spanid", SPAN), ("flags", "2")],
        &[("traceid", TRACE), ("spanid", SPAN), ("parentspanid", "0")],
        &[("traceid", TRACE), ("spanid", "0000000000000000")],
        &[("flags", "0")],
    ];
    for fields in tables {
        assert_eq!(multi(fields).parse(), None, "{fields:?}");
    }
}

#[test]
fn several_fields_say_what_a_single_one_does() {
    let ids = [
        ("traceid", TRACE),
        ("spanid", SPAN),
        ("parentspanid", PARENT),
    ];
    let with = |more: &[(&str, &'static str)]| multi(&[&ids, more].concat()).parse();
    assert_eq!(with(&[]).expect("it is one").sampled, None);
    for (more, text) in [
        (
            &[("sampled", "1")][..],
            format!("{TRACE}-{SPAN}-1-{PARENT}"),
        ),
        (&[("sampled", "true")], format!("{TRACE}-{SPAN}-1-{PARENT}")),
        (&[("sampled", "0")], format!("{TRACE}-{SPAN}-0-{PARENT}")),
        (
            &[("sampled", "false")],
            format!("{TRACE}-{SPAN}-0-{PARENT}"),
        ),
        (&[("flags", "1")], format!("{TRACE}-{SPAN}-d-{PARENT}")),
        (
            &[("flags", "1"), ("sampled", "0")],
            format!("{TRACE}-{SPAN}-d-{PARENT}"),
        ),
        (
            &[("flags", "0"), ("sampled", "1")],
            format!("{TRACE}-{SPAN}-1-{PARENT}"),
        ),
    ] {
        assert_eq!(with(more), single(&text), "{more:?}");
    }
    assert_eq!(multi(&[("sampled", "0")]).parse(), single("0"));
    assert_eq!(multi(&[("flags", "1")]).parse(), single("d"));
}
