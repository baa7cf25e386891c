use super::*;
use crate::http1::fuzz::spoiled;

const STAY: Stay = Stay {
    downstream: true,
    together: false,
};

fn request(head: &str) -> Request {
    let parsed = super::super::request::parse(head.as_bytes(), false, &mut Vec::new());
    parsed.expect("a good head").expect("a whole head")
}

fn get() -> Request {
    request("GET / HTTP/1.1\r\n\r\n")
}

fn parse(head: &str, request: &Request, stay: Stay) -> Result<(Response, String), Reason> {
    let mut out = Vec::new();
    let parsed = super::parse(head.as_bytes(), request, stay, &mut out)?;
    let out = String::from_utf8(out).expect("the tests' heads are text");
    Ok((parsed.expect("a whole head"), out))
}

#[test]
fn refuses_what_leaves_doubt_about_its_end() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5,\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        "HTTP/1.1 200 OK\r\n folded: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length\r\n : 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length\r\n : 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\rc\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA b: c\r\n\r\n",
        "HTTP/1.1 200 OK\r\n A: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length : 5\r\nContent-Length: 6\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "SSH-2.0-x\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ] {
        let refused = parse(head, &get(), STAY);
        assert_eq!(refused.err(), Some(Reason::ResponseMalformed), "{head:?}");
    }
}

#[test]
fn passes_the_head_on_as_it_came() {
    let head = "HTTP/1.1 299 Very  fine\r\nsErVer: x\r\nVia: 1.1 y\r\nSet-Cookie: a\r\n\
                Set-Cookie: b\r\nDate: today\r\nContent-Length: 2\r\n\r\n";
    let (response, out) = parse(head, &get(), STAY).expect("a good head");
    assert_eq!(out, head);
    assert_eq!(response.status, 299);
    assert_eq!(response.body, Body::Length(2));
    assert!(response.downstream_stays && response.upstream_stays);
}

#[test]
fn a_space_before_a_colon_is_removed() {
    let head = "HTTP/1.1 200 OK\r\nServer : x\r\nContent-Length \t: 2\r\n\r\n";
    let (response, out) = parse(head, &get(), STAY).expect("a good head");
    assert_eq!(response.body, Body::Length(2));
    assert_eq!(
        out,
        "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 2\r\n\r\n"
    );
}

#[test]
fn the_clients_last_request_is_not_the_upstreams_unless_that_is_told_so() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let last = "GET / HTTP/1.1\r\nConnection: close\r\n\r\n";
    let (response, out) = parse(head, &request(last), STAY).expect("a good head");
    assert!(response.upstream_stays && !response.downstream_stays);
    assert!(out.contains("Connection: close\r\n"), "{out}");
    let told = super::super::request::parse(last.as_bytes(), true, &mut Vec::new());
    let told = told.expect("a good head").expect("a whole head");
    let old = request("GET / HTTP/1.0\r\n\r\n");
    for request in [told, old] {
        let (response, _) = parse(head, &request, STAY).expect("a good head");
        assert!(!response.upstream_stays && !response.downstream_stays);
    }
}

#[test]
fn a_coding_voids_a_length() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (response, out) = parse(head, &get(), STAY).expect("a good head");
    assert_eq!(response.body, Body::CHUNKED);
    assert_eq!(out, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
}

#[test]
fn what_is_said_twice_of_the_end_is_passed_on_once() {
    for (fields, passed_on, body) in [
        (
            "Content-Length: 5\r\nA: b\r\ncontent-length: 05",
            "Content-Length: 5\r\nA: b",
            Body::Length(5),
        ),
        (
            "Content-Length: 05, 5",
            "Content-Length: 5",
            Body::Length(5),
        ),
        (
            "Transfer-Encoding: chunked\r\nA: b\r\ntransfer-encoding: Chunked",
            "Transfer-Encoding: chunked\r\nA: b",
            Body::CHUNKED,
        ),
        (
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: chunked",
            Body::CHUNKED,
        ),
        (
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: gzip, chunked",
            Body::CHUNKED,
        ),
    ] {
        let head = |fields| format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n");
        let (response, out) = parse(&head(fields), &get(), STAY).expect("a good head");
        assert_eq!((response.body, out), (body, head(passed_on)), "{fields:?}");
    }
}

#[test]
fn folded_lines_are_unfolded_in_as_much_room() {
    let head = "\r\nHTTP/1.1 200 OK\r\nContent-Type: multipart/related;\r\n\tboundary=x\r\n\
                A:\n b\n  c\r\nContent-Length: 2\r\n\r\n";
    let expected = "HTTP/1.1 200 OK\r\nContent-Type: multipart/related;  \tboundary=x\r\n\
                    A: b   c\r\nContent-Length: 2\r\n\r\n";
    let sent = format!("{head}a\r\n b");
    let (response, out) = parse(&sent, &get(), STAY).expect("a good head");
    assert_eq!(
        (response.length, response.body),
        (head.len(), Body::Length(2))
    );
    assert_eq!(out, expected);
    for length in 0..head.len() {
        let begun = super::parse(&head.as_bytes()[..length], &get(), STAY, &mut Vec::new());
        assert_eq!(begun, Ok(None), "{length}");
    }
}

#[test]
fn what_has_no_body_says_of_none() {
    let upgrade = request("GET / HTTP/1.1\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n");
    let connect = request("CONNECT a:1 HTTP/1.1\r\n\r\n");
    for (status, request) in [
        ("103 Early Hints", get()),
        ("204 No Content", get()),
        ("200 Fine", connect),
        ("101 Fine", upgrade),
    ] {
        for said in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
            let head = format!("HTTP/1.1 {status}\r\nA: b\r\n{said}\r\nUpgrade: x\r\n\r\n");
            let (response, out) = parse(&head, &request, STAY).expect("a good head");
            assert_eq!(response.body, Body::NONE, "{status}");
            assert!(out.contains("\r\nA: b\r\n"), "{out}");
            assert!(!out.contains(said), "{out}");
        }
    }
    let none = "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n";
    let (_, out) = parse(none, &get(), STAY).expect("a good head");
    assert_eq!(out, none);
}

#[test]
fn some_responses_have_no_body_whatever_they_say() {
    let long = "Content-Length: 5\r\n\r\n";
    let head = request("HEAD / HTTP/1.1\r\n\r\n");
    for (status, request) in [("200 OK", head), ("304 N", get())] {
        let text = format!("HTTP/1.1 {status}\r\n{long}");
        let (response, out) = parse(&text, &request, STAY).expect("a good head");
        assert_eq!(response.body, Body::NONE, "{status}");
        assert_eq!(out, text);
    }
}

#[test]
fn without_a_length_the_connection_ends() {
    let (response, out) = parse("HTTP/1.1 200 OK\r\n\r\n", &get(), STAY).expect("a good head");
    assert_eq!(response.body, Body::UntilClose);
    assert!(!response.downstream_stays && !response.upstream_stays);
    assert_eq!(out, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
}

#[test]
fn each_connection_ends_for_itself_unless_they_belong_together() {
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let (response, out) = parse(head, &get(), STAY).expect("a good head");
    assert!(response.downstream_stays && !response.upstream_stays);
    assert_eq!(out, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let together = Stay {
        together: true,
        ..STAY
    };
    let (response, out) = parse(head, &get(), together).expect("a good head");
    assert!(!response.downstream_stays);
    assert!(out.contains("Connection: close\r\n"), "{out}");
    let draining = Stay {
        downstream: false,
        ..STAY
    };
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (response, out) = parse(head, &get(), draining).expect("a good head");
    assert!(response.upstream_stays && !response.downstream_stays);
    assert!(out.contains("Connection: close\r\n"), "{out}");
}

#[test]
fn how_long_it_is_kept_is_said_of_a_connection_that_ends_with_it() {
    let head = "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: max=9, timeout=5\r\n\
                Content-Length: 0\r\n\r\n";
    let (response, out) = parse(head, &get(), STAY).expect("a good head");
    assert_eq!(response.kept_seconds.map(u32::from), Some(5));
    assert_eq!(out, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let together = Stay {
        together: true,
        ..STAY
    };
    let (_, out) = parse(head, &get(), together).expect("a good head");
    let kept = "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n";
    assert!(out.ends_with(kept), "{out}");
    let unsaid = head.replace("timeout=5", "timeout=soon");
    let (response, _) = parse(&unsaid, &get(), together).expect("a good head");
    assert_eq!(response.kept_seconds, None);
}

#[test]
fn an_older_client_is_told_that_it_may_go_on() {
    let old = request("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (response, out) = parse(head, &old, STAY).expect("a good head");
    assert!(response.downstream_stays);
    assert!(out.contains("Connection: keep-alive\r\n"), "{out}");
    let head = "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (response, _) = parse(head, &old, STAY).expect("a good head");
    assert!(!response.upstream_stays, "it did not say that it stays");
}

#[test]
fn an_older_servers_client_is_told_that_it_may_go_on() {
    let head = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n";
    let together = Stay {
        together: true,
        ..STAY
    };
    for stay in [STAY, together] {
        let (response, out) = parse(head, &get(), stay).expect("a good head");
        assert!(response.downstream_stays && response.upstream_stays);
        assert!(out.contains("Connection: keep-alive\r\n"), "{out}");
    }
    let last = "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (response, out) = parse(last, &get(), together).expect("a good head");
    assert!(!response.downstream_stays);
    assert!(out.contains("Connection: close\r\n"), "{out}");
}

#[test]
fn interim_responses_are_for_those_who_know_them() {
    let head = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let (response, out) = parse(head, &get(), STAY).expect("a good head");
    assert_eq!((response.kind, response.body), (Kind::Interim, Body::NONE));
    assert_eq!(out, head);
    let old = request("GET / HTTP/1.0\r\n\r\n");
    let (response, out) = parse(head, &old, STAY).expect("a good head");
    assert_eq!((response.kind, out.as_str()), (Kind::Interim, ""));
}

#[test]
fn tunnels_begin_where_they_were_asked_for() {
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                Connection: Upgrade\r\n\r\n";
    let upgrade = "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let (response, out) = parse(head, &request(upgrade), STAY).expect("a good head");
    assert_eq!(response.kind, Kind::Tunnel);
    assert_eq!(out, head);
    let connect = request("CONNECT a:1 HTTP/1.1\r\n\r\n");
    let head = "HTTP/1.1 200 Fine\r\n\r\n";
    let (response, out) = parse(head, &connect, STAY).expect("a good head");
    assert_eq!((response.kind, out.as_str()), (Kind::Tunnel, head));
    let head = "HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n";
    let (response, _) = parse(head, &connect, STAY).expect("a good head");
    assert_eq!(response.kind, Kind::Final);
}

#[test]
fn any_bytes_are_refused_or_mean_one_thing() {
    let mut random = fastrand::Rng::with_seed(9112);
    let seeds = [
        "HTTP/1.1 200 OK\r\nA: b,\r\n c\r\nContent-Length: 3\r\nContent-Length: 3\r\nX: y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked,\r\n Chunked\r\nConnection: x\r\n\r\n",
        "HTTP/1.1 204 OK\r\nContent-Length: 3, 3\r\nConnection: x, close\r\nX: y\r\n\r\n",
    ];
    for _ in 0..50_000 {
        let seed = random.choice(seeds).expect("some");
        let bytes = spoiled(seed.as_bytes(), &mut random);
        let mut out = Vec::new();
        if let Ok(Some(response)) = super::parse(&bytes, &get(), STAY, &mut out) {
            // What was understood is what the next one understands.
            let mut again = Vec::new();
            let second = super::parse(&out, &get(), STAY, &mut again);
            let second = second.expect("it is good").expect("it is whole");
            assert_eq!(second.body, response.body, "{}", bytes.escape_ascii());
            assert_eq!(again, out, "{}", bytes.escape_ascii());
        }
    }
}
