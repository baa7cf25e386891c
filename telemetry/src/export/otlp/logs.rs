//! The access log as OTLP has it.

use bytes::Bytes;
use prost::Message as _;

use super::{attributes, metrics::nanos, scope, text};
use crate::{
    access_log::{Kind, Record},
    proto::opentelemetry::proto::{
        collector::logs::v1::ExportLogsServiceRequest,
        logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber},
        resource::v1::Resource,
    },
};

/// W3C's flag: the trace is kept.
const SAMPLED: u32 = 1;

/// One request.
pub(crate) fn encode(records: &[Record], resource: &Resource) -> Bytes {
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource.clone()),
            scope_logs: vec![ScopeLogs {
                scope: Some(scope()),
                log_records: records.iter().map(one).collect(),
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    };
    request.encode_to_vec().into()
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
    use super::*;
    use crate::export::{otlp, sample};

    #[test]
    fn requests_are_as_the_protocol_has_them() {
        let snapshot = sample::snapshot();
        let resource = otlp::resource(&snapshot.resource, &[]);
        let encoded = encode(&sample::records(), &resource);
        let request = ExportLogsServiceRequest::decode(encoded).expect("a request");
        sample::assert_golden("otlp.logs.txt", &format!("{request:#?}\n"));
    }
}
