use super::*;

const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn parse(text: &str) -> Option<TraceParent> {
    TraceParent::parse(text.as_bytes())
}

#[test]
fn refuses_what_is_no_traceparent() {
    for text in [
        "",
        "00",
        "not a traceparent, but as long as one: 0123456789abcdef",
        // A version that is forbidden, and ones that are none.
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ".0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "FE-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        // Ids of zeros, of the wrong length, in capitals, with what is no digit.
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e47366-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b77-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00F067AA0BA902B7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473.-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-.0f067aa0ba902b7-01",
        // Flags that are none, or missing.
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-.0",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0.",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0A",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        // More than version 00 has, and more that is not apart in a later one.
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what",
        "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what",
        "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-011",
        // Other characters where the dashes are, two values in one field, and bytes
        // beyond ASCII.
        "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01,00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-\u{e9}",
    ] {
        assert_eq!(parse(text), None, "{text}");
    }
}

#[test]
fn a_traceparent_is_written_as_it_was_read() {
    let parsed = parse(GOOD).expect("it is one");
    assert!(parsed.sampled && !parsed.random);
    assert_eq!(parsed.to_string(), GOOD);
    assert_eq!(parse(&format!(" \t{GOOD} ")), Some(parsed));
}

#[test]
fn flags_that_nobody_knows_are_not_passed_on() {
    let with = |flags: &str| parse(&format!("{}{flags}", &GOOD[..53]));
    for (flags, written) in [
        ("00", 0),
        ("01", 1),
        ("03", 3),
        ("ff", 3),
        ("fe", 2),
        ("08", 0),
    ] {
        assert_eq!(with(flags).expect("it is one").flags(), written, "{flags}");
    }
}

#[test]
fn of_later_versions_what_is_known_is_taken() {
    let expected = parse(GOOD);
    for later in ["01", "cc", "fe"] {
        for rest in ["", "-", "-what-the-future-will-be-like"] {
            let text = format!("{later}{}{rest}", &GOOD[2..]);
            assert_eq!(parse(&text), expected, "{text}");
        }
    }
}

fn state(values: &[&str]) -> Option<String> {
    trace_state(values.iter().map(|value| value.as_bytes()))
}

#[test]
fn refuses_what_is_no_tracestate() {
    let many = (0..33)
        .map(|n| format!("k{n}=1"))
        .collect::<Vec<_>>()
        .join(",");
    let long_value = format!("a={}", "x".repeat(257));
    let long_key = format!("{}=1", "k".repeat(257));
    let long = format!(
        "a={},b={},c={}",
        "x".repeat(200),
        "x".repeat(200),
        "x".repeat(200)
    );
    for text in [
        "",
        ",",
        " , ",
        "a",
        "=",
        "a=",
        "=1",
        "A=1",
        "1=1",
        "a b=1",
        "a=1,a=2",
        "a=b=c",
        "a=\u{7f}",
        "a=\t1",
        "a@=1",
        "@a=1",
        "a@b@c=1",
        "a@1=1",
        "a@abcdefghijklmno=1",
        "\u{e9}=1",
        "a=\u{e9}",
        "a;b=1",
        &many,
        &long_value,
        &long_key,
        &long,
    ] {
        assert_eq!(state(&[text]), None, "{text}");
    }
    assert_eq!(state(&[]), None);
}

#[test]
fn several_tracestates_are_one() {
    let both = state(&[
        "rojo=00f067aa0ba902b7 , ",
        "congo=t61rc WilkgMzE,1-t/*_@sys-1=x",
    ]);
    let expected = "rojo=00f067aa0ba902b7,congo=t61rc WilkgMzE,1-t/*_@sys-1=x";
    assert_eq!(both.as_deref(), Some(expected));
}
