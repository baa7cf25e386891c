//! One handler, read as the kubelet would: what it asks, or why it stays as it is.

use std::str::FromStr as _;

use http::{HeaderName, HeaderValue, uri::PathAndQuery};
use serde_json::{Map, Value, json};

use crate::{names, pod::Container};

use super::place::Place;

type Object = Map<String, Value>;

/// Request headers that say nothing that only the kubelet would know.
const PUBLIC_HEADERS: [&str; 8] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connection",
    "content-type",
    "host",
    "user-agent",
];

/// The kinds of handler that a sidecar can ask. (`exec` runs in the container.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Http,
    Tcp,
    Grpc,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Http, Self::Tcp, Self::Grpc];

    /// The handler's field.
    pub(super) fn field(self) -> &'static str {
        match self {
            Self::Http => "httpGet",
            Self::Tcp => "tcpSocket",
            Self::Grpc => "grpc",
        }
    }

    /// The members that Kubernetes has in it. One that this build doesn't know would
    /// change the question in a way that it can't.
    fn members(self) -> &'static [&'static str] {
        match self {
            Self::Http => &["host", "httpHeaders", "path", "port", "scheme"],
            Self::Tcp => &["host", "port"],
            Self::Grpc => &["port", "service"],
        }
    }
}

/// What the application is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) kind: Kind,
    /// The handler as its author wrote it.
    pub(super) original: &'a Object,
    /// The number of its port.
    pub(super) port: u16,
    /// How long the kubelet waits; nothing for hooks.
    timeout_seconds: Option<&'a Value>,
}

/// Why a handler stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// The kubelet's question reaches the application anyway, or whom it means.
    Direct,
    /// It is none that the API server would take, which says so itself.
    Unreadable,
    /// Its port's name is not one of its container's ports.
    NoSuchPort,
    /// It asks one of the sidecar's ports.
    OwnPort,
    /// Its path or a header needs more than the plain characters of HTTP, which
    /// clients escape differently.
    OddRequest,
    /// It is a hook with something in its request that may be known to the kubelet
    /// alone. Anybody in the cluster's network can ask the sidecar to run a hook.
    MaybeSecret,
    /// It has a member that this build doesn't know.
    UnknownMember,
    /// It is asked while the sidecar doesn't run.
    BeforeTheSidecar,
    /// There are more than the sidecar can be told.
    NoRoom,
}

impl Left {
    /// What to tell the pod's author, if anything is wrong with that.
    pub(super) fn warning(self) -> Option<&'static str> {
        match self {
            Self::Direct | Self::Unreadable => None,
            Self::NoSuchPort => Some("its container has no port of that name"),
            Self::OwnPort => Some("its port is the sidecar's"),
            Self::OddRequest => Some("its path or headers have unusual characters"),
            Self::MaybeSecret => Some(
                "its headers or its query may be credentials, with which anybody could have \
                 the sidecar run it",
            ),
            Self::UnknownMember => Some("it has a field that this version doesn't know"),
            Self::BeforeTheSidecar => Some("netting-sidecar starts later"),
            Self::NoRoom => Some("the pod has too many probes"),
        }
    }
}

impl<'a> Question<'a> {
    /// # Errors
    /// If the handler stays as it is.
    pub(super) fn read(
        container: Container<'a>,
        place: Place,
        handler: &'a Object,
        rewrite_http: bool,
    ) -> Result<Self, Left> {
        let is_there = |kind: &Kind| handler.get(kind.field()).is_some_and(|it| !it.is_null());
        let mut kinds = Kind::ALL.into_iter().filter(is_there);
        let (Some(kind), None) = (kinds.next(), kinds.next()) else {
            return Err(if handler.contains_key("exec") {
                Left::Direct
            } else {
                Left::Unreadable
            });
        };
        match kind {
            // Passed on as it comes, the application answers it.
            Kind::Http if !rewrite_http => return Err(Left::Direct),
            // Kubernetes has them for compatibility, and never runs them.
            Kind::Tcp | Kind::Grpc if place.is_hook() => return Err(Left::Direct),
            Kind::Http | Kind::Tcp | Kind::Grpc => {}
        }
        let original = handler[kind.field()].as_object().ok_or(Left::Unreadable)?;
        if !original
            .keys()
            .all(|member| kind.members().contains(&member.as_str()))
        {
            return Err(Left::UnknownMember);
        }
        // With a host it asks somebody else: 127.0.0.1 is the node, for the kubelet.
        match original.get("host") {
            None | Some(Value::Null) => {}
            Some(Value::String(host)) if host.is_empty() => {}
            Some(_) => return Err(Left::Direct),
        }
        match kind {
            Kind::Http => {
                plain_request(original)?;
                if place.is_hook() && may_be_secret(original) {
                    return Err(Left::MaybeSecret);
                }
            }
            Kind::Grpc => {
                text(original, "service")?;
            }
            Kind::Tcp => {}
        }
        let timeout_seconds = handler.get("timeoutSeconds");
        Ok(Self {
            kind,
            original,
            port: port(container, kind, original)?,
            timeout_seconds: timeout(place, timeout_seconds)?,
        })
    }

    /// As the sidecar reads it.
    pub(super) fn written(&self) -> Value {
        let mut written = json!({self.kind.field(): self.original, "port": self.port});
        if let Some(seconds) = self.timeout_seconds {
            written["timeoutSeconds"] = seconds.clone();
        }
        written
    }
}

/// The handler that was written down, and its field.
pub(super) fn original(written: &Value) -> Option<(&'static str, &Value)> {
    Kind::ALL
        .into_iter()
        .find_map(|kind| Some((kind.field(), written.get(kind.field())?)))
}

/// The kubelet finds a port's name among its own container's ports, whatever their
/// protocol (kubernetes/kubernetes, `pkg/probe/util.go`).
fn port(container: Container<'_>, kind: Kind, original: &Object) -> Result<u16, Left> {
    let number = match original.get("port") {
        Some(Value::String(name)) if kind != Kind::Grpc => {
            let ports = container.get("ports").and_then(Value::as_array);
            let mut ports = ports.into_iter().flatten();
            let named = ports.find(|port| port["name"] == name.as_str());
            named.ok_or(Left::NoSuchPort)?.get("containerPort")
        }
        port => port,
    };
    let number = number
        .and_then(Value::as_u64)
        .and_then(|port| u16::try_from(port).ok());
    match number.filter(|port| *port > 0).ok_or(Left::Unreadable)? {
        names::OUTBOUND_PORT | names::INBOUND_PORT | names::ADMIN_PORT => Err(Left::OwnPort),
        port => Ok(port),
    }
}

/// # Errors
/// If it is none that the API server would take.
pub(super) fn timeout(place: Place, seconds: Option<&Value>) -> Result<Option<&Value>, Left> {
    let seconds = seconds.filter(|seconds| !seconds.is_null() && !place.is_hook());
    let fits = |seconds: &Value| {
        seconds
            .as_u64()
            .is_some_and(|s| (1..=i32::MAX as u64).contains(&s))
    };
    match seconds {
        Some(seconds) if !fits(seconds) => Err(Left::Unreadable),
        seconds => Ok(seconds),
    }
}

/// A member that is text, or not there.
fn text<'a>(object: &'a Object, member: &str) -> Result<&'a str, Left> {
    match object.get(member) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Left::Unreadable),
    }
}

/// Whether the sidecar sends this request exactly as the kubelet does.
fn plain_request(get: &Object) -> Result<(), Left> {
    if !["", "HTTP", "HTTPS"].contains(&text(get, "scheme")?) {
        return Err(Left::Unreadable);
    }
    if !is_plain_path(text(get, "path")?) {
        return Err(Left::OddRequest);
    }
    let headers = match get.get("httpHeaders") {
        None | Some(Value::Null) => return Ok(()),
        Some(headers) => headers.as_array().ok_or(Left::Unreadable)?,
    };
    for header in headers {
        let header = header.as_object().ok_or(Left::Unreadable)?;
        if header
            .keys()
            .any(|member| member != "name" && member != "value")
        {
            return Err(Left::UnknownMember);
        }
        let name = HeaderName::from_str(text(header, "name")?);
        let value = HeaderValue::from_str(text(header, "value")?);
        if name.is_err() || value.is_err() || !header.contains_key("name") {
            return Err(Left::OddRequest);
        }
    }
    Ok(())
}

/// Whether a request that was read says more than what is asked: `Authorization`, a
/// header of the application's own, a token in the query.
fn may_be_secret(get: &Object) -> bool {
    let is_public = |header: &Value| {
        let name = header["name"].as_str().unwrap_or_default();
        PUBLIC_HEADERS
            .iter()
            .any(|public| name.eq_ignore_ascii_case(public))
    };
    let headers = get.get("httpHeaders").and_then(Value::as_array);
    let path = get.get("path").and_then(Value::as_str).unwrap_or_default();
    path.contains('?') || !headers.into_iter().flatten().all(is_public)
}

/// Go escapes what is none of these in its own way, takes a path that begins with
/// `//` for a host, one with a colon in front of any slash for a URL, and cuts
/// fragments off.
fn is_plain_path(path: &str) -> bool {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/[]%".contains(&c);
    let is_escape = |after: &str| {
        let digits = after.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let first_segment = path.split('/').next().unwrap_or_default();
    !path.starts_with("//")
        && !first_segment.contains(':')
        && path.bytes().all(is_plain)
        && path.split('%').skip(1).all(is_escape)
        && query.bytes().all(|c| c.is_ascii_graphic() && c != b'#')
        && PathAndQuery::from_str(&format!("/{path}?{query}")).is_ok()
}
