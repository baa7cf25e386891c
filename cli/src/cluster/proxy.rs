//! The proxy on the way to the API server, chosen as kubectl does: what the kubeconfig
//! names, or else the environment, but for servers that NO_PROXY names.

use std::{fmt, net::IpAddr};

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use ipnet::IpNet;

mod client;

pub(super) use client::client;

/// A proxy, and who says so. What is printed of it is without its password.
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    intercept: Intercept,
    named_by: String,
}

/// Who names a proxy that none can be; the value may have a password, and isn't told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoProxyUrl(pub(super) String);

impl Proxy {
    /// The proxy to reach `server` by. One of the kubeconfig's own is used whatever the
    /// environment says.
    ///
    /// # Errors
    /// If what names it is no URL of a proxy.
    pub(super) fn before(
        server: &Uri,
        in_kubeconfig: Option<&str>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, NoProxyUrl> {
        if let Some(url) = in_kubeconfig.filter(|url| !url.is_empty()) {
            return Self::parse(url, "the kubeconfig's proxy-url").map(Some);
        }
        let first = |names: [&'static str; 2]| {
            let set = names.map(|name| (name, variable(name).unwrap_or_default()));
            set.into_iter().find(|(_, value)| !value.is_empty())
        };
        let by_scheme = match server.scheme_str() {
            Some("http") => ["HTTP_PROXY", "http_proxy"],
            _ => ["HTTPS_PROXY", "https_proxy"],
        };
        let Some((name, url)) = first(by_scheme) else {
            return Ok(None);
        };
        let excepted = first(["NO_PROXY", "no_proxy"]);
        if is_here(server) || excepted.is_some_and(|(_, list)| is_excepted(server, &list)) {
            return Ok(None);
        }
        Self::parse(&url, name).map(Some)
    }

    fn parse(url: &str, named_by: &str) -> Result<Self, NoProxyUrl> {
        // Any server will do: it is the proxy alone that is asked for.
        let server = Uri::from_static("https://kubernetes");
        let proxy = Matcher::builder().all(url).build().intercept(&server);
        let usable = |proxy: &Intercept| {
            let scheme = proxy.uri().scheme_str();
            matches!(scheme, Some("http" | "https" | "socks5" | "socks5h"))
        };
        match proxy.filter(usable) {
            Some(intercept) => Ok(Self {
                intercept,
                named_by: named_by.to_owned(),
            }),
            None => Err(NoProxyUrl(named_by.to_owned())),
        }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The user and the password are no longer in this URI.
        write!(f, "{} of {}", self.intercept.uri(), self.named_by)
    }
}

/// This machine's own servers, such as kind's, are never behind a proxy.
fn is_here(server: &Uri) -> bool {
    let host = host(server);
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

fn host(server: &Uri) -> String {
    let host = server.host().unwrap_or_default().to_ascii_lowercase();
    host.trim_matches(['[', ']']).to_owned()
}

/// Whether NO_PROXY names a server, by the rules that Go's programs share:
/// <https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config>
fn is_excepted(server: &Uri, list: &str) -> bool {
    let host = host(server);
    let ip: Option<IpAddr> = host.parse().ok();
    let port = server.port_u16().unwrap_or(match server.scheme_str() {
        Some("http") => 80,
        _ => 443,
    });
    let entries = list
        .split(',')
        .map(|entry| entry.trim().to_ascii_lowercase());
    entries.filter(|entry| !entry.is_empty()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let Ok(network) = entry.parse::<IpNet>() {
            return ip.is_some_and(|ip| network.contains(&ip));
        }
        let (name, wanted_port) = split_port(&entry);
        if wanted_port.is_some_and(|wanted| wanted != port) {
            return false;
        }
        match name.parse::<IpAddr>() {
            Ok(one) => ip == Some(one),
            Err(_) => is_of_domain(&host, name),
        }
    })
}

/// `example.org:6443`, `[fd00::1]:6443`, or either without its port.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    // An IPv6 address without brackets has colons of its own.
    let split = entry
        .rsplit_once(':')
        .filter(|_| entry.parse::<IpAddr>().is_err());
    let split = split.and_then(|(name, port)| Some((name, port.parse().ok()?)));
    let (name, port) = split.map_or((entry, None), |(name, port)| (name, Some(port)));
    (name.trim_matches(['[', ']']), port)
}

/// `example.org` is itself and all below it, `.example.org` and `*.example.org` only what
/// is below.
fn is_of_domain(host: &str, name: &str) -> bool {
    let name = name.strip_prefix('*').unwrap_or(name);
    match name.strip_prefix('.') {
        Some(_) => host.ends_with(name),
        None => {
            let above = host.strip_suffix(name);
            above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
        }
    }
}

#[cfg(test)]
mod tests;
