//! Spans as Zipkin has them: version 2, in JSON
//! (<https://zipkin.io/zipkin-api/zipkin2-api.yaml>), mapped as OpenTelemetry says
//! (<https://opentelemetry.io/docs/specs/otel/trace/sdk_exporters/zipkin/>).

use std::{
    fmt::{Arguments, Display},
    io::Write as _,
    net::{IpAddr, SocketAddr},
    time::SystemTime,
};

use bytes::Bytes;

use crate::{
    access_log::escape,
    trace::span::{Kind, Span},
};

/// Writes spans of one process.
pub(crate) struct Zipkin {
    service: String,
    /// What else the process is: a tag of each span.
    tags: Vec<(String, String)>,
}

impl Zipkin {
    /// Of the process that is this.
    pub(crate) fn new(resource: &[(String, String)]) -> Self {
        let is_name = |(key, _): &&(String, String)| key == "service.name";
        let service = resource.iter().rfind(is_name).map(|(_, value)| value);
        Self {
            service: service.map_or("netting", |name| name).to_lowercase(),
            tags: resource
                .iter()
                .filter(|pair| !is_name(pair))
                .cloned()
                .collect(),
        }
    }

    /// A list of spans.
    pub(crate) fn encode(&self, spans: &[Span]) -> Bytes {
        let mut json = Json(Vec::with_capacity(spans.len() * 1024));
        let mut before = "[";
        for span in spans {
            json.raw(before);
            before = ",";
            self.one(span, &mut json);
        }
        json.raw(if spans.is_empty() { "[]" } else { "]" });
        json.0.into()
    }

    fn one(&self, span: &Span, json: &mut Json) {
        json.put(format_args!(
            "{{\"traceId\":\"{}\",\"id\":\"{}\"",
            span.trace, span.id
        ));
        if let Some(parent) = span.parent {
            json.put(format_args!(",\"parentId\":\"{parent}\""));
        }
        // Without one it is within a process.
        json.raw(match span.kind {
            Kind::Client => ",\"kind\":\"CLIENT\"",
            Kind::Server => ",\"kind\":\"SERVER\"",
            Kind::Internal => "",
        });
        json.raw(",\"name\":");
        json.text(&span.name.to_lowercase());
        let begun = span.begun.duration_since(SystemTime::UNIX_EPOCH);
        let begun = begun.unwrap_or_default().as_micros();
        // None at all would be a span that has not ended.
        let took = span.took.as_micros().max(1);
        json.put(format_args!(",\"timestamp\":{begun},\"duration\":{took}"));
        json.raw(",\"localEndpoint\":{\"serviceName\":");
        json.text(&self.service);
        json.raw("}");
        if let Some(remote) = span.remote {
            json.raw(",\"remoteEndpoint\":");
            json.endpoint(remote);
        }
        json.raw(",\"tags\":");
        self.tags(span, json);
        json.raw("}");
    }

    fn tags(&self, span: &Span, json: &mut Json) {
        let mut before = "{";
        let mut tag = |key: &str, value: &dyn Display| {
            json.raw(before);
            before = ",";
            json.text(key);
            json.raw(":");
            json.text(&value.to_string());
        };
        for (key, value) in &self.tags {
            tag(key, value);
        }
        for attribute in &span.attributes {
            tag(attribute.key, &attribute.value);
        }
        if let Some(why) = span.failed {
            tag("otel.status_code", &"ERROR");
            let error = span.attributes.iter().find(|it| it.key == "error.type");
            match error {
                Some(error) if why.is_empty() => tag("error", &error.value),
                _ => tag("error", &why),
            }
        }
        tag("otel.scope.name", &"netting");
        json.raw("}");
    }
}

struct Json(Vec<u8>);

impl Json {
    fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    fn put(&mut self, written: Arguments<'_>) {
        self.0
            .write_fmt(written)
            .expect("a vector takes all that is written");
    }

    fn text(&mut self, text: &str) {
        self.0.push(b'"');
        escape::json(text.as_bytes(), &mut self.0);
        self.0.push(b'"');
    }

    fn endpoint(&mut self, addr: SocketAddr) {
        let (ip, port) = (addr.ip().to_canonical(), addr.port());
        let family = match ip {
            IpAddr::V4(_) => "ipv4",
            IpAddr::V6(_) => "ipv6",
        };
        self.put(format_args!("{{\"{family}\":\"{ip}\",\"port\":{port}}}"));
    }
}

#[cfg(test)]
mod tests;
