//! The access log as OTLP has it.

use bytes::Bytes;

use super::{attributes, metrics::nanos, request, text};
use crate::{
    access_log::{Kind, Record},
    proto::opentelemetry::proto::{
        logs::v1::{LogRecord, SeverityNumber},
        resource::v1::Resource,
    },
};

/// W3C's flag: the trace is kept.
const SAMPLED: u32 = 1;

/// One request.
pub(crate) fn encode(records: &[Record], resource: &Resource) -> Bytes {
    let records: Vec<_> = records.iter().map(one).collect();
    request(resource, &records)
}

fn one(record: &Record) -> LogRecord {
    let (severity, word) = match record.failed {
        true => (SeverityNumber::Error, "ERROR"),
        false => (SeverityNumber::Info, "INFO"),
    };
    let event = match record.kind {
        Kind::Request => "netting.request",
        Kind::Connection => "netting.connection",
    };
    let trace = record.trace;
    LogRecord {
        time_unix_nano: nanos(record.at),
        observed_time_unix_nano: nanos(record.at),
        severity_number: severity as i32,
        severity_text: word.to_owned(),
        body: Some(text(&record.body)),
        attributes: attributes(&record.attributes),
        flags: if record.sampled { SAMPLED } else { 0 },
        trace_id: trace.map(|trace| trace.trace.to_vec()).unwrap_or_default(),
        span_id: trace.map(|trace| trace.span.to_vec()).unwrap_or_default(),
        event_name: event.to_owned(),
        ..LogRecord::default()
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::{
        export::{otlp, sample},
        proto::opentelemetry::proto::collector::logs::v1::ExportLogsServiceRequest,
    };

    #[test]
    fn requests_are_as_the_protocol_has_them() {
        let snapshot = sample::snapshot();
        let resource = otlp::resource(&snapshot.resource, &[]);
        let encoded = encode(&sample::records(), &resource);
        let request = ExportLogsServiceRequest::decode(encoded).expect("a request");
        sample::assert_golden("otlp.logs.txt", &format!("{request:#?}\n"));
    }
}
