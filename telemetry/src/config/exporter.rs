//! The exporters there are, and what each of them can be told.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};

use super::{
    Address, Reference, Secret, TIMEOUT, Url, endpoint,
    options::{Given, Options},
    otel::Otel,
    syntax::Item,
};
use crate::trace::sampler::Ratio;

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

/// Whom to send requests to, and with what.
#[derive(Clone, Debug)]
pub struct Http {
    /// Where to.
    pub url: Url,
    /// Sent with each request; those with secrets are marked sensitive.
    pub headers: HeaderMap,
    /// Certificates in PEM that the server's is judged by, instead of the public ones.
    pub ca: Option<String>,
    /// Whether bodies are compressed.
    pub gzip: bool,
}

/// Whose StatsD it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatsdDialect {
    /// Etsy's: counters, gauges, and timers in milliseconds.
    Statsd,
    /// Datadog's: tags and distributions.
    Dogstatsd,
}

/// How attributes are written where the protocol has no single way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagStyle {
    /// `name.key.value.key.value`
    Path,
    /// `name;key=value;key=value`, Graphite 1.1
    Graphite,
    /// `name:1|c|#key:value,key:value`, Datadog, and most of those that came later
    Dogstatsd,
    /// `name,key=value,key=value:1|c`, Telegraf
    Influxdb,
}

const TAG_STYLES: [(&str, TagStyle); 4] = [
    ("path", TagStyle::Path),
    ("graphite", TagStyle::Graphite),
    ("dogstatsd", TagStyle::Dogstatsd),
    ("influxdb", TagStyle::Influxdb),
];

const HISTOGRAMS: [(&str, Histograms); 2] = [
    ("explicit", Histograms::Explicit),
    ("exponential", Histograms::Exponential),
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

fn otlp(
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
    options.may_compress = protocol == OtlpProtocol::HttpProtobuf;
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

fn influxdb(target: &str, options: &mut Options<'_>) -> Option<Kind> {
    if target.starts_with("udp://") {
        let to = options.noted(endpoint::address(target, &["udp"], 8089))?;
        return Some(Kind::InfluxdbUdp(to));
    }
    options.may_compress = true;
    options.scheme = "Token";
    let http = http(target, Some(8086), options)?;
    let query = http.url.path.query().unwrap_or_default();
    let names = |key: &str| query.split('&').any(|pair| pair.starts_with(key));
    match http.url.path.path() {
        "/write" if !names("db=") => {
            options.refuse("does not name a database; write …/write?db=NAME");
        }
        "/api/v2/write" if !names("bucket=") => {
            options.refuse("does not name a bucket; write …/api/v2/write?org=ORG&bucket=NAME");
        }
        "/" => options.refuse("has no path; it is /write or /api/v2/write"),
        _ => {}
    }
    if names("precision=") {
        options.refuse("has a precision; leave it to the exporter");
    }
    Some(Kind::InfluxdbHttp(http))
}

/// StatsD and Graphite.
fn lines(name: &str, target: &str, options: &mut Options<'_>) -> Option<Kind> {
    let tags = match name {
        "dogstatsd" => None,
        "graphite" => options.choice("tags", &TAG_STYLES[..2]),
        _ => options.choice("tags", &TAG_STYLES),
    };
    let prefix = options.parsed("prefix", |text| {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        match text.chars().all(fits) {
            true => Ok(text.trim_matches('.').to_owned()),
            false => Err("has more than letters, digits, dots, - and _"),
        }
    });
    if name == "graphite" {
        return Some(Kind::Graphite {
            to: options.noted(endpoint::address(target, &["tcp"], 2003))?,
            tags: tags.unwrap_or(TagStyle::Graphite),
            prefix,
        });
    }
    let to = options.noted(endpoint::address(target, &["udp", "unix"], 8125))?;
    let (dialect, style) = match name {
        "dogstatsd" => (StatsdDialect::Dogstatsd, TagStyle::Dogstatsd),
        _ => (StatsdDialect::Statsd, TagStyle::Path),
    };
    Some(Kind::Statsd {
        to,
        dialect,
        tags: tags.unwrap_or(style),
        prefix,
    })
}

/// A URL, and the options that come with one.
fn http(target: &str, default_port: Option<u16>, options: &mut Options<'_>) -> Option<Http> {
    let url = options.noted(endpoint::url(target, default_port));
    let mut headers = headers(options);
    if let Some(value) = authorization(options) {
        headers.insert(AUTHORIZATION, value);
    }
    let ca = options.text("ca").map(|given| given.value);
    let compression = match options.may_compress {
        true => options.choice("compression", &[("gzip", true), ("none", false)]),
        false => None,
    };
    Some(Http {
        url: url?,
        headers,
        ca,
        gzip: compression.unwrap_or(false),
    })
}

fn headers(options: &mut Options<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, given) in options.prefixed("header.") {
        let Ok(key) = HeaderName::try_from(name.as_str()) else {
            options.refuse(format!("has header.{name}, which is no header's name"));
            continue;
        };
        if names_a_secret(&key) && !given.is_by_reference() {
            options.refuse(refer_to_a_secret(&format!("header.{name}")));
            continue;
        }
        match header(&given) {
            Some(value) => drop(headers.append(key, value)),
            None => options.refuse(format!("has header.{name} with a line break")),
        }
    }
    headers
}

fn names_a_secret(name: &HeaderName) -> bool {
    let name = name.as_str();
    ["authorization", "key", "token", "secret", "password"]
        .into_iter()
        .any(|end| name.ends_with(end))
}

fn refer_to_a_secret(option: &str) -> String {
    format!("has {option} in the clear; refer to a Secret: {option}=$(secret:NAME/KEY)")
}

fn header(given: &Given) -> Option<HeaderValue> {
    // A Secret made from a file often has its last line break.
    let mut value = HeaderValue::try_from(given.value.trim_end()).ok()?;
    value.set_sensitive(given.is_by_reference());
    Some(value)
}

/// `token=…` or `user=…;password=…`.
fn authorization(options: &mut Options<'_>) -> Option<HeaderValue> {
    let token = secret("token", options);
    let user = options.text("user").map(|given| given.value);
    let password = secret("password", options);
    let value = match (token, user, password) {
        (None, None, None) => return None,
        (Some(token), None, None) => format!("{} {}", options.scheme, token.reveal()),
        (None, Some(user), password) => {
            let password = password.as_ref().map_or("", Secret::reveal);
            basic(&user, password)
        }
        _ => {
            options.refuse("has a token and a password, or a password and no user");
            return None;
        }
    };
    let value = HeaderValue::try_from(value).ok();
    let value = value.map(|mut value| {
        value.set_sensitive(true);
        value
    });
    options.noted(value.ok_or_else(|| "has a token with a line break in it".to_owned()))
}

fn basic(user: &str, password: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn secret(name: &'static str, options: &mut Options<'_>) -> Option<Secret> {
    let given = options.text(name)?;
    if !given.is_by_reference() {
        options.refuse(refer_to_a_secret(name));
        return None;
    }
    Some(Secret::new(given.value.trim_end().to_owned()))
}
