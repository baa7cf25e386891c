//! From a configured exporter to what encodes and what sends spans and lines for it.

use std::{path::PathBuf, sync::Arc};

use super::Plan;
use crate::{
    access_log::Record,
    config::{Exporter, Kind, OtlpTarget, Signal},
    export::{
        http::{self, HttpClient, Protocol},
        net::{Alpn, BadCertificates, Dialer},
        otlp,
        transport::Transport,
        zipkin::Zipkin,
    },
    proto::opentelemetry::proto::resource::v1::Resource,
    snapshot::Label,
    trace::Span,
};

/// What the process is: by itself, and by the configuration, which goes over that.
#[derive(Clone, Copy)]
pub(crate) struct Identity<'a> {
    pub(crate) own: &'a [Label],
    pub(crate) configured: &'a [(String, String)],
}

/// None, if the exporter does not send spans.
pub(crate) fn of_spans(
    exporter: &Exporter,
    identity: Identity<'_>,
    resolv_conf: Arc<PathBuf>,
) -> Result<Option<Plan<Span>>, BadCertificates> {
    match &exporter.kind {
        Kind::Otlp(to) => to.traces.as_ref().map_or(Ok(None), |target| {
            let resource = identity.resource(exporter);
            let encode = move |spans: &[Span]| otlp::traces::encode(spans, &resource);
            otlp(
                exporter,
                target,
                Signal::Traces,
                resolv_conf,
                Box::new(encode),
            )
            .map(Some)
        }),
        Kind::Zipkin(to) => {
            let zipkin = Zipkin::new(&identity.pairs(exporter));
            let dialer = Dialer::new(to, Alpn::Http1, resolv_conf)?;
            let protocol = Protocol {
                headers: &[("content-type", "application/json")],
                passes: http::passes,
            };
            let client = HttpClient::new(to.clone(), dialer, exporter.timeout, &protocol);
            Ok(Some(Plan {
                name: exporter.name.clone(),
                target: to.url.to_string(),
                encode: Box::new(move |spans| zipkin.encode(spans)),
                transport: Transport::Http {
                    client: Box::new(client),
                    rejected: |_| 0,
                },
            }))
        }
        _ => Ok(None),
    }
}

/// None, if the exporter does not send the access log.
pub(crate) fn of_records(
    exporter: &Exporter,
    identity: Identity<'_>,
    resolv_conf: Arc<PathBuf>,
) -> Result<Option<Plan<Record>>, BadCertificates> {
    let Kind::Otlp(to) = &exporter.kind else {
        return Ok(None);
    };
    to.logs.as_ref().map_or(Ok(None), |target| {
        let resource = identity.resource(exporter);
        let encode = move |records: &[Record]| otlp::logs::encode(records, &resource);
        otlp(
            exporter,
            target,
            Signal::Logs,
            resolv_conf,
            Box::new(encode),
        )
        .map(Some)
    })
}

fn otlp<T>(
    exporter: &Exporter,
    target: &OtlpTarget,
    signal: Signal,
    resolv_conf: Arc<PathBuf>,
    encode: super::Encode<T>,
) -> Result<Plan<T>, BadCertificates> {
    Ok(Plan {
        name: exporter.name.clone(),
        target: target.http.url.to_string(),
        encode,
        transport: otlp::transport(target, signal, resolv_conf)?,
    })
}

impl Identity<'_> {
    /// The configuration's, and the exporter's own tags.
    fn overrides(&self, exporter: &Exporter) -> Vec<(String, String)> {
        let tags = exporter.tags.iter().cloned();
        self.configured.iter().cloned().chain(tags).collect()
    }

    fn resource(&self, exporter: &Exporter) -> Resource {
        otlp::resource(self.own, &self.overrides(exporter))
    }

    /// The same, where there is no resource apart from what is sent.
    fn pairs(&self, exporter: &Exporter) -> Vec<(String, String)> {
        let overrides = self.overrides(exporter);
        let own = self.own.iter();
        let own = own.filter(|label| !overrides.iter().any(|(key, _)| key == label.key));
        let own = own.map(|label| (label.key.to_owned(), label.value.to_string()));
        own.chain(overrides.iter().cloned()).collect()
    }
}
