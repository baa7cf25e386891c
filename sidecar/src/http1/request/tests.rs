use super::*;
use crate::http1::fuzz::spoiled;

fn parse(head: &str) -> Result<Option<(Request, String)>, Reason> {
    let mut out = Vec::new();
    let parsed = super::parse(head.as_bytes(), false, &mut out)?;
    let out = String::from_utf8(out).expect("the tests' heads are text");
    Ok(parsed.map(|request| (request, out)))
}

fn passed_on(head: &str) -> String {
    let parsed = parse(head).expect("a good head");
    parsed.expect("a whole head").1
}

#[test]
fn refuses_what_leaves_doubt_about_its_end() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length:",
        "Content-Length: 5,",
        "Content-Length: ,5",
        "Content-Length: 99999999999999999999",
        "Content-Length: 18446744073709551615",
        "Content-Length: 9223372036854775808",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: ,",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: gzip, xchunked",
        "Transfer-Encoding:",
        "Transfer-Encoding : chunked",
        "Content-Length : 5",
        "Content_Length: 5",
        "transfer_encoding: chunked",
        "TRANSFER_ENCODING: chunked\r\nContent-Length: 5",
        " Content-Length: 5",
        "A: b\r\n Transfer-Encoding: chunked",
        "A: b\r\n\tfolded",
        "A: b\rContent-Length: 5",
        "A: b\0",
        ": empty",
        "A b: c",
        "Host: a\r\nHost: b",
        "Host: a\r\nHost: a",
        "Host: a b",
        "Host: a/b",
        "Host: user@a",
    ] {
        let head = format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n");
        assert_eq!(parse(&head), Err(Reason::RequestMalformed), "{fields:?}");
    }
}

#[test]
fn says_where_the_body_ends_in_the_same_way_to_all() {
    for (sent, passed_on_field) in [
        ("Content-Length: 010", "Content-Length: 10"),
        ("content-length:\t000", "content-length: 0"),
        ("Content-Length: 0", "Content-Length: 0"),
        ("Transfer-Encoding:chunked", "Transfer-Encoding: chunked"),
        ("transfer-encoding: ,chunked", "transfer-encoding: chunked"),
        ("Transfer-Encoding: chunked ,", "Transfer-Encoding: chunked"),
        (
            "Transfer-Encoding: ,\t, Chunked,,",
            "Transfer-Encoding: chunked",
        ),
        ("TRANSFER-ENCODING: CHUNKED", "TRANSFER-ENCODING: chunked"),
    ] {
        let head = |field| format!("POST / HTTP/1.1\r\nA: b\r\n{field}\r\nHost: a\r\n\r\n");
        assert_eq!(passed_on(&head(sent)), head(passed_on_field), "{sent:?}");
    }
}

#[test]
fn the_host_is_the_one_that_the_target_names() {
    for (target, host, passed_on_host) in [
        ("http://a/x", "a", "a"),
        ("http://a/x", "A:80", "A:80"),
        ("HTTPS://a:443?x", "a", "a"),
        ("http://user:secret@a/", "a", "a"),
        ("http://a/x", "b", "a"),
        ("http://a/x", "a:81", "a"),
        ("http://a:81", "", "a:81"),
        ("http://b@a/?@b", "b", "a"),
        ("ftp://a/", "b", "a"),
        ("file:///x", "b", "b"),
        ("/http://a/", "b", "b"),
        ("?x=http://a/", "b", "b"),
        ("*", "b", "b"),
        ("a:80", "b", "b"),
    ] {
        let head = |host| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nA: b\r\n\r\n");
        assert_eq!(passed_on(&head(host)), head(passed_on_host), "{target}");
    }
    for target in ["http://a{b}/", "http://a:b/", "http://[::1/"] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(parse(&head), Err(Reason::RequestMalformed), "{target}");
    }
    // Left to the application, as in every other request without one.
    let none = "GET http://a/ HTTP/1.1\r\n\r\n";
    assert_eq!(passed_on(none), none);
}

#[test]
fn leaves_a_missing_host_to_the_application() {
    for head in ["GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: \r\n\r\n"] {
        assert_eq!(passed_on(head), head);
    }
}

#[test]
fn refuses_what_is_no_request_line() {
    for line in [
        "GET  / HTTP/1.1",
        "GET / HTTP/1.2",
        "GET / HTTP/1.1 ",
        "GET /\x01 HTTP/1.1",
        "GET HTTP/1.1",
        " GET / HTTP/1.1",
        "G@T / HTTP/1.1",
    ] {
        let head = format!("{line}\r\n\r\n");
        assert_eq!(parse(&head), Err(Reason::RequestMalformed), "{line:?}");
    }
    let coded = "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(parse(coded), Err(Reason::RequestMalformed));
}

#[test]
fn refuses_more_fields_than_it_can_hold() {
    let head = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(300));
    assert_eq!(parse(&head), Err(Reason::RequestHeadTooLarge));
}

#[test]
fn passes_on_what_is_for_the_other_end_as_it_came() {
    let head = "REPORT /a?b#c HTTP/1.1\r\nhOST: x\r\nX-Forwarded-For: 1.2.3.4\r\nb: 2\r\n\
                B: 1\r\ntraceparent: 00-0-0-00\r\nx-b3-traceid: 1\r\n\
                Proxy-Authorization: Basic eDp5\r\nExpect: 100-continue\r\n\
                Content-Length: 3\r\n\r\n";
    assert_eq!(passed_on(head), head);
}

#[test]
fn writes_lines_as_the_rules_say() {
    let head = "\r\nGET / HTTP/1.1\nHost:  a \nEmpty:\n\n";
    let expected = "GET / HTTP/1.1\r\nHost: a\r\nEmpty: \r\n\r\n";
    assert_eq!(passed_on(head), expected);
}

#[test]
fn keeps_what_is_for_one_hop_to_itself() {
    let head = "GET / HTTP/1.1\r\nConnection: close, X-Mine, te\r\nKeep-Alive: 5\r\n\
                Proxy-Connection: close\r\nx-mine: 1\r\nTE: gzip\r\nHost: a\r\n\r\n";
    assert_eq!(passed_on(head), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn trailers_are_asked_for_on_the_next_connection_and_other_codings_are_not() {
    for (te, passed_on_te) in [
        ("te: trailers", "te: trailers"),
        ("TE: trailers, deflate;q=0.5", "TE: trailers"),
        ("TE: gzip ,Trailers", "TE: Trailers"),
        ("TE: gzip\r\nTE: trailers", "TE: trailers"),
    ] {
        for (listed, option) in [("TE", "TE"), ("te, close, x-a", "close, TE")] {
            let head = format!(
                "GET / HTTP/1.1\r\nA: b\r\n{te}\r\nHost: a\r\nConnection: {listed}\r\n\r\n"
            );
            let expected = format!(
                "GET / HTTP/1.1\r\nA: b\r\n{passed_on_te}\r\nHost: a\r\nConnection: {option}\r\n\r\n"
            );
            let mut out = Vec::new();
            super::parse(head.as_bytes(), true, &mut out).expect("a good head");
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }
    let upgrade = "GET / HTTP/1.1\r\nUpgrade: websocket\r\nTE: trailers\r\n\
                   Connection: Upgrade, TE\r\n\r\n";
    assert_eq!(passed_on(upgrade), upgrade);
    for none in ["TE: gzip", "TE: x-trailers", "TE: trailers;q=1", "TE:"] {
        let head = format!("GET / HTTP/1.1\r\n{none}\r\nConnection: TE\r\n\r\n");
        assert_eq!(passed_on(&head), "GET / HTTP/1.1\r\n\r\n");
    }
    // Of whose connections nobody knows what TE is.
    let old = "GET / HTTP/1.0\r\nTE: trailers\r\nConnection: keep-alive\r\n\r\n";
    assert_eq!(passed_on(old), old);
}

#[test]
fn a_target_that_is_no_text_goes_on_as_it_came() {
    for target in [
        &b"/caf\xe9"[..],
        b"/\xff\xfe?\x80=\xa0#\xc3",
        b"\xe9",
        b"http://a/\xe9",
        "/caf\u{e9}".as_bytes(),
    ] {
        for before in [&b""[..], b"\r\n", b"\n\r\n"] {
            let line = [b"GET ", target, b" HTTP/1.1\r\n"].concat();
            let head = [&line[..], b"x: \xe9\r\nHost: a\r\n\r\n"].concat();
            let sent = [before, &head, b"\xe9body"].concat();
            let mut out = Vec::new();
            let request = super::parse(&sent, false, &mut out).expect("a good head");
            let request = request.expect("a whole head");
            assert_eq!(request.length, before.len() + head.len());
            assert_eq!(out, head, "{}", target.escape_ascii());
        }
    }
}

#[test]
fn what_is_no_text_is_refused_elsewhere_than_in_the_target() {
    for head in [
        &b"G\xe9T / HTTP/1.1\r\n\r\n"[..],
        b"G\xe9T /\xe9 HTTP/1.1\r\n\r\n",
        b"GET /\xe9 HTTP/1.\xe9\r\n\r\n",
        b"GET /\xe9 \xe9 HTTP/1.1\r\n\r\n",
        b"GET /\xe9\x01 HTTP/1.1\r\n\r\n",
        b"GET /\xe9\r\n\r\n",
        b"GET /\xe9\rHTTP/1.1\r\n\r\n",
        b"GET\n/\xe9 HTTP/1.1\r\n\r\n",
        b"GET /\xe9 HTTP/1.1\r\n\xe9: a\r\n\r\n",
        b"GET /\xe9 HTTP/1.1\r\nContent-Length: \xe9\r\n\r\n",
        b"\xe9",
        b"\r\n\xe9",
    ] {
        let mut out = Vec::new();
        let parsed = super::parse(head, false, &mut out);
        let shown = head.escape_ascii();
        assert_eq!(parsed, Err(Reason::RequestMalformed), "{shown}");
        assert_eq!(out, b"", "{shown}");
    }
    let whole = b"GET /\xe9 HTTP/1.1\r\nA: b\r\n\r\n";
    for length in 0..whole.len() {
        let parsed = super::parse(&whole[..length], false, &mut Vec::new());
        assert_eq!(parsed, Ok(None), "{length}");
    }
}

#[test]
fn connection_cannot_remove_what_says_where_the_body_ends() {
    let head = "POST / HTTP/1.1\r\nConnection: content-length, host\r\n\
                Content-Length: 3\r\nHost: a\r\n\r\n";
    let expected = "POST / HTTP/1.1\r\nContent-Length: 3\r\nHost: a\r\n\r\n";
    assert_eq!(passed_on(head), expected);
}

#[test]
fn asks_for_another_protocol_but_not_for_http2() {
    let websocket = "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let (request, out) = parse(websocket).expect("good").expect("whole");
    assert!(request.upgrades);
    assert_eq!(out, websocket);
    let h2c = "GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\n\
               Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n";
    let (request, out) = parse(h2c).expect("good").expect("whole");
    assert!(!request.upgrades);
    assert_eq!(out, "GET / HTTP/1.1\r\n\r\n");
}

#[test]
fn knows_whether_another_request_follows() {
    for (head, keeps_alive) in [
        ("GET / HTTP/1.1\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nConnection: Close\r\n\r\n", false),
        (
            "GET / HTTP/1.1\r\nConnection: close, keep-alive\r\n\r\n",
            false,
        ),
        ("GET / HTTP/1.0\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true),
    ] {
        let (request, _) = parse(head).expect("good").expect("whole");
        assert_eq!(request.keeps_alive, keeps_alive, "{head:?}");
    }
    // To a 1.0 upstream that has to be said.
    let persistent = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    assert_eq!(passed_on(persistent), persistent);
}

#[test]
fn tells_the_applications_own_connection_of_its_end() {
    let mut out = Vec::new();
    let head = b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n";
    super::parse(head, true, &mut out).expect("a good head");
    assert_eq!(out, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
}

#[test]
fn needs_the_whole_head() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for length in 0..head.len() {
        assert_eq!(parse(&head[..length]), Ok(None), "{length}");
    }
    let (request, _) = parse(&format!("{head}rest")).expect("good").expect("whole");
    assert_eq!(request.length, head.len());
}

#[test]
fn any_bytes_are_refused_or_mean_one_thing() {
    let mut random = fastrand::Rng::with_seed(9112);
    let seed = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\
                 Transfer-Encoding: chunked\r\nConnection: close, x\r\nX: y\r\n\r\n";
    for _ in 0..50_000 {
        let bytes = spoiled(seed, &mut random);
        let mut out = Vec::new();
        if let Ok(Some(request)) = super::parse(&bytes, false, &mut out) {
            // What was understood is what the next one understands.
            let mut again = Vec::new();
            let second = super::parse(&out, false, &mut again);
            let second = second.expect("it is good").expect("it is whole");
            assert_eq!(second.body, request.body, "{bytes:?}");
            assert_eq!(again, out, "{bytes:?}");
        }
    }
}
