//! OTLP, over gRPC and over HTTP.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use http::StatusCode;
use prost::{
    Message,
    encoding::{self, message},
};

use super::{
    grpc::GrpcClient,
    http::{HttpClient, Protocol},
    net::{Alpn, BadCertificates, Dialer},
    transport::Transport,
};
use crate::{
    config::{OtlpProtocol, OtlpTarget, Signal},
    proto::opentelemetry::proto::{
        collector::{
            logs::v1::ExportLogsServiceResponse, metrics::v1::ExportMetricsServiceResponse,
            trace::v1::ExportTraceServiceResponse,
        },
        common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
        resource::v1::Resource,
    },
    snapshot::Label,
    trace::span::{Attribute, Value},
};

pub(crate) mod changes;
pub(crate) mod logs;
pub(crate) mod metrics;
pub(crate) mod traces;

/// Attributes that are numbers by the conventions.
const NUMBERS: [&str; 6] = [
    "client.port",
    "http.request.resend_count",
    "http.response.status_code",
    "network.peer.port",
    "rpc.grpc.status_code",
    "server.port",
];

/// What carries one signal to a receiver.
pub(crate) fn transport(
    target: &OtlpTarget,
    signal: Signal,
    resolv_conf: Arc<PathBuf>,
) -> Result<Transport, BadCertificates> {
    let alpn = match target.protocol {
        OtlpProtocol::Grpc => Alpn::Http2,
        OtlpProtocol::HttpProtobuf => Alpn::Http1,
    };
    let http = &target.http;
    let dialer = Dialer::new(http, alpn, resolv_conf)?;
    let rejected = rejected(signal);
    Ok(match target.protocol {
        OtlpProtocol::Grpc => Transport::Grpc {
            client: Box::new(GrpcClient::new(
                http,
                dialer,
                target.timeout,
                method(signal),
            )),
            rejected,
        },
        OtlpProtocol::HttpProtobuf => {
            let protocol = Protocol {
                headers: &[("content-type", "application/x-protobuf")],
                passes,
            };
            Transport::Http {
                client: Box::new(HttpClient::new(
                    http.clone(),
                    dialer,
                    target.timeout,
                    &protocol,
                )),
                rejected,
            }
        }
    })
}

/// Whether the same may be sent again
/// (<https://opentelemetry.io/docs/specs/otlp/#retryable-response-codes>).
fn passes(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

fn method(signal: Signal) -> &'static str {
    match signal {
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    }
}

/// How many items a receiver has not taken, though it has answered well.
fn rejected(signal: Signal) -> fn(Bytes) -> u64 {
    fn count(rejected: Option<i64>) -> u64 {
        rejected.unwrap_or_default().try_into().unwrap_or(0)
    }
    match signal {
        Signal::Metrics => |answer| {
            let answer = ExportMetricsServiceResponse::decode(answer).unwrap_or_default();
            let partly = answer.partial_success;
            count(partly.map(|partly| partly.rejected_data_points))
        },
        Signal::Traces => |answer| {
            let answer = ExportTraceServiceResponse::decode(answer).unwrap_or_default();
            let partly = answer.partial_success;
            count(partly.map(|partly| partly.rejected_spans))
        },
        Signal::Logs => |answer| {
            let answer = ExportLogsServiceResponse::decode(answer).unwrap_or_default();
            let partly = answer.partial_success;
            count(partly.map(|partly| partly.rejected_log_records))
        },
    }
}

/// What the process is, by itself and by `overrides`, which are the configuration's.
pub(crate) fn resource(own: &[Label], overrides: &[(String, String)]) -> Resource {
    let own = own.iter().map(|label| (label.key, &*label.value));
    let not_overridden = own.filter(|(key, _)| !overrides.iter().any(|(other, _)| other == key));
    let overrides = overrides
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    Resource {
        attributes: not_overridden
            .chain(overrides)
            .map(|(key, value)| key_value(key, value))
            .collect(),
        ..Resource::default()
    }
}

/// A request with these data points, spans or lines, all of this resource. On the wire
/// those of the three signals are alike: `resource_… = 1`, in which there are
/// `resource = 1` and `scope_… = 2`, in which there are `scope = 1` and the items, 2.
fn request(resource: &Resource, items: &[impl Message]) -> Bytes {
    let mut of_scope = Vec::new();
    message::encode(1, &scope(), &mut of_scope);
    message::encode_repeated(2, items, &mut of_scope);
    let mut of_resource = Vec::with_capacity(of_scope.len() + resource.encoded_len() + 16);
    message::encode(1, resource, &mut of_resource);
    encoding::bytes::encode(2, &of_scope, &mut of_resource);
    let mut request = Vec::with_capacity(of_resource.len() + 8);
    encoding::bytes::encode(1, &of_resource, &mut request);
    request.into()
}

/// Who measures.
fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "netting".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

/// An attribute, as a number if the conventions have it as one.
pub(crate) fn attribute(label: &Label) -> KeyValue {
    let number = || label.value.parse().ok().map(any_value::Value::IntValue);
    let number = if NUMBERS.contains(&label.key) {
        number()
    } else {
        None
    };
    match number {
        Some(number) => KeyValue {
            key: label.key.to_owned(),
            value: Some(AnyValue {
                value: Some(number),
            }),
            ..KeyValue::default()
        },
        None => key_value(label.key, &label.value),
    }
}

/// Those of a span or a line.
pub(crate) fn attributes(attributes: &[Attribute]) -> Vec<KeyValue> {
    let one = |Attribute { key, value }: &Attribute| match value {
        Value::Text(text) => key_value(key, text),
        Value::Number(number) => KeyValue {
            key: (*key).to_owned(),
            value: Some(AnyValue {
                value: Some(any_value::Value::IntValue(*number)),
            }),
            ..KeyValue::default()
        },
    };
    attributes.iter().map(one).collect()
}

fn key_value(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(text(value)),
        ..KeyValue::default()
    }
}

fn text(value: &str) -> AnyValue {
    AnyValue {
        value: Some(any_value::Value::StringValue(value.to_owned())),
    }
}
