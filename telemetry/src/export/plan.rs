//! From a configured exporter to what encodes and what sends for it.

use std::{collections::HashSet, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    collector::{Encode, Last},
    datagrams::{Datagrams, Place},
    delta::Deltas,
    encoded::Packer,
    graphite::Graphite,
    http::{self, HttpClient, Protocol},
    influxdb,
    lines::Lines,
    net::{Alpn, BadCertificates, Dialer},
    otlp,
    remote_write::{self, RemoteWrite},
    statsd::{self, Statsd},
    tags::Tags,
    transport::Transport,
};
use crate::config::{
    Address, Authority, Exporter, Http, Kind, Signal, StatsdDialect, TagStyle, Temporality,
};

/// What an exporter of metrics is made of.
pub(crate) struct Plan {
    pub(crate) encode: Encode,
    pub(crate) transport: Transport,
    pub(crate) target: String,
}

/// What all plans of a process share.
struct Maker<'a> {
    exporter: &'a Exporter,
    resource: &'a [(String, String)],
    resolv_conf: Arc<PathBuf>,
}

impl Plan {
    /// None, if the exporter does not send metrics.
    pub(crate) fn of(
        exporter: &Exporter,
        resource: &[(String, String)],
        resolv_conf: Arc<PathBuf>,
    ) -> Result<Option<Self>, BadCertificates> {
        let maker = Maker {
            exporter,
            resource,
            resolv_conf,
        };
        match &exporter.kind {
            Kind::Prometheus | Kind::Zipkin(_) => Ok(None),
            Kind::Otlp(to) => match &to.metrics {
                Some(target) => maker.otlp(target).map(Some),
                None => Ok(None),
            },
            Kind::RemoteWrite(http) => maker.remote_write(http).map(Some),
            Kind::Statsd {
                to,
                dialect,
                tags,
                prefix,
            } => Ok(Some(maker.statsd(to, *dialect, *tags, prefix.as_deref()))),
            Kind::Graphite { to, tags, prefix } => {
                Ok(Some(maker.graphite(to, *tags, prefix.as_deref())))
            }
            Kind::InfluxdbUdp(to) => Ok(Some(maker.influxdb_udp(to))),
            Kind::InfluxdbHttp(http) => maker.influxdb_http(http).map(Some),
        }
    }
}

impl Maker<'_> {
    fn otlp(&self, target: &crate::config::OtlpTarget) -> Result<Plan, BadCertificates> {
        let mut resource = self.resource.to_vec();
        resource.extend(self.exporter.tags.iter().cloned());
        let additions = otlp::metrics::Additions {
            resource,
            histograms: self.exporter.histograms,
            temporality: self.exporter.temporality,
        };
        let mut changes = otlp::changes::Changes::new(self.exporter.temporality);
        let resolv_conf = Arc::clone(&self.resolv_conf);
        Ok(Plan {
            encode: Box::new(move |snapshot, _| match additions.temporality {
                Temporality::Cumulative => otlp::metrics::encode(snapshot, &additions),
                _ => otlp::metrics::encode(&changes.of(snapshot), &additions),
            }),
            transport: otlp::transport(target, Signal::Metrics, resolv_conf)?,
            target: target.http.url.to_string(),
        })
    }

    fn remote_write(&self, http: &Http) -> Result<Plan, BadCertificates> {
        let mut encoder = RemoteWrite {
            tags: self.exporter.tags.clone(),
            resource: self.resource.to_vec(),
            histograms: self.exporter.histograms,
            known: HashSet::new(),
        };
        let protocol = Protocol {
            headers: &[
                ("content-type", "application/x-protobuf"),
                ("content-encoding", "snappy"),
                ("x-prometheus-remote-write-version", "0.1.0"),
            ],
            passes: remote_write::passes,
        };
        Ok(Plan {
            encode: Box::new(move |snapshot, last| {
                let mut encoded = encoder.encode(snapshot);
                if last == Last::Yes {
                    encoded.batches.extend(encoder.end(snapshot.at).batches);
                }
                encoded
            }),
            transport: self.post(http, &protocol)?,
            target: http.url.to_string(),
        })
    }

    fn statsd(
        &self,
        to: &Address,
        dialect: StatsdDialect,
        style: TagStyle,
        prefix: Option<&str>,
    ) -> Plan {
        let tags = match style {
            // A path with the pod in it would be one for each pod there ever was.
            TagStyle::Path => Tags::configured(&self.exporter.tags),
            _ => Tags::with_identity(&self.exporter.tags, self.resource),
        };
        let mut encoder = Statsd {
            dialect,
            style,
            prefix: dotted(prefix),
            tags,
            bytes_max: match to {
                Address::Unix(_) => statsd::UNIX_BYTES_MAX,
                _ => statsd::UDP_BYTES_MAX,
            },
            deltas: Deltas::default(),
        };
        Plan {
            encode: Box::new(move |snapshot, _| encoder.encode(snapshot)),
            transport: self.datagrams(to),
            target: to.to_string(),
        }
    }

    fn graphite(&self, to: &Address, style: TagStyle, prefix: Option<&str>) -> Plan {
        let encoder = Graphite {
            style,
            prefix: dotted(prefix),
            tags: Tags::with_identity(&self.exporter.tags, self.resource),
        };
        let transport = match to {
            Address::Tcp(authority) => {
                Transport::Lines(Lines::new(self.dialer(authority), self.timeout()))
            }
            Address::Udp(_) | Address::Unix(_) => self.datagrams(to),
        };
        Plan {
            encode: Box::new(move |snapshot, _| encoder.encode(snapshot)),
            transport,
            target: to.to_string(),
        }
    }

    fn influxdb_udp(&self, to: &Address) -> Plan {
        let tags = Tags::with_identity(&self.exporter.tags, self.resource);
        Plan {
            encode: Box::new(move |snapshot, _| {
                let packer = Packer::datagrams(statsd::UDP_BYTES_MAX);
                influxdb::encode(snapshot, &tags, packer)
            }),
            transport: self.datagrams(to),
            target: to.to_string(),
        }
    }

    fn influxdb_http(&self, http: &Http) -> Result<Plan, BadCertificates> {
        let tags = Tags::with_identity(&self.exporter.tags, self.resource);
        let protocol = Protocol {
            headers: &[("content-type", "text/plain; charset=utf-8")],
            passes: http::passes,
        };
        Ok(Plan {
            encode: Box::new(move |snapshot, _| {
                let packer = Packer::bodies(influxdb::BODY_BYTES_MAX);
                influxdb::encode(snapshot, &tags, packer)
            }),
            transport: self.post(http, &protocol)?,
            target: http.url.to_string(),
        })
    }

    fn post(&self, http: &Http, protocol: &Protocol) -> Result<Transport, BadCertificates> {
        let resolv_conf = Arc::clone(&self.resolv_conf);
        let dialer = Dialer::new(http, Alpn::Http1, resolv_conf)?;
        Ok(Transport::Http {
            client: Box::new(HttpClient::new(
                http.clone(),
                dialer,
                self.timeout(),
                protocol,
            )),
            rejected: |_: Bytes| 0,
        })
    }

    fn datagrams(&self, to: &Address) -> Transport {
        let place = match to {
            Address::Udp(authority) | Address::Tcp(authority) => Place::Udp(self.dialer(authority)),
            Address::Unix(path) => Place::Unix(path.clone()),
        };
        Transport::Datagrams(Datagrams::new(place, self.timeout()))
    }

    fn dialer(&self, authority: &Authority) -> Dialer {
        Dialer {
            authority: authority.clone(),
            resolv_conf: Arc::clone(&self.resolv_conf),
            tls: None,
        }
    }

    fn timeout(&self) -> Duration {
        self.exporter.timeout
    }
}

fn dotted(prefix: Option<&str>) -> String {
    let prefix = prefix.unwrap_or_default();
    if prefix.is_empty() {
        String::new()
    } else {
        format!("{prefix}.")
    }
}
