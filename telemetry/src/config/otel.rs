//! The standard variables of OpenTelemetry,
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.

use std::{fs, str::FromStr, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    Exporter, Histograms, Http, Kind, Otlp, OtlpProtocol, OtlpTarget, Signal, TIMEOUT, Values,
    Wrong, endpoint,
};

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
    gzip: bool,
    timeout: Duration,
}

struct Endpoint {
    url: String,
    /// Of this signal alone, whose path is taken as it is.
    complete: bool,
}

/// Reads variables and keeps what is wrong with them.
struct Reader<'a> {
    values: &'a dyn Values,
    wrong: &'a mut Vec<Wrong>,
}

impl Otel {
    pub(super) fn read(values: &dyn Values, wrong: &mut Vec<Wrong>) -> Self {
        let mut reader = Reader { values, wrong };
        let disabled = reader.text("OTEL_SDK_DISABLED");
        let mut resource: Vec<_> = reader
            .parsed("OTEL_RESOURCE_ATTRIBUTES", pairs)
            .unwrap_or_default();
        if let Some(name) = reader.text("OTEL_SERVICE_NAME") {
            resource.retain(|(key, _)| key != "service.name");
            resource.push(("service.name".to_owned(), name));
        }
        let interval = reader.parsed("OTEL_METRIC_EXPORT_INTERVAL", milliseconds);
        let aggregation = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION";
        let aggregation = reader.parsed(aggregation, histograms);
        let before = reader.wrong.len();
        let signals: Vec<_> = Signal::ALL
            .into_iter()
            .filter_map(|signal| Some((signal, reader.transport(signal)?)))
            .collect();
        Self {
            disabled: disabled.is_some_and(|value| value.eq_ignore_ascii_case("true")),
            resource,
            interval: interval.unwrap_or(Duration::from_secs(60)),
            histograms: aggregation.unwrap_or_default(),
            wrong: reader.wrong.len() > before,
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
            trace_ratio: None,
        })
    }
}

impl Reader<'_> {
    fn text(&self, name: &str) -> Option<String> {
        self.values.variable(name)
    }

    fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(name)?;
        let parsed = parse(&text);
        parsed.map_err(|why| self.refuse(name, why)).ok()
    }

    fn refuse(&mut self, name: &str, why: String) {
        let item = name.to_owned();
        // The three signals share variables.
        let wrong = Wrong { item, why };
        if !self.wrong.contains(&wrong) {
            self.wrong.push(wrong);
        }
    }

    /// `None` if `OTEL_METRICS_EXPORTER` or one of its kin is something else than
    /// `otlp`.
    fn transport(&mut self, signal: Signal) -> Option<Transport> {
        let name = signal.as_str().to_uppercase();
        let exporter = self.text(&format!("OTEL_{name}_EXPORTER"));
        if exporter.is_some_and(|list| !list.split(',').any(|one| one.trim() == "otlp")) {
            return None;
        }
        let own = format!("OTEL_EXPORTER_OTLP_{name}_");
        let protocol = self.special(&own, "PROTOCOL", protocol);
        Some(Transport {
            endpoint: self.endpoint(&own),
            // The specification's default, and what most collectors are asked by.
            protocol: protocol.unwrap_or(OtlpProtocol::HttpProtobuf),
            headers: self.special(&own, "HEADERS", headers).unwrap_or_default(),
            ca: self.special(&own, "CERTIFICATE", certificate),
            gzip: self
                .special(&own, "COMPRESSION", compression)
                .unwrap_or(false),
            timeout: self
                .special(&own, "TIMEOUT", milliseconds)
                .unwrap_or(TIMEOUT),
        })
    }

    /// The signal's own variable, or else the general one.
    fn special<T>(
        &mut self,
        own: &str,
        name: &str,
        parse: fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let special = format!("{own}{name}");
        if self.text(&special).is_some() {
            return self.parsed(&special, parse);
        }
        self.parsed(&format!("OTEL_EXPORTER_OTLP_{name}"), parse)
    }

    fn endpoint(&mut self, own: &str) -> Option<Endpoint> {
        let url = |text: &str| endpoint::url(text, None).map(|_| text.to_owned());
        let special = format!("{own}ENDPOINT");
        let complete = self.text(&special).is_some();
        let name = if complete {
            &special
        } else {
            "OTEL_EXPORTER_OTLP_ENDPOINT"
        };
        let url = self.parsed(name, url)?;
        Some(Endpoint { url, complete })
    }
}

fn protocol(text: &str) -> Result<OtlpProtocol, String> {
    match text {
        "grpc" => Ok(OtlpProtocol::Grpc),
        "http/protobuf" => Ok(OtlpProtocol::HttpProtobuf),
        _ => Err(format!("is {text}; grpc and http/protobuf are spoken")),
    }
}

fn compression(text: &str) -> Result<bool, String> {
    match text {
        "gzip" => Ok(true),
        "none" => Ok(false),
        _ => Err(format!("is {text}; gzip and none are known")),
    }
}

fn histograms(text: &str) -> Result<Histograms, String> {
    match text {
        "explicit_bucket_histogram" => Ok(Histograms::Explicit),
        "base2_exponential_bucket_histogram" => Ok(Histograms::Exponential),
        _ => Err(format!("is {text}, which is no aggregation of histograms")),
    }
}

fn certificate(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("could not be read: {error}"))
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    match u64::from_str(text) {
        Ok(milliseconds) if milliseconds >= 100 => Ok(Duration::from_millis(milliseconds)),
        _ => Err(format!(
            "is {text}, not a number of milliseconds of at least 100"
        )),
    }
}

fn headers(text: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs(text)? {
        let name = HeaderName::try_from(&name).map_err(|_| format!("has no header in {name}"))?;
        let value = HeaderValue::try_from(value);
        let mut value = value.map_err(|_| format!("has a line break in {name}"))?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

/// `key=value,key=value`, percent-encoded as in W3C Baggage.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts
        .map(|pair| {
            // Not the pair itself: it may be a header with a secret.
            let (key, value) = pair.split_once('=').ok_or("has a part without =")?;
            Ok((decoded(key.trim())?, decoded(value.trim())?))
        })
        .collect()
}

fn decoded(text: &str) -> Result<String, String> {
    let bad = || "has a % that begins no percent-encoded UTF-8".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        bytes.push(byte.ok_or_else(bad)?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| bad())
}
