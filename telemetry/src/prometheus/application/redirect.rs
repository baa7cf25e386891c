//! Where an answer leads: redirects are followed at the application's own address and port.

use std::net::{IpAddr, SocketAddr};

use http::uri::PathAndQuery;
use hyper::{Response, StatusCode, header::LOCATION};
use url::{Host, Position, Url};

use super::Failure;

/// What to ask for next, if the answer to this path is a redirect.
///
/// # Errors
/// If it leads elsewhere, or what it names is no URL.
pub(super) fn next<B>(
    addr: SocketAddr,
    path: &PathAndQuery,
    answer: &Response<B>,
) -> Result<Option<PathAndQuery>, Failure> {
    let redirects = matches!(
        answer.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let Some(location) = answer.headers().get(LOCATION).filter(|_| redirects) else {
        return Ok(None);
    };
    let next = within(addr, path, location.as_bytes());
    if next.is_none() {
        tracing::debug!(?location, %addr, "the application's redirect leads away from it");
    }
    next.map(Some).ok_or(Failure::Redirected)
}

/// The path that this reference names, relative to the one that was asked for.
fn within(addr: SocketAddr, path: &PathAndQuery, location: &[u8]) -> Option<PathAndQuery> {
    let base = Url::parse(&format!("http://{addr}{path}")).ok()?;
    let url = base.join(std::str::from_utf8(location).ok()?).ok()?;
    let is_there = url.scheme() == "http"
        && url.host() == Some(host(addr.ip()))
        && url.port_or_known_default() == Some(addr.port());
    let path = &url[Position::BeforePath..Position::AfterQuery];
    path.parse().ok().filter(|_| is_there)
}

fn host(ip: IpAddr) -> Host<&'static str> {
    match ip {
        IpAddr::V4(ip) => Host::Ipv4(ip),
        IpAddr::V6(ip) => Host::Ipv6(ip),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(addr: &str, status: u16, location: &[u8]) -> Result<Option<String>, Failure> {
        let answer = Response::builder()
            .status(status)
            .header(LOCATION, location);
        let answer = answer.body(()).expect("it is a header");
        let addr = addr.parse().expect("it is an address");
        let path = PathAndQuery::from_static("/a/metrics?b=c");
        let next = next(addr, &path, &answer)?;
        Ok(next.map(|next| next.to_string()))
    }

    #[test]
    fn nobody_else_is_asked() {
        for location in [
            "http://10.0.0.4:9080/metrics",
            "http://10.0.0.3/metrics",
            "http://10.0.0.3:9081/metrics",
            "https://10.0.0.3:9080/metrics",
            "//10.0.0.4:9080/metrics",
            "//metadata.internal/",
            "/\\10.0.0.4/",
            "\\\\10.0.0.4/",
            "http://localhost:9080/metrics",
            "http://127.0.0.1:9080/metrics",
            "http://10.0.0.3:9080@10.0.0.4:9080/",
            "http://10.0.0.3.example:9080/",
            "http://[::ffff:10.0.0.3]:9080/",
            "http:///metrics",
            "http://[::1",
            "mailto:root",
            "file:///metrics",
        ] {
            for status in [301, 302, 303, 307, 308] {
                let next = after("10.0.0.3:9080", status, location.as_bytes());
                assert_eq!(next, Err(Failure::Redirected), "{status} {location}");
            }
        }
        assert_eq!(
            after("10.0.0.3:9080", 302, b"/\xff"),
            Err(Failure::Redirected)
        );
    }

    #[test]
    fn the_application_is_asked_for_what_it_names() {
        for (addr, location, expected) in [
            ("10.0.0.3:9080", "/metrics/", "/metrics/"),
            ("10.0.0.3:9080", "metrics/?b=c", "/a/metrics/?b=c"),
            ("10.0.0.3:9080", "../x", "/x"),
            ("10.0.0.3:9080", "?d=e#f", "/a/metrics?d=e"),
            ("10.0.0.3:9080", "", "/a/metrics?b=c"),
            ("10.0.0.3:9080", "/caf\u{e9} a", "/caf%C3%A9%20a"),
            ("10.0.0.3:9080", "//10.0.0.3:9080//x", "//x"),
            (
                "10.0.0.3:9080",
                "http://10.0.0.3:9080/metrics/",
                "/metrics/",
            ),
            ("10.0.0.3:9080", "HTTP://10.0.0.3:9080", "/"),
            ("10.0.0.3:80", "http://10.0.0.3/metrics/", "/metrics/"),
            ("[fd00::3]:9080", "http://[FD00::3]:9080/x", "/x"),
            ("[fd00::3]:9080", "x", "/a/x"),
        ] {
            for status in [301, 302, 303, 307, 308] {
                let next = after(addr, status, location.as_bytes());
                assert_eq!(next, Ok(Some(expected.to_owned())), "{status} {location}");
            }
        }
    }

    #[test]
    fn what_is_no_redirect_leads_nowhere() {
        for status in [200, 201, 300, 304, 404, 503] {
            assert_eq!(
                after("10.0.0.3:9080", status, b"http://elsewhere/"),
                Ok(None)
            );
        }
        let without = Response::builder().status(302).body(());
        let without = without.expect("it is an answer");
        let addr = SocketAddr::from(([10, 0, 0, 3], 9080));
        let next = next(addr, &PathAndQuery::from_static("/"), &without);
        assert_eq!(next, Ok(None));
    }
}
