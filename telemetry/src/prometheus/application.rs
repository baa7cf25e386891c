//! The application's own metrics, as far as it has any.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use bytes::Bytes;
use http::uri::PathAndQuery;
use http_body_util::Empty;
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1,
    header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Format;

mod redirect;

/// How many redirects are followed.
const REDIRECTS_MAX: usize = 3;

/// Where the application serves its metrics: `9080/metrics`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    port: u16,
    path: String,
}

/// What is not a port and a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a port and a path, such as 9080/metrics")]
pub struct NotAnApplication;

/// Why the application's metrics could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nobody is there, or it speaks no HTTP.
    Unreachable,
    /// It answers with another status than 200.
    Status,
    /// It leads to anywhere but its own port, or on and on.
    Redirected,
    /// It breaks off.
    Broken,
    /// It says what is no exposition, or has lines that are none of one.
    Malformed,
    /// It says more than it may.
    TooLarge,
    /// It takes too long.
    Late,
}

impl Failure {
    /// As in metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Failure::Unreachable => "unreachable",
            Failure::Status => "status",
            Failure::Redirected => "redirected",
            Failure::Broken => "broken",
            Failure::Malformed => "malformed",
            Failure::TooLarge => "too_large",
            Failure::Late => "late",
        }
    }
}

impl FromStr for Application {
    type Err = NotAnApplication;

    fn from_str(text: &str) -> Result<Self, NotAnApplication> {
        let (port, path) = text.split_once('/').ok_or(NotAnApplication)?;
        let path = format!("/{path}");
        let is_path = path.bytes().all(|byte| byte.is_ascii_graphic());
        match port.parse() {
            Ok(port) if port != 0 && is_path => Ok(Self { port, path }),
            _ => Err(NotAnApplication),
        }
    }
}

impl Application {
    /// Asks it at the pod's own address for this format, with the scraper's own query, and
    /// says in which one it answers. (If it is none of the two, the text will tell.)
    /// Redirects are followed as scrapers do, but never away from the application: the
    /// sidecar is not to be made to ask strangers.
    ///
    /// # Errors
    /// If there is no good answer.
    pub(super) async fn ask(
        &self,
        pod: IpAddr,
        query: Option<&str>,
        wanted: Format,
    ) -> Result<(Format, Incoming), Failure> {
        let addr = SocketAddr::new(pod, self.port);
        let path = self.path_with(query).parse();
        let mut path = path.map_err(|_| Failure::Unreachable)?;
        for _ in 0..=REDIRECTS_MAX {
            let response = get(addr, &path, wanted).await?;
            match redirect::next(addr, &path, &response)? {
                Some(next) => path = next,
                None => return exposition(response),
            }
        }
        Err(Failure::Redirected)
    }

    fn path_with(&self, query: Option<&str>) -> String {
        let path = &self.path;
        match query {
            None | Some("") => path.clone(),
            Some(query) if path.contains('?') => format!("{path}&{query}"),
            Some(query) => format!("{path}?{query}"),
        }
    }
}

/// One request, on a connection of its own.
async fn get(
    addr: SocketAddr,
    path: &PathAndQuery,
    wanted: Format,
) -> Result<Response<Incoming>, Failure> {
    let stream = TcpStream::connect(addr)
        .await
        .map_err(|_| Failure::Unreachable)?;
    let connection = http1::handshake(TokioIo::new(stream)).await;
    let (mut requests, connection) = connection.map_err(|_| Failure::Unreachable)?;
    // It ends with the response.
    tokio::spawn(connection);
    let accept = match wanted {
        Format::Text => "text/plain;version=0.0.4,*/*;q=0.1",
        Format::OpenMetrics => {
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        }
    };
    let request = Request::get(path.clone())
        .header(HOST, addr.to_string())
        .header(ACCEPT, accept)
        .header(USER_AGENT, "netting-sidecar")
        .body(Empty::<Bytes>::new())
        .map_err(|_| Failure::Unreachable)?;
    let response = requests.send_request(request).await;
    response.map_err(|_| Failure::Broken)
}

fn exposition(response: Response<Incoming>) -> Result<(Format, Incoming), Failure> {
    if response.status() != StatusCode::OK {
        return Err(Failure::Status);
    }
    let kind = response.headers().get(CONTENT_TYPE);
    let kind = kind.map_or(&b""[..], |kind| kind.as_bytes());
    let format = if kind.starts_with(b"application/openmetrics-text") {
        Format::OpenMetrics
    } else {
        Format::Text
    };
    Ok((format, response.into_body()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_port_and_a_path() {
        for text in [
            "",
            "9080",
            "/metrics",
            "0/metrics",
            "99999/",
            "x/metrics",
            "80/a b",
            "80/\n",
        ] {
            assert_eq!(
                text.parse::<Application>(),
                Err(NotAnApplication),
                "{text:?}"
            );
        }
        let application: Application = "9080/metrics?a=b".parse().expect("both are there");
        assert_eq!(
            (application.port, application.path.as_str()),
            (9080, "/metrics?a=b")
        );
    }

    #[test]
    fn what_the_scraper_asks_for_goes_behind_the_path() {
        for (path, query, expected) in [
            ("metrics", None, "/metrics"),
            ("metrics", Some(""), "/metrics"),
            ("metrics", Some("a=b%20c&d"), "/metrics?a=b%20c&d"),
            ("metrics?a=b", None, "/metrics?a=b"),
            ("metrics?a=b", Some("c=d"), "/metrics?a=b&c=d"),
        ] {
            let application: Application = format!("9080/{path}").parse().expect("it is one");
            assert_eq!(application.path_with(query), expected);
        }
    }
}
