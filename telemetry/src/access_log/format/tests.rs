use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use super::*;
use crate::{
    access_log::Kind,
    connections::Direction,
    trace::{SpanId, TraceId},
};

fn request<'e>() -> Entry<'e> {
    let trace = TraceId::parse(b"4bf92f3577b34da6a3ce929d0e0e4736").expect("it is an id");
    let span = SpanId::parse(b"00f067aa0ba902b7").expect("it is an id");
    Entry {
        kind: Kind::Request,
        at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_769_903_999_123),
        direction: Direction::Inbound,
        client: SocketAddr::from(([10, 0, 0, 1], 40000)),
        dst: "[fd00::2]:80".parse().expect("it is an address"),
        upstream: Some(SocketAddr::from(([10, 0, 0, 2], 8080))),
        protocol: "http2",
        sni: None,
        method: Some(b"GET"),
        path: Some(b"/orders/7"),
        authority: Some(b"orders.shop"),
        user_agent: Some(b"curl/8 \"x\"\n"),
        status: Some(200),
        grpc_status: Some("OK"),
        sent: 17,
        received: 4096,
        took: Duration::from_micros(1_002_003),
        resent: 2,
        reason: Some("upstream_reset"),
        failed: true,
        trace: Some((trace, span)),
        sampled: true,
    }
}

fn connection<'e>() -> Entry<'e> {
    Entry {
        kind: Kind::Connection,
        upstream: None,
        protocol: "tls",
        sni: Some("db.shop"),
        method: None,
        path: None,
        authority: None,
        user_agent: None,
        status: None,
        grpc_status: None,
        resent: 0,
        reason: Some("finished"),
        failed: false,
        trace: None,
        ..request()
    }
}

fn line(format: &str, entry: &Entry<'_>) -> String {
    let format: Format = format.parse().expect("it is a format");
    let mut out = Vec::new();
    format.write(entry, &mut out);
    String::from_utf8(out).expect("it is UTF-8")
}

#[test]
fn refuses_what_is_no_template_and_says_why() {
    for (text, why) in [
        ("", "no field"),
        ("jsn", "no field"),
        ("100%%", "no field"),
        ("%", "% is no field"),
        ("%time", "% is no field"),
        ("%{time} 100%", "% is no field"),
        ("%{time", "no end"),
        ("%{time}\n%{path}", "control character"),
        ("%{}", "no field %{}"),
        ("%{Time}", "there are time, kind"),
        ("%{time} %{cookie}", "no field %{cookie}"),
    ] {
        let refused = text.parse::<Format>().expect_err(text).to_string();
        assert!(refused.contains(why), "{text}: {refused}");
    }
}

#[test]
fn json_has_what_is_known_and_nothing_else() {
    assert_eq!(
        line("json", &request()),
        concat!(
            r#"{"time":"2026-01-31T23:59:59.123Z","kind":"request","direction":"inbound","#,
            r#""client":"10.0.0.1:40000","dst":"[fd00::2]:80","upstream":"10.0.0.2:8080","#,
            r#""protocol":"http2","method":"GET","authority":"orders.shop","#,
            r#""path":"/orders/7","status":200,"grpc_status":"OK","sent_bytes":17,"#,
            r#""received_bytes":4096,"duration_ms":1002.003,"resend_count":2,"#,
            r#""reason":"upstream_reset","user_agent":"curl/8 \"x\"\n","#,
            r#""trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7"}"#,
            "\n",
        )
    );
    assert_eq!(
        line("json", &connection()),
        concat!(
            r#"{"time":"2026-01-31T23:59:59.123Z","kind":"connection","direction":"inbound","#,
            r#""client":"10.0.0.1:40000","dst":"[fd00::2]:80","protocol":"tls","#,
            r#""sni":"db.shop","sent_bytes":17,"received_bytes":4096,"#,
            r#""duration_ms":1002.003,"reason":"finished"}"#,
            "\n",
        )
    );
}

#[test]
fn text_is_a_line_for_people() {
    assert_eq!(
        line("text", &request()),
        "2026-01-31T23:59:59.123Z inbound 10.0.0.1:40000 [fd00::2]:80 10.0.0.2:8080 http2 \
         \"GET /orders/7\" 200 17 4096 1002.003 upstream_reset \
         4bf92f3577b34da6a3ce929d0e0e4736\n"
    );
    assert_eq!(
        line("text", &connection()),
        "2026-01-31T23:59:59.123Z inbound 10.0.0.1:40000 [fd00::2]:80 - tls \"- -\" - 17 4096 \
         1002.003 finished -\n"
    );
}

#[test]
fn a_template_has_its_fields_and_what_is_between_them() {
    let template = r#"<%{status}> 100%% "%{user_agent}" %{span_id}%{sni}!"#;
    let expected = "<200> 100% \"curl/8 \\\"x\\\"\\x0a\" 00f067aa0ba902b7-!\n";
    assert_eq!(line(template, &request()), expected);
    let parsed: Format = template.parse().expect("it is a format");
    assert_eq!(parsed.to_string(), template);
}

#[test]
fn what_is_empty_does_not_let_the_next_field_take_its_place() {
    let entry = Entry {
        path: Some(b""),
        ..request()
    };
    assert_eq!(line("%{path} %{status}", &entry), "- 200\n");
}

#[test]
fn every_field_has_a_name_of_its_own_and_a_place_in_the_documentation() {
    let documented = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/telemetry.md");
    let documented = std::fs::read_to_string(documented).expect("the documentation is there");
    assert!(
        documented.contains(TEXT),
        "docs/telemetry.md lacks what text stands for:\n{TEXT}"
    );
    for field in Field::ALL {
        assert_eq!(Field::of(field.name()), Some(field));
        let row = format!("| `{}` | {} |", field.name(), field.meaning());
        assert!(
            documented.contains(&row),
            "docs/telemetry.md lacks this row:\n{row}"
        );
    }
}
