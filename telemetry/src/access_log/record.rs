//! A line as OTLP has it: with attributes, by OpenTelemetry's conventions.

use std::time::SystemTime;

use super::{
    entry::{Entry, Kind},
    format::Format,
};
use crate::{
    instrument::TraceContext,
    trace::{
        http::host_and_port,
        span::{Attribute, Value},
    },
};

/// What is longer is cut: the length is the client's to choose.
const TEXT_BYTES_MAX: usize = 1024;

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// When it happened.
    pub at: SystemTime,
    /// What it is about.
    pub kind: Kind,
    /// It failed.
    pub failed: bool,
    /// For people.
    pub body: String,
    /// What is known of it.
    pub attributes: Vec<Attribute>,
    /// The trace that it is part of.
    pub trace: Option<TraceContext>,
    /// The trace is kept.
    pub sampled: bool,
}

/// The attributes of a record, as they come.
struct Attributes(Vec<Attribute>);

impl Attributes {
    fn add(&mut self, key: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            let value = value.into();
            self.0.push(Attribute { key, value });
        }
    }

    fn text(&mut self, key: &'static str, bytes: Option<&[u8]>) {
        let cut = |bytes: &[u8]| {
            let cut = &bytes[..bytes.len().min(TEXT_BYTES_MAX)];
            String::from_utf8_lossy(cut).into_owned()
        };
        self.add(key, bytes.map(cut));
    }

    /// As spans have it, so that both are found by the same.
    fn server(&mut self, authority: Option<&[u8]>) {
        let Some(authority) = authority.filter(|authority| !authority.is_empty()) else {
            return;
        };
        let authority = String::from_utf8_lossy(authority);
        let (host, port) = host_and_port(&authority);
        self.text("server.address", Some(host.as_bytes()));
        self.add("server.port", Some(port));
    }

    fn number(&mut self, key: &'static str, number: u64) {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        self.add(key, Some(Value::Number(number)));
    }
}

impl Record {
    /// Of an entry, with a body in this format.
    #[must_use]
    pub fn of(entry: &Entry<'_>, format: &Format) -> Self {
        let mut body = Vec::with_capacity(256);
        format.write(entry, &mut body);
        body.pop();
        Self {
            at: entry.at,
            kind: entry.kind,
            failed: entry.failed,
            body: String::from_utf8_lossy(&body).into_owned(),
            attributes: attributes(entry),
            sampled: entry.sampled,
            trace: entry.trace.map(|(trace, span)| TraceContext {
                trace: trace.bytes(),
                span: span.bytes(),
            }),
        }
    }
}

fn attributes(entry: &Entry<'_>) -> Vec<Attribute> {
    let mut all = Attributes(Vec::with_capacity(20));
    let ip = |addr: std::net::SocketAddr| addr.ip().to_canonical().to_string();
    all.add("netting.direction", Some(entry.direction.as_str()));
    all.add("client.address", Some(ip(entry.client)));
    all.add("client.port", Some(entry.client.port()));
    all.add("destination.address", Some(ip(entry.dst)));
    all.add("destination.port", Some(entry.dst.port()));
    all.add("network.peer.address", entry.upstream.map(ip));
    all.add("network.peer.port", entry.upstream.map(|addr| addr.port()));
    all.add("netting.protocol", Some(entry.protocol));
    all.text("tls.client.server_name", entry.sni.map(str::as_bytes));
    all.text("http.request.method", entry.method);
    all.server(entry.authority);
    all.text("url.path", entry.path);
    all.text("user_agent.original", entry.user_agent);
    all.add("http.response.status_code", entry.status);
    all.add("rpc.response.status_code", entry.grpc_status);
    all.number("netting.sent_bytes", entry.sent);
    all.number("netting.received_bytes", entry.received);
    let micros = u64::try_from(entry.took.as_micros()).unwrap_or(u64::MAX);
    all.number("netting.duration_us", micros);
    let resent = (entry.resent > 0).then_some(entry.resent);
    all.add("http.request.resend_count", resent);
    all.add("netting.reason", entry.reason);
    all.0
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use super::*;
    use crate::connections::Direction;

    fn entry<'e>(path: &'e [u8], authority: Option<&'e [u8]>) -> Entry<'e> {
        let addr = SocketAddr::from(([10, 0, 0, 1], 1));
        Entry {
            kind: Kind::Request,
            at: SystemTime::UNIX_EPOCH,
            direction: Direction::Inbound,
            client: addr,
            dst: addr,
            upstream: None,
            protocol: "http1",
            sni: None,
            method: Some(b"GET"),
            path: Some(path),
            authority,
            user_agent: None,
            status: Some(500),
            grpc_status: None,
            sent: u64::MAX,
            received: 2,
            took: Duration::from_millis(3),
            resent: 0,
            reason: Some("upstream_reset"),
            failed: true,
            trace: None,
            sampled: false,
        }
    }

    fn value(record: &Record, key: &str) -> Option<String> {
        let mut attributes = record.attributes.iter();
        let found = attributes.find(|attribute| attribute.key == key);
        found.map(|attribute| attribute.value.to_string())
    }

    #[test]
    fn what_a_client_chose_is_cut_and_is_text() {
        let format = "%{method} %{status}".parse().expect("it is a format");
        let record = Record::of(&entry(&[0xff; 5000], None), &format);
        let value = |key| value(&record, key);
        assert_eq!(record.body, "GET 500");
        assert_eq!(value("url.path"), Some("\u{fffd}".repeat(TEXT_BYTES_MAX)));
        assert_eq!(value("netting.sent_bytes"), Some(i64::MAX.to_string()));
        assert_eq!(value("netting.duration_us").as_deref(), Some("3000"));
        assert_eq!(value("netting.reason").as_deref(), Some("upstream_reset"));
        assert_eq!(value("network.peer.address"), None);
        assert_eq!(value("http.request.resend_count"), None);
        assert_eq!(value("server.address"), None);
    }

    #[test]
    fn who_was_asked_is_told_as_spans_have_it() {
        let format = "%{authority}".parse().expect("it is a format");
        for (authority, address, port) in [
            ("web.shop:8080", "web.shop", "8080"),
            ("web.shop", "web.shop", "80"),
            ("[fd00::1]:8080", "fd00::1", "8080"),
        ] {
            let record = Record::of(&entry(b"/", Some(authority.as_bytes())), &format);
            assert_eq!(value(&record, "server.address").as_deref(), Some(address));
            assert_eq!(value(&record, "server.port").as_deref(), Some(port));
            assert_eq!(record.body, authority, "a line has it as it came");
        }
    }
}
