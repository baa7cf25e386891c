//! OTLP, each signal where it goes to.

use std::time::Duration;

use super::{Http, http};
use crate::config::{TIMEOUT, options::Options, otel::Otel};

/// What is sent by OTLP, each where it goes to.
#[derive(Clone, Debug, Default)]
pub struct Otlp {
    /// Metrics, if they are sent.
    pub metrics: Option<OtlpTarget>,
    /// Spans, if they are sent.
    pub traces: Option<OtlpTarget>,
    /// The access log, if it is sent.
    pub logs: Option<OtlpTarget>,
}

/// A receiver of OTLP.
#[derive(Clone, Debug)]
pub struct OtlpTarget {
    /// How.
    pub protocol: OtlpProtocol,
    /// Where to. For HTTP the path is complete; gRPC has paths of its own.
    pub http: Http,
    /// How long one attempt may take.
    pub timeout: Duration,
}

/// How OTLP is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// Over HTTP/2, as a unary call.
    Grpc,
    /// A POST of Protobuf.
    HttpProtobuf,
}

/// What OTLP tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Numbers.
    Metrics,
    /// Spans.
    Traces,
    /// Lines.
    Logs,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Metrics, Self::Traces, Self::Logs];

    /// As options and OTLP's paths have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Traces => "traces",
            Self::Logs => "logs",
        }
    }
}

pub(super) fn otlp(
    name: &str,
    target: Option<&str>,
    timeout: Option<Duration>,
    options: &mut Options<'_>,
    otel: &Otel,
) -> Option<Otlp> {
    let said = options.choice(
        "protocol",
        &[
            ("grpc", OtlpProtocol::Grpc),
            ("http/protobuf", OtlpProtocol::HttpProtobuf),
        ],
    );
    let protocol = match (name, said) {
        ("otlp-http", Some(OtlpProtocol::Grpc)) => {
            options.refuse("is HTTP by its name; write otlp for gRPC");
            return None;
        }
        ("otlp-http", _) => Some(OtlpProtocol::HttpProtobuf),
        _ => said,
    };
    let signals = options.parsed("signals", signals);
    let signals = signals.unwrap_or_else(|| Signal::ALL.to_vec());
    let Some(target) = target else {
        return otel_defaults(otel, protocol, timeout, &signals, options);
    };
    let protocol = protocol.unwrap_or(OtlpProtocol::Grpc);
    let default_port = match protocol {
        OtlpProtocol::Grpc => 4317,
        OtlpProtocol::HttpProtobuf => 4318,
    };
    options.may_compress = true;
    let http = http(target, Some(default_port), options)?;
    let to = |signal: Signal| {
        signals.contains(&signal).then(|| {
            let mut http = http.clone();
            if protocol == OtlpProtocol::HttpProtobuf {
                http.url = http.url.join(&format!("v1/{}", signal.as_str()));
            }
            OtlpTarget {
                protocol,
                http,
                timeout: timeout.unwrap_or(TIMEOUT),
            }
        })
    };
    Some(Otlp {
        metrics: to(Signal::Metrics),
        traces: to(Signal::Traces),
        logs: to(Signal::Logs),
    })
}

/// `otlp` alone: as the variables say, or to where the specification looks.
fn otel_defaults(
    otel: &Otel,
    protocol: Option<OtlpProtocol>,
    timeout: Option<Duration>,
    signals: &[Signal],
    options: &mut Options<'_>,
) -> Option<Otlp> {
    let to = |signal: Signal| {
        let mut target = otel.target(signal, protocol)?;
        if let Some(timeout) = timeout {
            target.timeout = timeout;
        }
        signals.contains(&signal).then_some(target)
    };
    let otlp = Otlp {
        metrics: to(Signal::Metrics),
        traces: to(Signal::Traces),
        logs: to(Signal::Logs),
    };
    if otel.wrong {
        options.refuse("has no target of its own, and that of the variables is wrong");
        return None;
    }
    Some(otlp)
}

fn signals(text: &str) -> Result<Vec<Signal>, String> {
    let one = |word: &str| {
        let found = Signal::ALL
            .into_iter()
            .find(|signal| signal.as_str() == word);
        found.ok_or_else(|| format!("has {word}: it is metrics, traces and logs, joined by +"))
    };
    text.split('+').map(one).collect()
}
