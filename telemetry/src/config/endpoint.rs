//! Where an exporter sends to.

use std::{fmt, net::Ipv6Addr, path::PathBuf};

use http::uri::PathAndQuery;

/// A host and its port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    /// A name, or an IP address without brackets.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// `http://` or `https://`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Whether by TLS.
    pub tls: bool,
    /// Whom to connect to.
    pub authority: Authority,
    /// What to ask for there.
    pub path: PathAndQuery,
}

impl Url {
    /// With further segments after the path, before the query: `v1/metrics`.
    ///
    /// # Panics
    /// Never: segments of ours are good ones.
    #[must_use]
    pub fn join(&self, segments: &str) -> Self {
        let path = self.path.path().trim_end_matches('/');
        let query = self.path.query().map(|query| format!("?{query}"));
        let joined = format!("{path}/{segments}{}", query.unwrap_or_default());
        let path = joined
            .parse()
            .expect("a good path with plain segments is one");
        Self {
            path,
            ..self.clone()
        }
    }
}

/// Without the query, which may have what is not for everybody's eyes.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path.path())
    }
}

/// Where lines and datagrams go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `udp://host:port`
    Udp(Authority),
    /// `tcp://host:port`
    Tcp(Authority),
    /// `unix:///path`: a datagram socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(authority) => write!(f, "udp://{authority}"),
            Self::Tcp(authority) => write!(f, "tcp://{authority}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// `http(s)://host[:port][/path][?query]`.
pub(super) fn url(text: &str, default_port: Option<u16>) -> Result<Url, String> {
    let (scheme, rest) = text
        .split_once("://")
        .ok_or("is no URL: it begins with neither http:// nor https://")?;
    let tls = match scheme {
        "http" => false,
        "https" => true,
        _ => return Err(format!("has the scheme {scheme}; http or https would do")),
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let default_port = default_port.or(Some(if tls { 443 } else { 80 }));
    let slash = if path.starts_with('/') { "" } else { "/" };
    Ok(Url {
        tls,
        authority: parse_authority(authority, default_port)?,
        path: format!("{slash}{path}")
            .parse()
            .map_err(|_| "has a path with characters that must be percent-encoded")?,
    })
}

/// `udp://`, `tcp://` or `unix://`, those of `schemes`.
pub(super) fn address(text: &str, schemes: &[&str], default_port: u16) -> Result<Address, String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    if !schemes.contains(&scheme) {
        let schemes: Vec<_> = schemes.iter().map(|s| format!("{s}://")).collect();
        return Err(format!("does not begin with {}", schemes.join(" or ")));
    }
    if scheme == "unix" {
        return match rest.starts_with('/') && !rest.contains('\0') {
            true => Ok(Address::Unix(rest.into())),
            false => Err("has no absolute path; write unix:///path".to_owned()),
        };
    }
    let authority = parse_authority(rest.trim_end_matches('/'), Some(default_port))?;
    Ok(match scheme {
        "udp" => Address::Udp(authority),
        _ => Address::Tcp(authority),
    })
}

fn parse_authority(text: &str, default_port: Option<u16>) -> Result<Authority, String> {
    if text.contains('@') {
        return Err("has a user in its URL; use the options user and password".to_owned());
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("has a [ without a ]")?;
            host.parse::<Ipv6Addr>()
                .map_err(|_| format!("has [{host}], which is no IPv6 address"))?;
            (host, port.strip_prefix(':'))
        }
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let bracketed = text.starts_with('[');
    if host.is_empty() || !(bracketed || host.chars().all(fits)) {
        return Err(format!("has no host that could be looked up: \"{host}\""));
    }
    let port = match port {
        None => default_port.ok_or("has no port")?,
        Some(port) => match port.parse() {
            Ok(port) if port != 0 => port,
            _ => return Err(format!("has \"{port}\" for a port")),
        },
    };
    Ok(Authority {
        host: host.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_urls_say_what_is_wrong() {
        for (text, why) in [
            ("collector:4317", "is no URL"),
            ("grpc://a", "has the scheme grpc"),
            ("http://", "has no host"),
            ("http://:80", "has no host"),
            ("http://a:0", "has \"0\" for a port"),
            ("http://a:http", "has \"http\" for a port"),
            ("http://a b", "has no host"),
            ("http://fd00::1:80", "has no host"),
            ("http://u:p@a", "user and password"),
            ("http://[::1", "has a [ without"),
            ("http://[a]", "no IPv6 address"),
            ("http://a/x y", "percent-encoded"),
        ] {
            let error = url(text, None).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn bad_addresses_say_what_is_wrong() {
        for (text, why) in [
            ("a:8125", "does not begin with udp:// or unix://"),
            ("tcp://a:8125", "does not begin with udp:// or unix://"),
            ("unix://run/x", "unix:///path"),
            ("udp://", "has no host"),
        ] {
            let error = address(text, &["udp", "unix"], 8125).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn both_families_and_default_ports_are_understood() {
        let authority = |text| url(text, Some(4317)).expect(text).authority.to_string();
        assert_eq!(authority("http://a"), "a:4317");
        assert_eq!(authority("http://[fd00::1]"), "[fd00::1]:4317");
        assert_eq!(authority("http://[fd00::1]:80/x"), "[fd00::1]:80");
        assert_eq!(
            url("https://a", None).map(|url| url.authority.port),
            Ok(443)
        );
        let unix = address("unix:///var/run/dsd.socket", &["unix"], 1).expect("a path");
        assert_eq!(unix.to_string(), "unix:///var/run/dsd.socket");
    }

    #[test]
    fn segments_go_between_path_and_query() {
        let joined = |text| url(text, None).expect(text).join("v1/metrics").path;
        assert_eq!(joined("http://a"), "/v1/metrics");
        assert_eq!(joined("http://a/otlp/?x=y"), "/otlp/v1/metrics?x=y");
    }
}
