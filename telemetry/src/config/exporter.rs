//! The exporters there are, and what each of them can be told.

use std::time::Duration;

mod http;
mod influxdb;
mod lines;
mod otlp;

pub use self::http::{ClientCertificate, Http};
pub use lines::{StatsdDialect, TagStyle};
pub use otlp::{Otlp, OtlpProtocol, OtlpTarget, Signal};

pub(super) use self::http::{names_a_secret, refer_to_a_secret};

use self::http::http;
use super::{Address, Reference, TIMEOUT, options::Options, otel::Otel, syntax::Item};
use crate::trace::sampler::Ratio;
use influxdb::influxdb;
use lines::lines;
use otlp::otlp;

/// One that runs.
#[derive(Clone, Debug)]
pub struct Exporter {
    /// Its kind, and a number if there are several of that.
    pub name: String,
    /// What it speaks, and to whom.
    pub kind: Kind,
    /// How often metrics are sent.
    pub interval: Duration,
    /// How long one attempt to send may take.
    pub timeout: Duration,
    /// Put on everything that it sends: `tag.NAME=VALUE`.
    pub tags: Vec<(String, String)>,
    /// How histograms are sent, where the protocol has two ways.
    pub histograms: Histograms,
    /// Since when counts are counted, where the protocol has two ways.
    pub temporality: Temporality,
    /// For how long metrics that could not be sent are tried again, if that is said.
    pub retry_for: Option<Duration>,
    /// Which part of all traces is kept that nobody before has decided on.
    pub trace_ratio: Option<Ratio>,
}

/// How a histogram is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Histograms {
    /// In the buckets of its instrument.
    #[default]
    Explicit,
    /// In buckets that grow by a factor: OTLP's exponential, Prometheus' native ones.
    Exponential,
}

/// Since when OTLP's counters and histograms count
/// (<https://opentelemetry.io/docs/specs/otel/metrics/sdk_exporters/otlp/#additional-environment-variable-configuration>).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Temporality {
    /// Since their series began.
    #[default]
    Cumulative,
    /// Since they were sent last.
    Delta,
    /// The same, but for counters whose values are asked for when they are sent.
    LowMemory,
}

/// What an exporter speaks.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Asked at `/metrics`, and never sends.
    Prometheus,
    /// OpenTelemetry's own protocol.
    Otlp(Box<Otlp>),
    /// Prometheus remote write 1.0.
    RemoteWrite(Http),
    /// StatsD's lines.
    Statsd {
        /// Where to.
        to: Address,
        /// Whose extensions are understood there.
        dialect: StatsdDialect,
        /// How attributes are written.
        tags: TagStyle,
        /// Before every name, with a dot.
        prefix: Option<String>,
    },
    /// Graphite's plaintext.
    Graphite {
        /// Where to.
        to: Address,
        /// How attributes are written.
        tags: TagStyle,
        /// Before every name, with a dot.
        prefix: Option<String>,
    },
    /// InfluxDB's lines in datagrams.
    InfluxdbUdp(Address),
    /// InfluxDB's lines as requests: `/write` of version 1, `/api/v2/write` of 2 and 3.
    InfluxdbHttp(Http),
    /// Zipkin's spans, version 2 in JSON.
    Zipkin(Http),
}

impl Kind {
    /// As it is written in the list.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::Otlp(_) => "otlp",
            Self::RemoteWrite(_) => "remote-write",
            Self::Statsd { dialect, .. } => match dialect {
                StatsdDialect::Statsd => "statsd",
                StatsdDialect::Dogstatsd => "dogstatsd",
            },
            Self::Graphite { .. } => "graphite",
            Self::InfluxdbUdp(_) | Self::InfluxdbHttp(_) => "influxdb",
            Self::Zipkin(_) => "zipkin",
        }
    }
}

const HISTOGRAMS: [(&str, Histograms); 2] = [
    ("explicit", Histograms::Explicit),
    ("exponential", Histograms::Exponential),
];

/// Its words.
pub(super) const TEMPORALITIES: [(&str, Temporality); 3] = [
    ("cumulative", Temporality::Cumulative),
    ("delta", Temporality::Delta),
    ("lowmemory", Temporality::LowMemory),
];

type Value<'a> = &'a mut dyn FnMut(&Reference) -> Option<String>;

impl Exporter {
    /// # Errors
    /// All that is wrong with the item.
    pub(super) fn parse(item: &Item, otel: &Otel, value: Value<'_>) -> Result<Self, Vec<String>> {
        if item.unclosed {
            return Err(vec!["has a quotation mark without a second one".to_owned()]);
        }
        let mut options = Options::new(item, value);
        let target = match &item.target {
            Some(written) => options.expand(written),
            None => None,
        };
        let incomplete = item.target.is_some() && target.is_none();
        let interval = match item.kind.as_str() {
            "prometheus" | "zipkin" => None,
            _ => options.duration("interval"),
        };
        let timeout = match item.kind.as_str() {
            "prometheus" => None,
            _ => options.duration("timeout"),
        };
        let histograms = match item.kind.as_str() {
            "otlp" | "otlp-http" | "remote-write" => options.choice("histograms", &HISTOGRAMS),
            _ => None,
        };
        let temporality = match item.kind.as_str() {
            "otlp" | "otlp-http" => options.choice("temporality", &TEMPORALITIES),
            _ => None,
        };
        let trace_ratio = match item.kind.as_str() {
            "otlp" | "otlp-http" | "zipkin" => options.parsed("trace-ratio", ratio),
            _ => None,
        };
        let kind = match (target.as_deref(), incomplete) {
            // That it is not complete has been noted.
            (_, true) => None,
            (target, false) => kind(&item.kind, target, timeout, &mut options, otel),
        };
        let tags = match item.kind.as_str() {
            "prometheus" => Vec::new(),
            _ => options.prefixed("tag."),
        };
        let whys = options.finish(&item.kind);
        match kind {
            Some(kind) if whys.is_empty() => Ok(Self {
                name: String::new(),
                interval: interval.unwrap_or_else(|| default_interval(&kind, otel)),
                timeout: timeout.unwrap_or(TIMEOUT),
                histograms: histograms.unwrap_or(match &kind {
                    Kind::Otlp(_) => otel.histograms,
                    _ => Histograms::Explicit,
                }),
                temporality: temporality.unwrap_or(otel.temporality),
                retry_for: match &kind {
                    Kind::Otlp(_) => otel.export_timeout,
                    _ => None,
                },
                trace_ratio,
                tags: tags
                    .into_iter()
                    .map(|(key, given)| (key, given.value))
                    .collect(),
                kind,
            }),
            _ => Err(whys),
        }
    }

    /// How often metrics are sent, if they are.
    pub(super) fn metrics_interval(&self) -> Option<Duration> {
        let sends = match &self.kind {
            Kind::Prometheus | Kind::Zipkin(_) => false,
            Kind::Otlp(to) => to.metrics.is_some(),
            _ => true,
        };
        sends.then_some(self.interval)
    }
}

fn ratio(text: &str) -> Result<Ratio, &'static str> {
    text.parse().map_err(|_| "is no number from 0 to 1")
}

fn default_interval(kind: &Kind, otel: &Otel) -> Duration {
    Duration::from_secs(match kind {
        Kind::Otlp(_) => return otel.interval,
        Kind::Prometheus | Kind::Zipkin(_) | Kind::Graphite { .. } => 60,
        Kind::RemoteWrite(_) => 15,
        Kind::Statsd { .. } | Kind::InfluxdbUdp(_) | Kind::InfluxdbHttp(_) => 10,
    })
}

fn kind(
    name: &str,
    target: Option<&str>,
    timeout: Option<Duration>,
    options: &mut Options<'_>,
    otel: &Otel,
) -> Option<Kind> {
    if matches!(name, "otlp" | "otlp-http") {
        return otlp(name, target, timeout, options, otel).map(|otlp| Kind::Otlp(Box::new(otlp)));
    }
    if name == "prometheus" {
        if target.is_some() {
            options.refuse("has a target, but it is asked at /metrics and does not send");
        }
        return Some(Kind::Prometheus);
    }
    let example = match name {
        "remote-write" => "https://prometheus.example/api/v1/write",
        "statsd" => "udp://$(HOST_IP):8125",
        "dogstatsd" => "unix:///var/run/datadog/dsd.socket",
        "graphite" => "tcp://graphite.monitoring:2003",
        "influxdb" => "http://influxdb.monitoring:8086/write?db=netting",
        "zipkin" => "http://zipkin.monitoring:9411/api/v2/spans",
        _ => {
            options.refuse(
                "is not an exporter (prometheus, otlp, otlp-http, remote-write, statsd, \
                 dogstatsd, graphite, influxdb, zipkin, none)",
            );
            return None;
        }
    };
    let Some(target) = target else {
        options.refuse(format!("has no target; write {name}={example}"));
        return None;
    };
    match name {
        "remote-write" => http(target, None, options).map(Kind::RemoteWrite),
        "zipkin" => http(target, Some(9411), options).map(Kind::Zipkin),
        "influxdb" => influxdb(target, options),
        _ => lines(name, target, options),
    }
}
