use std::time::Duration;

use super::*;
use crate::{
    requests::{Call, Version},
    trace::{Received, Sampler, TEXT_BYTES_MAX},
};

fn ended<'e>(status: Option<u16>, call: Option<Call<'e>>) -> Ended<'e> {
    Ended {
        method: Method::Get,
        version: Version::Http11,
        status,
        error: None,
        call,
        took: Duration::from_millis(3),
        sent: 0,
        received: 2,
        trace: None,
    }
}

fn request<'r>(direction: Direction, ended: &'r Ended<'r>) -> Request<'r> {
    Request {
        direction,
        ended,
        method: "GET",
        path: "/orders/7",
        authority: Some("orders.shop:8080"),
        user_agent: Some("curl/8"),
        client: SocketAddr::from(([10, 0, 0, 1], 40000)),
        upstream: Some(SocketAddr::from(([10, 0, 0, 2], 8080))),
        resent: 0,
        reason: None,
    }
}

fn span(request: &Request<'_>) -> Span {
    let always = Sampler::ratio("1".parse().expect("it is a ratio"));
    let begun = Begun::new(&Received::default(), always, None).expect("all are kept");
    request.span(begun)
}

fn value(span: &Span, key: &str) -> Option<String> {
    let attribute = span
        .attributes
        .iter()
        .find(|attribute| attribute.key == key);
    attribute.map(|attribute| attribute.value.to_string())
}

#[test]
fn each_side_tells_what_the_conventions_ask_of_it() {
    let ended = ended(Some(200), None);
    let server = span(&request(Direction::Inbound, &ended));
    assert_eq!(
        (server.kind, &*server.name, server.failed),
        (Kind::Server, "GET", None)
    );
    for (key, expected) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("url.path", "/orders/7"),
        ("url.scheme", "http"),
        ("server.address", "orders.shop"),
        ("server.port", "8080"),
        ("client.address", "10.0.0.1"),
        ("network.peer.address", "10.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("user_agent.original", "curl/8"),
    ] {
        assert_eq!(value(&server, key).as_deref(), Some(expected), "{key}");
    }
    let client = span(&request(Direction::Outbound, &ended));
    assert_eq!(client.kind, Kind::Client);
    assert_eq!(
        value(&client, "network.peer.address").as_deref(),
        Some("10.0.0.2")
    );
    let url = value(&client, "url.full");
    assert_eq!(url.as_deref(), Some("http://orders.shop:8080/orders/7"));
    for absent in [
        "client.address",
        "user_agent.original",
        "error.type",
        "http.request.resend_count",
    ] {
        assert_eq!(value(&client, absent), None, "{absent}");
    }
}

#[test]
fn a_status_is_an_error_to_who_could_have_done_better() {
    for (direction, status, failed) in [
        (Direction::Inbound, 399, false),
        (Direction::Inbound, 404, false),
        (Direction::Inbound, 500, true),
        (Direction::Outbound, 399, false),
        (Direction::Outbound, 404, true),
        (Direction::Outbound, 503, true),
    ] {
        let ended = ended(Some(status), None);
        let span = span(&request(direction, &ended));
        assert_eq!(span.failed, failed.then_some(""), "{direction:?} {status}");
        let error = failed.then(|| status.to_string());
        assert_eq!(value(&span, "error.type"), error);
    }
}

#[test]
fn what_the_sidecar_did_itself_has_its_reason() {
    let ended = ended(Some(502), None);
    let broken = Request {
        reason: Some("upstream_closed"),
        resent: 2,
        ..request(Direction::Outbound, &ended)
    };
    let span = span(&broken);
    assert_eq!(span.failed, Some("upstream_closed"));
    assert_eq!(
        value(&span, "error.type").as_deref(),
        Some("upstream_closed")
    );
    assert_eq!(
        value(&span, "netting.reason").as_deref(),
        Some("upstream_closed")
    );
    assert_eq!(
        value(&span, "http.request.resend_count").as_deref(),
        Some("2")
    );
}

#[test]
fn only_who_sends_a_request_again_says_so() {
    let ended = ended(Some(200), None);
    let again = Request {
        resent: 1,
        ..request(Direction::Inbound, &ended)
    };
    let span = span(&again);
    assert_eq!(value(&span, "http.request.resend_count"), None);
}

#[test]
fn a_call_is_told_as_one() {
    let call = |status| Call {
        path: "/shop.Orders/Get",
        status: Some(status),
    };
    for (direction, status, failed) in [
        (Direction::Outbound, 0, false),
        (Direction::Outbound, 5, true),
        (Direction::Inbound, 5, false),
        (Direction::Inbound, 14, true),
    ] {
        let ended = ended(Some(200), Some(call(status)));
        let span = span(&request(direction, &ended));
        assert_eq!(&*span.name, "shop.Orders/Get");
        assert_eq!(span.failed.is_some(), failed, "{direction:?} {status}");
        assert_eq!(value(&span, "rpc.system.name").as_deref(), Some("grpc"));
        assert_eq!(
            value(&span, "rpc.method").as_deref(),
            Some("shop.Orders/Get")
        );
    }
}

#[test]
fn a_client_cannot_make_spans_long_or_many_in_name() {
    let ended = Ended {
        method: Method::Other,
        ..ended(Some(200), None)
    };
    let long = "\u{e9}".repeat(4000);
    let request = Request {
        method: &long,
        path: &long,
        authority: Some(&long),
        user_agent: Some(&long),
        ..request(Direction::Inbound, &ended)
    };
    let span = span(&request);
    assert_eq!(&*span.name, "HTTP");
    let bytes: usize = span
        .attributes
        .iter()
        .map(|it| it.value.to_string().len())
        .sum();
    assert!(bytes < 5 * TEXT_BYTES_MAX, "{bytes}");
    assert_eq!(
        value(&span, "http.request.method").as_deref(),
        Some("_OTHER")
    );
}

#[test]
fn hosts_are_told_from_their_ports() {
    for (authority, host, port) in [
        ("a", "a", 80),
        ("a:8080", "a", 8080),
        ("a:", "a", 80),
        ("[fd00::1]", "fd00::1", 80),
        ("[fd00::1]:81", "fd00::1", 81),
        ("a:99999", "a", 80),
        ("]", "]", 80),
    ] {
        assert_eq!(host_and_port(authority), (host, port), "{authority}");
    }
}
