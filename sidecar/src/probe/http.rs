//! `httpGet`: the request that the kubelet would have sent, and what it would have
//! made of the answer.

use std::net::SocketAddr;

use axum::{
    body::Bytes,
    http::{
        HeaderMap, HeaderName, HeaderValue,
        header::{ACCEPT, AUTHORIZATION, HOST, REFERER, USER_AGENT},
        uri::PathAndQuery,
    },
};
use url::Url;

use super::{
    Asking, HttpGet, Occasion, Scheme,
    outcome::{Answer, Failure},
    tls,
};

mod exchange;
mod redirect;

use exchange::Received;
use redirect::Next;

/// Requests of one probe, the first included. Go's client, which the kubelet uses,
/// stops there.
const REQUESTS_MAX: usize = 10;
/// Headers that say nothing about who may see the answer.
const PUBLIC_HEADERS: [HeaderName; 3] = [ACCEPT, HOST, USER_AGENT];

/// One request of the chain that redirects make.
struct Hop {
    url: Url,
    scheme: Scheme,
    port: u16,
    /// The `Host` where the probe chooses none.
    authority: String,
    path: PathAndQuery,
    headers: HeaderMap,
}

/// Asks, and follows redirects within the pod's address.
///
/// # Errors
/// If no answer can be had, or the probe is sent in circles.
pub(super) async fn ask(
    get: &HttpGet,
    port: u16,
    occasion: Occasion,
    asking: &Asking,
) -> Result<Answer, Failure> {
    let mut hop = Hop::first(get, port, asking)?;
    for _ in 0..REQUESTS_MAX {
        let received = match hop.send(occasion, asking).await {
            Err(Failure::Tls(error)) if occasion.is_hook() && tls::is_plain_http(&error) => {
                hop.in_plain_text();
                hop.send(occasion, asking).await?
            }
            received => received?,
        };
        match redirect::next(&received, &hop.url)? {
            Next::Here { url, relative } => hop = hop.redirected(url, relative, get)?,
            Next::Elsewhere(location) => return Ok(received.answer(get, Some(location))),
            Next::Nowhere => return Ok(received.answer(get, None)),
        }
    }
    Err(Failure::Redirects)
}

impl Received {
    /// The body goes along only where anybody may see it: the admin port is open to
    /// the whole pod network, and a probe's headers may be what opens the
    /// application's door (a token, a cookie, a key).
    fn answer(self, get: &HttpGet, location: Option<HeaderValue>) -> Answer {
        let public = get.headers.keys().all(|name| PUBLIC_HEADERS.contains(name));
        Answer::Http {
            status: self.status,
            location,
            body: if public { self.body } else { Bytes::new() },
        }
    }
}

impl Hop {
    fn first(get: &HttpGet, port: u16, asking: &Asking) -> Result<Self, Failure> {
        let mut headers = get.headers.clone();
        for (name, value) in [
            (USER_AGENT, asking.user_agent.clone()),
            (ACCEPT, HeaderValue::from_static("*/*")),
        ] {
            let value = headers.entry(&name).or_insert(value);
            // One that the probe has, but empty, takes the header away.
            if value.is_empty() {
                headers.remove(name);
            }
        }
        let authority = SocketAddr::new(asking.pod, port).to_string();
        let url = format!("{}://{authority}{}", get.scheme.as_str(), get.path);
        Ok(Self {
            url: Url::parse(&url).map_err(|_| Failure::Redirect(url))?,
            scheme: get.scheme,
            port,
            authority,
            path: get.path.clone(),
            headers,
        })
    }

    /// The next request. A host that the probe chose is kept only if the redirect
    /// names none.
    fn redirected(mut self, url: Url, relative: bool, get: &HttpGet) -> Result<Self, Failure> {
        let no_request = || Failure::Redirect(url.to_string());
        let scheme = Scheme::of(&url).ok_or_else(no_request)?;
        if !relative {
            self.headers.remove(HOST);
            let host = url.host_str().unwrap_or_default();
            let port = url.port().map(|port| format!(":{port}"));
            self.authority = format!("{host}{}", port.unwrap_or_default());
        }
        if !get.headers.contains_key(REFERER) {
            self.headers.remove(REFERER);
            // What was asked in secret is not told in the open.
            let secret = self.scheme == Scheme::Https && scheme == Scheme::Http;
            let referer = HeaderValue::try_from(self.url.as_str()).ok();
            if let Some(referer) = referer.filter(|_| !secret) {
                self.headers.insert(REFERER, referer);
            }
        }
        let query = url.query().map(|query| format!("?{query}"));
        let path = format!("{}{}", url.path(), query.unwrap_or_default());
        self.path = PathAndQuery::try_from(path).map_err(|_| no_request())?;
        self.port = url.port_or_known_default().ok_or_else(no_request)?;
        self.scheme = scheme;
        self.url = url;
        Ok(self)
    }

    /// The same request without TLS, as the kubelet tries it for hooks: there were
    /// versions of it that took every hook for one of scheme HTTP.
    fn in_plain_text(&mut self) {
        self.scheme = Scheme::Http;
        self.headers.remove(AUTHORIZATION);
    }

    /// One request, on a connection of its own.
    async fn send(&self, occasion: Occasion, asking: &Asking) -> Result<Received, Failure> {
        let stream = asking.connect(self.port).await?;
        match self.scheme {
            Scheme::Http => exchange::http1(stream, self, occasion).await,
            Scheme::Https => {
                let stream = tls::handshake(stream).await?;
                if tls::speaks_h2(&stream) {
                    exchange::http2(stream, self, occasion).await
                } else {
                    exchange::http1(stream, self, occasion).await
                }
            }
        }
    }
}

impl Scheme {
    fn of(url: &Url) -> Option<Self> {
        [Self::Http, Self::Https]
            .into_iter()
            .find(|scheme| scheme.as_str() == url.scheme())
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}
