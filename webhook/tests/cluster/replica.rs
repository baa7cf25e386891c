//! A replica of the webhook, as far as its certificate goes, and the API server's
//! view of it.

use std::sync::Arc;

use k8s_openapi::ByteString;
use kube::Api;
use netting_runtime::Readiness;
use netting_telemetry::{Metrics, admission::CertificateMetrics};
use netting_webhook::{
    ca_bundle,
    certificate::{
        CaPem,
        secret::Keeper,
        serving::{Server, Serving},
    },
};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName},
    },
};

use crate::api_server::ApiServer;

pub(crate) const HOST: &str = "netting-webhook.netting.svc";
pub(crate) const BUNDLE: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/netting";

pub(crate) fn configuration() -> Value {
    json!({
        "kind": "MutatingWebhookConfiguration",
        "apiVersion": "admissionregistration.k8s.io/v1",
        "metadata": {},
        "webhooks": [{
            "name": "w", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {},
        }],
    })
}

pub(crate) struct Replica {
    server: ApiServer,
    readiness: Readiness,
    serving: Serving,
    metrics: Metrics,
    tasks: [JoinHandle<()>; 2],
}

impl Replica {
    pub(crate) fn start(server: &ApiServer) -> Self {
        let readiness = Readiness::new();
        let metrics = Metrics::new("webhook", "0");
        let has_certificate = readiness.condition("has a certificate");
        let (serves, serving, anchors) =
            Server::new(has_certificate, CertificateMetrics::register(&metrics));
        let (trusted_cas, trusted_by_now) = watch::channel(Vec::new());
        let keeper = Keeper {
            secrets: Api::namespaced(server.client(), "netting"),
            name: "netting-webhook-tls".to_owned(),
            host: HOST.to_owned(),
            server: serves,
            trusted_cas: trusted_by_now,
        };
        let bundle = ca_bundle::Keeper {
            configuration: "netting".to_owned(),
            anchors,
            trusted_cas,
            trusted: readiness.condition("trusted"),
        };
        let tasks = [
            tokio::spawn(keeper.keep()),
            tokio::spawn(bundle.keep(server.client())),
        ];
        Self {
            server: server.clone(),
            readiness,
            serving,
            metrics,
            tasks,
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.readiness.missing().is_empty()
    }

    /// The certificate that a new connection is served with, if the API server trusts
    /// it by the bundle as it is now.
    pub(crate) async fn trusted(&self) -> Option<CertificateDer<'static>> {
        handshake(&self.serving, &self.bundle()).await
    }

    /// The same of an API server that knows these CAs.
    pub(crate) async fn trusted_by(&self, cas: &[CaPem]) -> Option<CertificateDer<'static>> {
        handshake(&self.serving, cas).await
    }

    pub(crate) fn exposed(&self) -> String {
        self.metrics.expose()
    }

    pub(crate) fn bundle(&self) -> Vec<CaPem> {
        let store = self.server.lock();
        let configuration = store.get(BUNDLE).expect("it is there");
        let bundle = configuration["webhooks"][0]["clientConfig"]["caBundle"].clone();
        let bundle: Option<ByteString> = serde_json::from_value(bundle).expect("it is base64");
        bundle.map_or_else(Vec::new, |bundle| CaPem::all_in(&bundle.0))
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// What a client that trusts these is served with; nothing if it does not trust it.
pub(crate) async fn handshake(serving: &Serving, cas: &[CaPem]) -> Option<CertificateDer<'static>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(cas.iter().filter_map(CaPem::der));
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(HOST).expect("it is a name");
    let (near, far) = tokio::io::duplex(64 * 1024);
    let accepting = async {
        let acceptor = serving.acceptor().await;
        acceptor.accept(far).await
    };
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, near);
    let (_served, connected) = tokio::join!(accepting, connecting);
    let connected = connected.ok()?;
    let chain = connected.get_ref().1.peer_certificates()?;
    Some(chain[0].clone().into_owned())
}
