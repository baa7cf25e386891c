//! The standard variables of OpenTelemetry,
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>: those of the process's
//! environment, and over them those that are items of the list, `OTEL_SERVICE_NAME=web`.

use std::time::Duration;

use http::HeaderMap;

use super::{
    ClientCertificate, Exporter, Histograms, Http, Kind, Otlp, OtlpProtocol, OtlpTarget, Secret,
    Signal, TIMEOUT, Temporality, endpoint, exporter::TEMPORALITIES,
};
use crate::trace::Propagators;

mod value;
mod variables;

pub(super) use variables::{Variables, is_variable};

/// What the variables say. The more special of two goes over the more general one.
#[derive(Default)]
pub(super) struct Otel {
    /// `OTEL_SDK_DISABLED`: nothing is sent by OTLP, whatever else says so.
    pub(super) disabled: bool,
    /// `OTEL_RESOURCE_ATTRIBUTES`, and `OTEL_SERVICE_NAME` over it.
    pub(super) resource: Vec<(String, String)>,
    /// `OTEL_METRIC_EXPORT_INTERVAL`.
    pub(super) interval: Duration,
    /// `OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION`.
    pub(super) histograms: Histograms,
    /// `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`.
    pub(super) temporality: Temporality,
    /// `OTEL_METRIC_EXPORT_TIMEOUT`.
    pub(super) export_timeout: Option<Duration>,
    /// `OTEL_PROPAGATORS`.
    pub(super) propagators: Option<Propagators>,
    /// Whether a variable about OTLP is wrong: what depends on them is left out.
    pub(super) wrong: bool,
    /// Whether an endpoint is named: reason enough to send there.
    named: bool,
    signals: Vec<(Signal, Transport)>,
}

/// How one signal is sent.
struct Transport {
    endpoint: Option<Endpoint>,
    protocol: OtlpProtocol,
    headers: HeaderMap,
    ca: Option<String>,
    client: Option<ClientCertificate>,
    gzip: bool,
    timeout: Duration,
}

struct Endpoint {
    url: String,
    /// Of this signal alone, whose path is taken as it is.
    complete: bool,
}

impl Otel {
    pub(super) fn read(variables: &mut Variables<'_>) -> Self {
        let disabled = variables.parsed("OTEL_SDK_DISABLED", value::boolean);
        let mut resource: Vec<_> = variables
            .parsed("OTEL_RESOURCE_ATTRIBUTES", value::pairs)
            .unwrap_or_default();
        if let Some(name) = variables.text("OTEL_SERVICE_NAME") {
            resource.retain(|(key, _)| key != "service.name");
            resource.push(("service.name".to_owned(), name));
        }
        let interval = variables.parsed("OTEL_METRIC_EXPORT_INTERVAL", value::milliseconds);
        let aggregation = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION";
        let aggregation = variables.parsed(aggregation, value::histograms);
        let temporality = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
        let temporality = variables.parsed(temporality, value::temporality);
        let export_timeout = variables.parsed("OTEL_METRIC_EXPORT_TIMEOUT", value::milliseconds);
        // A signal that goes elsewhere keeps no other from being sent.
        let mut sent = Signal::ALL.to_vec();
        sent.retain(|signal| is_sent(*signal, variables));
        let before = variables.wrong();
        let signals: Vec<_> = sent
            .into_iter()
            .map(|signal| (signal, Transport::read(signal, variables)))
            .collect();
        let wrong = variables.wrong() > before;
        Self {
            disabled: disabled.unwrap_or(false),
            resource,
            interval: interval.unwrap_or(Duration::from_secs(60)),
            histograms: aggregation.unwrap_or_default(),
            temporality: temporality.unwrap_or_default(),
            export_timeout,
            propagators: propagators(variables),
            wrong,
            named: signals
                .iter()
                .any(|(_, transport)| transport.endpoint.is_some()),
            signals,
        }
    }

    /// Where a signal goes to, if a variable does not turn it off.
    pub(super) fn target(
        &self,
        signal: Signal,
        protocol: Option<OtlpProtocol>,
    ) -> Option<OtlpTarget> {
        let (_, transport) = self.signals.iter().find(|(of, _)| *of == signal)?;
        let protocol = protocol.unwrap_or(transport.protocol);
        let (default, port) = match protocol {
            OtlpProtocol::Grpc => ("http://localhost:4317", 4317),
            OtlpProtocol::HttpProtobuf => ("http://localhost:4318", 4318),
        };
        let endpoint = transport.endpoint.as_ref();
        let url = endpoint.map_or(default, |endpoint| &endpoint.url);
        // Parsed before, with the same outcome.
        let mut url = endpoint::url(url, Some(port)).ok()?;
        let complete = endpoint.is_some_and(|endpoint| endpoint.complete);
        if protocol == OtlpProtocol::HttpProtobuf && !complete {
            url = url.join(&format!("v1/{}", signal.as_str()));
        }
        Some(OtlpTarget {
            protocol,
            http: Http {
                url,
                headers: transport.headers.clone(),
                ca: transport.ca.clone(),
                client: transport.client.clone(),
                gzip: transport.gzip,
            },
            timeout: transport.timeout,
        })
    }

    /// An exporter that the list does not have, but an endpoint in the variables asks
    /// for. `none` in the list goes over that.
    pub(super) fn exporter(&self, none: bool, listed: &[Exporter]) -> Option<Exporter> {
        let mut kinds = listed.iter().map(|exporter| &exporter.kind);
        if none || self.wrong || !self.named || kinds.any(|kind| matches!(kind, Kind::Otlp(_))) {
            return None;
        }
        Some(Exporter {
            name: String::new(),
            kind: Kind::Otlp(Box::new(Otlp {
                metrics: self.target(Signal::Metrics, None),
                traces: self.target(Signal::Traces, None),
                logs: self.target(Signal::Logs, None),
            })),
            interval: self.interval,
            timeout: TIMEOUT,
            tags: Vec::new(),
            histograms: self.histograms,
            temporality: self.temporality,
            retry_for: self.export_timeout,
            trace_ratio: None,
        })
    }
}

impl Transport {
    fn read(signal: Signal, variables: &mut Variables<'_>) -> Self {
        let name = signal.as_str().to_uppercase();
        let own = format!("OTEL_EXPORTER_OTLP_{name}_");
        // The signal's own variable, or else the general one.
        let mut special = |name: &str| {
            let special = format!("{own}{name}");
            let is_there = variables.has(&special);
            let general = format!("OTEL_EXPORTER_OTLP_{name}");
            if is_there { special } else { general }
        };
        let names = [
            "ENDPOINT",
            "PROTOCOL",
            "HEADERS",
            "CERTIFICATE",
            "CLIENT_CERTIFICATE",
            "CLIENT_KEY",
            "COMPRESSION",
            "TIMEOUT",
        ];
        let [
            endpoint,
            protocol,
            headers,
            certificate,
            client_certificate,
            client_key,
            compression,
            timeout,
        ] = names.map(&mut special);
        let protocol = variables.parsed(&protocol, value::protocol);
        Self {
            endpoint: Endpoint::read(&endpoint, endpoint.starts_with(&own), variables),
            // The specification's default, and what most collectors are asked by.
            protocol: protocol.unwrap_or(OtlpProtocol::HttpProtobuf),
            headers: variables.headers(&headers).unwrap_or_default(),
            ca: variables.pem(&certificate),
            client: client(&client_certificate, &client_key, variables),
            gzip: variables
                .parsed(&compression, value::compression)
                .unwrap_or(false),
            timeout: variables
                .parsed(&timeout, value::milliseconds)
                .unwrap_or(TIMEOUT),
        }
    }
}

fn client(chain: &str, key: &str, variables: &mut Variables<'_>) -> Option<ClientCertificate> {
    for (one, other) in [(chain, key), (key, chain)] {
        if variables.has(one) && !variables.has(other) {
            variables.refuse(one, format!("is of no use without {other}"));
        }
    }
    let (chain, key) = (variables.pem(chain)?, variables.pem(key)?);
    let key = Secret::new(key);
    Some(ClientCertificate { chain, key })
}

/// Formats that are not spoken are told.
fn propagators(variables: &mut Variables<'_>) -> Option<Propagators> {
    const NAME: &str = "OTEL_PROPAGATORS";
    let list = variables.text(NAME)?;
    let (propagators, others) = Propagators::parse(&list);
    if !others.is_empty() {
        let others = others.join(" and ");
        let why =
            format!("names {others}, where tracecontext, baggage, b3, b3multi and none are known");
        variables.refuse(NAME, why);
    }
    propagators
}

/// Whether a signal is sent by OTLP: not if `OTEL_METRICS_EXPORTER` or one of its kin
/// names others alone.
fn is_sent(signal: Signal, variables: &mut Variables<'_>) -> bool {
    let name = format!("OTEL_{}_EXPORTER", signal.as_str().to_uppercase());
    let Some(list) = variables.text(&name) else {
        return true;
    };
    let named = || list.split(',').map(str::trim);
    let is_unknown = |one: &&str| !matches!(*one, "otlp" | "none" | "");
    if let Some(other) = named().find(is_unknown) {
        let why = format!(
            "names {other}, where otlp and none are known; other exporters are items of the list"
        );
        variables.refuse(&name, why);
    }
    named().any(|one| one == "otlp")
}

impl Endpoint {
    fn read(name: &str, complete: bool, variables: &mut Variables<'_>) -> Option<Self> {
        let url = |text: &str| endpoint::url(text, None).map(|_| text.to_owned());
        let url = variables.parsed(name, url)?;
        Some(Self { url, complete })
    }
}
