//! What new connections are accepted with. It changes while it is in use: a
//! connection keeps what it began with, the next one gets the new one.
//!
//! A certificate is not served before the API server can trust it. So whoever has
//! found a new one only offers it; it is put to use once its CA is in the bundle.

use std::time::SystemTime;

use netting_runtime::readiness::Condition;
use netting_telemetry::admission::CertificateMetrics;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::{CaPem, ServingCertificate};

/// The reader's side. Cheap to clone.
#[derive(Clone)]
pub struct Serving(watch::Receiver<Option<TlsAcceptor>>);

impl Serving {
    /// What to accept the next connection with. Waits for the first certificate.
    pub async fn acceptor(&self) -> TlsAcceptor {
        let mut acceptor = self.0.clone();
        let first = match acceptor.wait_for(Option::is_some).await {
            Ok(acceptor) => acceptor.clone(),
            Err(_) => None,
        };
        match first {
            Some(acceptor) => acceptor,
            // Whoever looked for one has ended without, and so will the process.
            None => std::future::pending().await,
        }
    }

    /// One that never changes.
    #[must_use]
    pub fn fixed(certificate: &ServingCertificate) -> Self {
        Self(watch::channel(Some(certificate.acceptor())).1)
    }
}

/// What the API server is to trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchors {
    /// All of these at once. None at all: trust is somebody else's business.
    pub cas: Vec<CaPem>,
    /// Who else may have put some there.
    pub origin: Origin,
}

/// Where a certificate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Self-made and in the Secret: the same for each replica, so that nothing else
    /// belongs in the bundle.
    Shared,
    /// Self-made and in this process alone: other replicas have their own.
    Memory,
    /// The team's own.
    Given,
}

/// A certificate that might be served with.
pub struct Offer<'a> {
    /// It.
    pub certificate: &'a ServingCertificate,
    /// What is to be trusted along with it.
    pub anchors: Anchors,
}

/// The writer's side.
pub struct Server {
    acceptor: watch::Sender<Option<TlsAcceptor>>,
    anchors: watch::Sender<Option<Anchors>>,
    served: Option<Served>,
    has_certificate: Condition,
    metrics: CertificateMetrics,
}

struct Served {
    certificate: ServingCertificate,
    anchors: Anchors,
}

impl Server {
    /// Both sides, and what the API server is to trust: nothing is known before the
    /// first offer. `has_certificate` holds while one is served that has not expired.
    #[must_use]
    pub fn new(
        has_certificate: Condition,
        metrics: CertificateMetrics,
    ) -> (Self, Serving, watch::Receiver<Option<Anchors>>) {
        let (acceptor, serving) = watch::channel(None);
        let (anchors, trust) = watch::channel(None);
        let server = Self {
            acceptor,
            anchors,
            served: None,
            has_certificate,
            metrics,
        };
        (server, Serving(serving), trust)
    }

    /// Takes a certificate into use, if that interrupts nothing: it is valid already and
    /// every API server trusts the CAs that it needs (`trusted`), or what is served now is
    /// over or isn't there. Until then its CAs are asked for, beside those of what is
    /// served.
    pub fn offer(&mut self, offer: Offer<'_>, trusted: &[CaPem], now: SystemTime) {
        let Offer {
            certificate,
            anchors,
        } = offer;
        if self.may_serve(certificate, &anchors, trusted, now) {
            self.serve(certificate, anchors);
        } else {
            let mut both = anchors;
            if let Some(served) = &self.served {
                let missing = served
                    .anchors
                    .cas
                    .iter()
                    .filter(|ca| !both.cas.contains(ca));
                let missing: Vec<_> = missing.cloned().collect();
                both.cas.extend(missing);
            }
            self.ask_for(both);
        }
        self.has_certificate.set(self.serves(now));
    }

    /// Whether a certificate that was given is refused, and something else served.
    pub fn refuses(&self, given: bool) {
        self.metrics.refuses(given);
    }

    /// Whether anything is served that has not expired.
    #[must_use]
    pub fn serves(&self, now: SystemTime) -> bool {
        let served = self.served.as_ref();
        served.is_some_and(|served| !served.certificate.validity().expired(now))
    }

    fn may_serve(
        &self,
        certificate: &ServingCertificate,
        anchors: &Anchors,
        trusted: &[CaPem],
        now: SystemTime,
    ) -> bool {
        let same = |served: &Served| served.certificate.chain() == certificate.chain();
        let is_trusted = anchors.cas.iter().all(|ca| trusted.contains(ca));
        !self.serves(now)
            || self.served.as_ref().is_some_and(same)
            || is_trusted && certificate.validity().holds(now)
    }

    fn serve(&mut self, certificate: &ServingCertificate, anchors: Anchors) {
        let is_new = self
            .served
            .as_ref()
            .is_none_or(|served| served.certificate.chain() != certificate.chain());
        self.ask_for(anchors.clone());
        if is_new {
            self.acceptor.send_replace(Some(certificate.acceptor()));
            self.metrics.serves_until(certificate.validity().not_after);
            let validity = certificate.validity();
            tracing::info!(
                origin = ?anchors.origin,
                expires = %humantime::format_rfc3339_seconds(validity.not_after),
                "new connections are served with this certificate"
            );
        }
        self.served = Some(Served {
            certificate: certificate.clone(),
            anchors,
        });
    }

    fn ask_for(&self, wanted: Anchors) {
        self.anchors.send_if_modified(|anchors| {
            let changed = anchors.as_ref() != Some(&wanted);
            *anchors = Some(wanted);
            changed
        });
    }
}
