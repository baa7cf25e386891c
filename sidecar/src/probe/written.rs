//! Probes as the webhook writes them, and how they become ones that can be asked.
//!
//! The value of `NETTING_PROBES` is a JSON object. Its keys are the paths at which
//! the kubelet asks; each value has the handler as the pod's author wrote it, the
//! port's number (the handler may name it) and, for probes, `timeoutSeconds`:
//!
//! ```json
//! {"/probe/web/liveness": {"tcpSocket": {"port": "http"}, "port": 8080, "timeoutSeconds": 1}}
//! ```

use std::{
    collections::HashMap,
    num::{NonZeroU16, NonZeroU32},
    str::FromStr,
    time::Duration,
};

use axum::http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, CONTENT_LENGTH, HOST, TRAILER, TRANSFER_ENCODING, USER_AGENT},
    uri::PathAndQuery,
};
use serde::Deserialize;
use serde_json::Value;

use super::{HttpGet, Occasion, Probe, Probes, Question, Scheme};

/// The sidecar answers this much before the kubelet stops waiting, so that it is the
/// one to say what was wrong.
const TIMEOUT_MARGIN: Duration = Duration::from_millis(50);
/// The kubelet waits for a hook as long as it takes, or the pod's grace period; it
/// hangs up then, and the sidecar with it.
const HOOK_TIME_MAX: Duration = Duration::from_secs(60 * 60);
/// What Kubernetes takes where a probe says nothing.
const TIMEOUT_DEFAULT: NonZeroU32 = NonZeroU32::MIN;
/// Of several, the kubelet sends the first.
const SINGLE: [HeaderName; 2] = [HOST, USER_AGENT];
/// What delimits a message is for the HTTP library to say, not for a probe's headers.
const FRAMING: [HeaderName; 4] = [CONNECTION, CONTENT_LENGTH, TRAILER, TRANSFER_ENCODING];

/// Why a value is not one of `NETTING_PROBES`.
#[derive(Debug, thiserror::Error)]
pub enum NotProbes {
    /// It is no JSON, or JSON of another shape.
    #[error("it is not what the webhook writes; is the webhook of another version?")]
    Shape(#[from] serde_json::Error),
    /// One of its probes can't be asked.
    #[error("the probe at {path:?} has {what}")]
    Probe {
        /// Where the kubelet would ask it.
        path: String,
        /// What is wrong with it.
        what: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    http_get: Option<WrittenHttpGet>,
    tcp_socket: Option<WrittenTcpSocket>,
    grpc: Option<WrittenGrpc>,
    port: NonZeroU16,
    timeout_seconds: Option<NonZeroU32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenHttpGet {
    path: Option<String>,
    /// A name or a number, as the author wrote it.
    #[serde(rename = "port")]
    _port: Value,
    scheme: Option<String>,
    host: Option<String>,
    http_headers: Option<Vec<WrittenHeader>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenHeader {
    name: String,
    value: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTcpSocket {
    #[serde(rename = "port")]
    _port: Value,
    host: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenGrpc {
    #[serde(rename = "port")]
    _port: Value,
    service: Option<String>,
}

impl FromStr for Probes {
    type Err = NotProbes;

    fn from_str(text: &str) -> Result<Self, NotProbes> {
        let written: HashMap<String, Written> = serde_json::from_str(text)?;
        let probes = written.into_iter().map(|(path, written)| {
            let probe = match occasion(&path) {
                Some(occasion) => probe(occasion, written),
                None => Err("a path that is not /probe/CONTAINER/PROBE"),
            };
            match probe {
                Ok(probe) => Ok((path, probe)),
                Err(what) => Err(NotProbes::Probe { path, what }),
            }
        });
        probes.collect::<Result<_, _>>().map(Self)
    }
}

fn occasion(path: &str) -> Option<Occasion> {
    let (container, occasion) = path.strip_prefix("/probe/")?.split_once('/')?;
    let is_name = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if container.is_empty() || !container.bytes().all(is_name) {
        return None;
    }
    Occasion::ALL
        .into_iter()
        .find(|known| known.as_str() == occasion)
}

fn probe(occasion: Occasion, written: Written) -> Result<Probe, &'static str> {
    let question = match (written.http_get, written.tcp_socket, written.grpc) {
        (Some(http_get), None, None) => Question::Http(http_get.parse()?),
        (None, Some(tcp_socket), None) => {
            not_elsewhere(tcp_socket.host.as_deref())?;
            Question::Tcp
        }
        (None, None, Some(grpc)) => Question::Grpc {
            service: grpc.service.unwrap_or_default(),
        },
        _ => return Err("not one handler of httpGet, tcpSocket and grpc"),
    };
    if occasion.is_hook() && !matches!(question, Question::Http(_)) {
        return Err("a hook that Kubernetes does not run");
    }
    let seconds = written.timeout_seconds.unwrap_or(TIMEOUT_DEFAULT).get();
    let timeout = if occasion.is_hook() {
        HOOK_TIME_MAX
    } else {
        Duration::from_secs(seconds.into()) - TIMEOUT_MARGIN
    };
    Ok(Probe {
        occasion,
        port: written.port,
        timeout,
        question,
    })
}

/// A probe with a host of its own is none of this pod.
fn not_elsewhere(host: Option<&str>) -> Result<(), &'static str> {
    match host {
        None | Some("") => Ok(()),
        Some(_) => Err("a host"),
    }
}

impl WrittenHttpGet {
    fn parse(self) -> Result<HttpGet, &'static str> {
        not_elsewhere(self.host.as_deref())?;
        let scheme = match self.scheme.as_deref() {
            None | Some("" | "HTTP") => Scheme::Http,
            Some("HTTPS") => Scheme::Https,
            Some(_) => return Err("a scheme that is neither HTTP nor HTTPS"),
        };
        let mut path = self.path.unwrap_or_default();
        if !path.starts_with('/') {
            path.insert(0, '/');
        }
        let path = PathAndQuery::try_from(path).map_err(|_| "a path that is not one of HTTP")?;
        let mut headers = HeaderMap::new();
        for WrittenHeader { name, value } in self.http_headers.unwrap_or_default() {
            let wrong = "a header that is not one of HTTP";
            let name = HeaderName::try_from(name).map_err(|_| wrong)?;
            let value = value.unwrap_or_default();
            let value = HeaderValue::try_from(value).map_err(|_| wrong)?;
            let again = SINGLE.contains(&name) && headers.contains_key(&name);
            if !again && !FRAMING.contains(&name) {
                headers.append(name, value);
            }
        }
        Ok(HttpGet {
            scheme,
            path,
            headers,
        })
    }
}

#[cfg(test)]
mod tests;
