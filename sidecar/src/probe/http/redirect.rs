//! Where a response leads: redirects are followed within the pod's address, as the
//! kubelet follows them within the host that it probes.

use axum::http::{HeaderValue, StatusCode};
use url::{ParseError, Url};

use super::{Failure, Received};

/// What follows a response.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another request to the same host, be it at another port.
    Here {
        url: Url,
        /// Whether the redirect names no scheme.
        relative: bool,
    },
    /// Another host, which is not asked: it says nothing about this one.
    Elsewhere(HeaderValue),
    /// It is no redirect.
    Nowhere,
}

/// # Errors
/// If the redirect can't be read.
pub(super) fn next(received: &Received, url: &Url) -> Result<Next, Failure> {
    let redirects = matches!(
        received.status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let location = received.location.as_ref();
    let Some(location) = location.filter(|location| redirects && !location.is_empty()) else {
        return Ok(Next::Nowhere);
    };
    let no_url = || Failure::Redirect(String::from_utf8_lossy(location.as_bytes()).into_owned());
    let text = std::str::from_utf8(location.as_bytes()).map_err(|_| no_url())?;
    let next = url.join(text).map_err(|_| no_url())?;
    if next.host() != url.host() {
        return Ok(Next::Elsewhere(location.clone()));
    }
    let relative = Url::parse(text) == Err(ParseError::RelativeUrlWithoutBase);
    Ok(Next::Here {
        url: next,
        relative,
    })
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;

    use super::*;

    fn after(status: u16, location: Option<&str>) -> Result<Next, Failure> {
        let received = Received {
            status: StatusCode::from_u16(status).expect("it is a status"),
            location: location.map(|text| text.parse().expect("it is a header")),
            body: Bytes::new(),
        };
        let url = Url::parse("http://10.0.0.2:8080/a/b?c=d").expect("it is a URL");
        next(&received, &url)
    }

    #[test]
    fn refuses_a_location_that_is_no_url() {
        for location in ["http://[::1", "http://10.0.0.2:99999/", "//"] {
            let next = after(302, Some(location));
            assert!(matches!(next, Err(Failure::Redirect(_))), "{next:?}");
        }
    }

    #[test]
    fn another_host_is_not_asked() {
        for location in [
            "http://10.0.0.3:8080/",
            "https://web.example/ready",
            "//web.example/",
            "http://127.0.0.1:8080/",
            "http://localhost:8080/",
            "http://[::1]:8080/",
            "mailto:root",
        ] {
            let next = after(302, Some(location)).expect("it is a URL");
            assert_eq!(next, Next::Elsewhere(location.parse().expect("a header")));
        }
    }

    #[test]
    fn the_same_host_is_asked_at_any_port() {
        for (location, url, relative) in [
            ("/ready", "http://10.0.0.2:8080/ready", true),
            ("../x", "http://10.0.0.2:8080/x", true),
            ("?e", "http://10.0.0.2:8080/a/b?e", true),
            ("//10.0.0.2:9090/", "http://10.0.0.2:9090/", true),
            ("http://10.0.0.2:9090/", "http://10.0.0.2:9090/", false),
            ("https://10.0.0.2/x#y", "https://10.0.0.2/x#y", false),
        ] {
            let url = Url::parse(url).expect("it is a URL");
            let next = after(307, Some(location)).expect("it is a URL");
            assert_eq!(next, Next::Here { url, relative }, "{location}");
        }
    }

    #[test]
    fn what_is_no_redirect_leads_nowhere() {
        for (status, location) in [
            (200, Some("/")),
            (304, Some("/")),
            (302, None),
            (302, Some("")),
        ] {
            let next = after(status, location).expect("there is nothing to read");
            assert_eq!(next, Next::Nowhere);
        }
    }
}
