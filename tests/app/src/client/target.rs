//! What a URL or `HOST:PORT` names. IPv6 literals stand in brackets (RFC 3986 section 3.2.2).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use hyper::Uri;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};

/// Where `http://` URLs without a port lead.
const HTTP_PORT: u16 = 80;

/// Why a text is no target.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not `HOST:PORT`.
    #[error("expected HOST:PORT, such as echo.demo:9000 or [::1]:9000")]
    NoHostAndPort,
    /// Not a URL with a scheme and a host.
    #[error("expected a URL, such as http://echo.demo:8080/ or http://[::1]:8080/")]
    NoUrl,
    /// The application has no TLS: the mesh brings it.
    #[error("only http:// URLs are supported, not {0}://")]
    Scheme(String),
}

/// A host, by name or address, and a TCP port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Whom to connect to.
    pub host: Host,
    /// At which TCP port.
    pub port: u16,
}

/// A host as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A literal address, which needs no name server.
    Address(IpAddr),
    /// A name to look up.
    Name(String),
}

impl Target {
    fn of(authority: &Authority, default_port: Option<u16>) -> Option<Self> {
        let (host, rest) = authority
            .as_str()
            .split_at_checked(authority.host().len())?;
        let port = match rest {
            "" => default_port,
            _ => rest.strip_prefix(':')?.parse().ok(),
        }?;
        let host = match host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
        {
            Some(ipv6) => Host::Address(IpAddr::V6(ipv6.parse().ok()?)),
            None if host.is_empty() => return None,
            None => match host.parse() {
                Ok(ipv4) => Host::Address(IpAddr::V4(ipv4)),
                Err(_) => Host::Name(host.to_owned()),
            },
        };
        Some(Self { host, port })
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse()
            .ok()
            .and_then(|authority| Self::of(&authority, None))
            .ok_or(TargetError::NoHostAndPort)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            Host::Address(IpAddr::V4(ip)) => write!(f, "{ip}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// An `http://` URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl {
    /// Whom to connect to.
    pub target: Target,
    authority: Authority,
    path: PathAndQuery,
}

impl HttpUrl {
    /// The value of the `host` header: as it was written, default ports left out or not.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// The request's target in origin form (RFC 9112 section 3.2.1).
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.as_str()
    }
}

impl FromStr for HttpUrl {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text
            .parse::<Uri>()
            .map_err(|_| TargetError::NoUrl)?
            .into_parts();
        match parts.scheme {
            Some(scheme) if scheme == Scheme::HTTP => {}
            Some(scheme) => return Err(TargetError::Scheme(scheme.to_string())),
            None => return Err(TargetError::NoUrl),
        }
        let authority = parts.authority.ok_or(TargetError::NoUrl)?;
        let target = Target::of(&authority, Some(HTTP_PORT)).ok_or(TargetError::NoUrl)?;
        let path = parts
            .path_and_query
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Self {
            target,
            authority,
            path,
        })
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> HttpUrl {
        text.parse().expect("a good URL")
    }

    #[test]
    fn refuses_targets_without_host_or_port() {
        for text in [
            "",
            "echo",
            "echo:",
            ":80",
            "echo:99999",
            "::1:80",
            "[::1]",
            "me@echo:80",
            "[x]y:80",
        ] {
            assert_eq!(
                text.parse::<Target>(),
                Err(TargetError::NoHostAndPort),
                "{text:?}"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_http_url() {
        for text in [
            "",
            "echo",
            "/path",
            "http://",
            "http:///x",
            "http://echo:x/",
            "http://a@b/",
        ] {
            assert_eq!(text.parse::<HttpUrl>(), Err(TargetError::NoUrl), "{text:?}");
        }
        assert_eq!(
            "https://echo/".parse::<HttpUrl>(),
            Err(TargetError::Scheme("https".to_owned()))
        );
    }

    #[test]
    fn reads_ipv6_literals_with_and_without_a_port() {
        let ip = Host::Address("fd00::7".parse().expect("an address"));
        let plain = url("http://[fd00::7]");
        assert_eq!((&plain.target.host, plain.target.port), (&ip, 80));
        assert_eq!((plain.authority(), plain.path()), ("[fd00::7]", "/"));
        let target: Target = "[fd00::7]:9000".parse().expect("a good target");
        assert_eq!((&target.host, target.port), (&ip, 9000));
        assert_eq!(target.to_string(), "[fd00::7]:9000");
    }

    #[test]
    fn keeps_path_and_query_as_written() {
        let url = url("http://echo.demo:8080/a%20b?x=1&y");
        assert_eq!(url.target.host, Host::Name("echo.demo".to_owned()));
        assert_eq!(url.path(), "/a%20b?x=1&y");
        assert_eq!(url.to_string(), "http://echo.demo:8080/a%20b?x=1&y");
    }
}
