//! Spans as OTLP has them.

use bytes::Bytes;

use super::{attributes, metrics::nanos, request};
use crate::{
    proto::opentelemetry::proto::{
        resource::v1::Resource,
        trace::v1::{Span, Status, span::SpanKind, status::StatusCode},
    },
    trace::span::{self, Kind},
};

/// W3C's flag: the span is kept.
const SAMPLED: u32 = 1;
/// It is known whether the parent is another process's.
const PARENT_IS_KNOWN: u32 = 0x100;
/// And it is.
const PARENT_IS_REMOTE: u32 = 0x200;

/// One request.
pub(crate) fn encode(spans: &[span::Span], resource: &Resource) -> Bytes {
    let spans: Vec<_> = spans.iter().map(one).collect();
    request(resource, &spans)
}

fn one(span: &span::Span) -> Span {
    let begun = nanos(span.begun);
    let took = u64::try_from(span.took.as_nanos()).unwrap_or(u64::MAX);
    let parent = span.parent.map(|parent| parent.bytes().to_vec());
    let kind = match span.kind {
        Kind::Client => SpanKind::Client,
        Kind::Server => SpanKind::Server,
        Kind::Internal => SpanKind::Internal,
    };
    let parent_flags = match (&parent, span.kind) {
        (None, _) => 0,
        (Some(_), Kind::Internal) => PARENT_IS_KNOWN,
        (Some(_), Kind::Client | Kind::Server) => PARENT_IS_KNOWN | PARENT_IS_REMOTE,
    };
    let status = span.failed.map(|why| Status {
        message: why.to_owned(),
        code: StatusCode::Error as i32,
    });
    Span {
        trace_id: span.trace.bytes().to_vec(),
        span_id: span.id.bytes().to_vec(),
        trace_state: span.state.clone().unwrap_or_default(),
        flags: SAMPLED | parent_flags,
        parent_span_id: parent.unwrap_or_default(),
        name: span.name.clone().into_owned(),
        kind: kind as i32,
        start_time_unix_nano: begun,
        end_time_unix_nano: begun.saturating_add(took),
        attributes: attributes(&span.attributes),
        status,
        ..Span::default()
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::{
        export::{otlp, sample},
        proto::opentelemetry::proto::collector::trace::v1::ExportTraceServiceRequest,
    };

    #[test]
    fn requests_are_as_the_protocol_has_them() {
        let snapshot = sample::snapshot();
        let resource = otlp::resource(&snapshot.resource, &[]);
        let encoded = encode(&sample::spans(), &resource);
        let request = ExportTraceServiceRequest::decode(encoded).expect("a request");
        sample::assert_golden("otlp.traces.txt", &format!("{request:#?}\n"));
    }
}
