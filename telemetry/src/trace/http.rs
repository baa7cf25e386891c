//! How a request is told, by OpenTelemetry's conventions
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>,
//! <https://opentelemetry.io/docs/specs/semconv/rpc/grpc/>).

use std::net::SocketAddr;

use super::{
    Begun, Span, cut,
    span::{Attribute, Kind, Value},
};
use crate::{
    connections::Direction,
    requests::{Ended, Method, grpc},
};

/// A request that has ended, or one try of it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// Which way it went.
    pub direction: Direction,
    /// What its instruments are told.
    pub ended: &'r Ended<'r>,
    /// The method, as the client wrote it.
    pub method: &'r str,
    /// The path, without its query, which may hold what is nobody's business.
    pub path: &'r str,
    /// `Host` or `:authority`, perhaps with a port.
    pub authority: Option<&'r str>,
    /// `User-Agent`
    pub user_agent: Option<&'r str>,
    /// Who asked.
    pub client: SocketAddr,
    /// Who answered, or was asked last.
    pub upstream: Option<SocketAddr>,
    /// How often it had been sent before.
    pub resent: u32,
    /// Why the sidecar answered itself or broke off, if it did.
    pub reason: Option<&'static str>,
}

/// The attributes of a span, as they come.
struct Attributes(Vec<Attribute>);

impl Attributes {
    fn add(&mut self, key: &'static str, value: impl Into<Value>) {
        let value = value.into();
        self.0.push(Attribute { key, value });
    }

    fn text(&mut self, key: &'static str, text: &str) {
        self.add(key, cut(text).to_owned());
    }
}

impl Request<'_> {
    /// Its span, which ends now.
    #[must_use]
    pub fn span(&self, begun: Begun) -> Span {
        let (kind, remote) = match self.direction {
            Direction::Inbound => (Kind::Server, Some(self.client)),
            Direction::Outbound => (Kind::Client, self.upstream),
        };
        let error = self.error();
        let mut attributes = Attributes(Vec::with_capacity(16));
        self.message(&mut attributes, kind);
        self.call(&mut attributes);
        if let Some(peer) = remote {
            attributes.add("network.peer.address", peer.ip().to_canonical().to_string());
            attributes.add("network.peer.port", peer.port());
        }
        if let Some(error) = &error {
            attributes.add("error.type", error.clone());
        }
        if let Some(reason) = self.reason {
            attributes.add("netting.reason", reason);
        }
        if self.resent > 0 && kind == Kind::Client {
            attributes.add("http.request.resend_count", self.resent);
        }
        Span {
            trace: begun.trace,
            id: begun.span,
            parent: begun.parent,
            kind,
            name: self.name().into(),
            begun: begun.at,
            took: begun.took(),
            state: begun.state,
            remote,
            attributes: attributes.0,
            // Where the status code says it, the description is to be left out.
            failed: error.map(|_| self.reason.unwrap_or_default()),
        }
    }

    /// A path is none of few: what could be told of it is the application's to know. The
    /// method of a call is, and is what it is named by.
    fn name(&self) -> String {
        match (&self.ended.call, self.ended.method) {
            (Some(call), _) => cut(call.path.trim_start_matches('/')).to_owned(),
            (None, Method::Other) => "HTTP".to_owned(),
            (None, method) => method.as_str().to_owned(),
        }
    }

    fn message(&self, attributes: &mut Attributes, kind: Kind) {
        attributes.add("http.request.method", self.ended.method.as_str());
        if self.ended.method == Method::Other {
            attributes.text("http.request.method_original", self.method);
        }
        attributes.add("network.protocol.version", self.ended.version.as_str());
        attributes.add("url.scheme", "http");
        attributes.text("url.path", self.path);
        if let Some(status) = self.ended.status {
            attributes.add("http.response.status_code", status);
        }
        if let Some(authority) = self.authority.filter(|authority| !authority.is_empty()) {
            let (host, port) = host_and_port(authority);
            attributes.text("server.address", host);
            attributes.add("server.port", port);
            if kind == Kind::Client {
                attributes.add(
                    "url.full",
                    format!("http://{}{}", cut(authority), cut(self.path)),
                );
            }
        }
        if kind == Kind::Server {
            attributes.add(
                "client.address",
                self.client.ip().to_canonical().to_string(),
            );
            if let Some(user_agent) = self.user_agent {
                attributes.text("user_agent.original", user_agent);
            }
        }
    }

    fn call(&self, attributes: &mut Attributes) {
        let Some(call) = &self.ended.call else {
            return;
        };
        attributes.add("rpc.system.name", "grpc");
        attributes.text("rpc.method", call.path.trim_start_matches('/'));
        if let Some(status) = call.status {
            attributes.add("rpc.response.status_code", grpc::name(status));
        }
    }

    /// To who asks, each status from 400 on is a failure; to who is asked, only what is
    /// not the client's doing.
    fn error(&self) -> Option<String> {
        if let Some(reason) = self.reason {
            return Some(reason.to_owned());
        }
        let name = self.ended.call.and_then(|call| call.status).map(grpc::name);
        if let Some(name) = name.filter(|name| grpc::is_failure(name, self.direction)) {
            return Some(name.to_owned());
        }
        let failures_from = match self.direction {
            Direction::Inbound => 500,
            Direction::Outbound => 400,
        };
        let status = self.ended.status;
        let status = status.filter(|status| *status >= failures_from);
        status.map(|status| status.to_string())
    }
}

/// An authority without a port is for the scheme's own.
pub(crate) fn host_and_port(authority: &str) -> (&str, u16) {
    let end_of_host = authority.rfind(']').map_or(0, |at| at + 1);
    let colon = authority[end_of_host..]
        .rfind(':')
        .map(|at| end_of_host + at);
    let (host, port) = match colon {
        Some(colon) => (&authority[..colon], authority[colon + 1..].parse().ok()),
        None => (authority, None),
    };
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    (host, port.unwrap_or(80))
}

#[cfg(test)]
mod tests;
