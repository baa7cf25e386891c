//! HTTPS servers for tests, and webhooks made of them.

use std::{net::SocketAddr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Bytes, service::service_fn};
use hyper_util::rt::TokioIo;
use netting_sandbox::api::Options;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
};

use crate::harness::{Answer, Harness};

/// Where the pods of these tests are.
pub(crate) const PODS: &str = "/api/v1/namespaces/edge/pods";
/// Where the configurations are.
pub(crate) const HOOKS: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

/// An HTTPS server for `localhost`.
pub(crate) struct TlsServer {
    pub(crate) addr: SocketAddr,
    /// PEM.
    pub(crate) certificate: String,
}

/// Serves `answer`, which returns a status and a body.
pub(crate) async fn tls_server(
    answer: impl Fn(Request<Vec<u8>>) -> (u16, String) + Send + Sync + 'static,
) -> TlsServer {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let private = PrivateKeyDer::try_from(key.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private)
        .expect("a server");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("a bound socket");
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, answer) = (acceptor.clone(), Arc::clone(&answer));
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let answer = Arc::clone(&answer);
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes().to_vec();
                        let (status, text) = answer(Request::from_parts(head, body));
                        let mut response = Response::new(Full::new(Bytes::from(text)));
                        *response.status_mut() =
                            http::StatusCode::from_u16(status).expect("a status");
                        Ok::<_, hyper::Error>(response)
                    }
                });
                let served = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                if let Err(error) = served.await {
                    tracing::debug!(%error, "connection ended");
                }
            });
        }
    });
    TlsServer {
        addr,
        certificate: key.cert.pem(),
    }
}

/// The reviews that a webhook was sent.
pub(crate) type Seen = Arc<Mutex<Vec<Request<Value>>>>;

/// A webhook that answers `response` to everything, and remembers what it was asked.
pub(crate) async fn webhook(response: Value) -> (TlsServer, Seen) {
    let seen = Seen::default();
    let remembered = Arc::clone(&seen);
    let server = tls_server(move |request| {
        let review: Value = serde_json::from_slice(request.body()).expect("a review is JSON");
        let mut answer = response.clone();
        answer["uid"] = review["request"]["uid"].clone();
        remembered.lock().push(request.map(|_| review));
        (200, json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": answer}).to_string())
    });
    (server.await, seen)
}

/// An answer that patches.
pub(crate) fn patching(operations: &Value) -> Value {
    json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(operations.to_string())})
}

/// A configuration of one webhook, with `changes` merged into it.
pub(crate) fn configuration(name: &str, server: &TlsServer, changes: Value) -> Value {
    let mut hook = json!({
        "name": format!("{name}.netting.dev"), "admissionReviewVersions": ["v1"], "sideEffects": "None", "timeoutSeconds": 5,
        "clientConfig": {"url": format!("https://localhost:{}/mutate", server.addr.port()), "caBundle": STANDARD.encode(&server.certificate)},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
    });
    json_patch::merge(&mut hook, &changes);
    json!({"metadata": {"name": name}, "webhooks": [hook]})
}

/// A cluster with a namespace `edge` and one webhook.
pub(crate) async fn cluster(server: &TlsServer, changes: Value) -> Harness {
    let harness = Harness::start(Options::default()).await;
    harness.namespace("edge").await;
    configure(&harness, "hook", server, changes).await;
    harness
}

/// Adds a webhook.
pub(crate) async fn configure(harness: &Harness, name: &str, server: &TlsServer, changes: Value) {
    let made = harness
        .post(HOOKS, configuration(name, server, changes))
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
}

/// Makes a pod in `edge`.
pub(crate) async fn create_pod(harness: &Harness, metadata: Value) -> Answer {
    let pod = json!({"metadata": metadata, "spec": {"containers": [{"name": "app", "image": "registry.example/app:1"}]}});
    harness.post(PODS, pod).await
}

/// An address where nobody listens, and one where somebody accepts and says nothing.
pub(crate) async fn dead_ends() -> (TlsServer, (TlsServer, TcpListener)) {
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port")
        .local_addr()
        .expect("a bound socket");
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = silent.local_addr().expect("a bound socket");
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()])
        .expect("a certificate")
        .cert
        .pem();
    (
        TlsServer {
            addr: closed,
            certificate: certificate.clone(),
        },
        (TlsServer { addr, certificate }, silent),
    )
}
