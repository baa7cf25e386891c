//! What a request asks the application to do: a plain function of its method and URI.

use std::time::Duration;

use hyper::{Method, StatusCode, Uri};

/// A client that wants to wait longer than this has mistaken the unit.
const SLOW_MILLISECONDS_MAX: u64 = 600_000;
/// Enough for any throughput test.
const BYTES_MAX: u64 = 16 << 30;

/// The decision.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    Echo,
    Health,
    SetReady(bool),
    Stats,
    /// Echo, this much later.
    Slow(Duration),
    /// A body of that many bytes.
    Bytes(u64),
    Status(StatusCode),
    /// What was asked for can't be done; the text says how to ask.
    Refuse(StatusCode, &'static str),
}

/// Decides. Every path that isn't special is echoed, whatever its method.
pub(super) fn action(method: &Method, uri: &Uri) -> Action {
    match (uri.path(), method) {
        ("/healthz", &Method::PUT) => match query_value(uri, "ready") {
            Some("true") => Action::SetReady(true),
            Some("false") => Action::SetReady(false),
            _ => refuse("PUT /healthz?ready=true or ready=false"),
        },
        ("/healthz", &Method::GET | &Method::HEAD) => Action::Health,
        ("/stats", &Method::GET | &Method::HEAD) => Action::Stats,
        ("/healthz" | "/stats", _) => Action::Refuse(
            StatusCode::METHOD_NOT_ALLOWED,
            "GET, or PUT /healthz?ready=",
        ),
        ("/slow", _) => match number(uri, "ms", SLOW_MILLISECONDS_MAX) {
            Some(milliseconds) => Action::Slow(Duration::from_millis(milliseconds)),
            None => refuse("/slow?ms=N with N milliseconds up to 600000"),
        },
        ("/bytes", _) => match number(uri, "n", BYTES_MAX) {
            Some(length) => Action::Bytes(length),
            None => refuse("/bytes?n=N with N bytes up to 16 GiB"),
        },
        (path, _) => match path.strip_prefix("/status/") {
            Some(status) => status_action(status),
            None => Action::Echo,
        },
    }
}

/// 1xx are no final answers (RFC 9110 section 15.2), so they can't be asked for.
fn status_action(text: &str) -> Action {
    match StatusCode::from_bytes(text.as_bytes()) {
        Ok(status) if (200..=599).contains(&status.as_u16()) => Action::Status(status),
        _ => refuse("/status/N with N from 200 to 599"),
    }
}

fn refuse(usage: &'static str) -> Action {
    Action::Refuse(StatusCode::BAD_REQUEST, usage)
}

fn number(uri: &Uri, name: &str, max: u64) -> Option<u64> {
    query_value(uri, name)?
        .parse()
        .ok()
        .filter(|number| *number <= max)
}

fn query_value<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    uri.query()?
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(method: Method, uri: &'static str) -> Action {
        action(&method, &Uri::from_static(uri))
    }

    #[test]
    fn refuses_numbers_it_cannot_serve() {
        for uri in [
            "/slow",
            "/slow?ms=",
            "/slow?ms=-1",
            "/slow?ms=600001",
            "/bytes?n=1k",
            "/bytes?N=1",
            "/bytes?n=99999999999999999999",
            "/status/",
            "/status/101",
            "/status/600",
            "/status/2000",
            "/status/ok",
        ] {
            let refused = decide(Method::GET, uri);
            assert!(
                matches!(refused, Action::Refuse(StatusCode::BAD_REQUEST, _)),
                "{uri}: {refused:?}"
            );
        }
    }

    #[test]
    fn refuses_readiness_that_is_neither_true_nor_false() {
        for uri in ["/healthz", "/healthz?ready", "/healthz?ready=0"] {
            let refused = decide(Method::PUT, uri);
            assert!(matches!(refused, Action::Refuse(..)), "{uri}: {refused:?}");
        }
        assert!(matches!(
            decide(Method::DELETE, "/stats"),
            Action::Refuse(StatusCode::METHOD_NOT_ALLOWED, _)
        ));
    }

    #[test]
    fn special_paths_do_what_they_say() {
        for (method, uri, expected) in [
            (Method::GET, "/healthz", Action::Health),
            (Method::PUT, "/healthz?ready=false", Action::SetReady(false)),
            (
                Method::PUT,
                "/healthz?a=b&ready=true",
                Action::SetReady(true),
            ),
            (Method::GET, "/stats", Action::Stats),
            (
                Method::GET,
                "/slow?ms=20",
                Action::Slow(Duration::from_millis(20)),
            ),
            (Method::GET, "/bytes?n=0", Action::Bytes(0)),
            (
                Method::POST,
                "/status/503",
                Action::Status(StatusCode::SERVICE_UNAVAILABLE),
            ),
        ] {
            assert_eq!(decide(method.clone(), uri), expected, "{method} {uri}");
        }
    }

    #[test]
    fn every_other_path_is_echoed() {
        for uri in ["/", "/healthz/", "/statsd", "/status", "/reviews/1?ms=5"] {
            assert_eq!(decide(Method::POST, uri), Action::Echo, "{uri}");
        }
    }
}
