//! Admission webhooks, against a real HTTPS server: what they are sent, and what becomes of their
//! answers.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

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

use crate::harness::{Answer, Harness, normalised};

const PODS: &str = "/api/v1/namespaces/edge/pods";
const HOOKS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

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

type Seen = Arc<Mutex<Vec<Request<Value>>>>;

/// A webhook that answers `response` to everything, and remembers what it was asked.
async fn webhook(response: Value) -> (TlsServer, Seen) {
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

fn patching(operations: &Value) -> Value {
    json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(operations.to_string())})
}

/// A configuration of one webhook, with `changes` merged into it.
fn configuration(name: &str, server: &TlsServer, changes: Value) -> Value {
    let mut hook = json!({
        "name": format!("{name}.netting.dev"), "admissionReviewVersions": ["v1"], "sideEffects": "None", "timeoutSeconds": 5,
        "clientConfig": {"url": format!("https://localhost:{}/mutate", server.addr.port()), "caBundle": STANDARD.encode(&server.certificate)},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
    });
    json_patch::merge(&mut hook, &changes);
    json!({"metadata": {"name": name}, "webhooks": [hook]})
}

async fn cluster(server: &TlsServer, changes: Value) -> Harness {
    let harness = Harness::start(Options::default()).await;
    harness.namespace("edge").await;
    configure(&harness, "hook", server, changes).await;
    harness
}

async fn configure(harness: &Harness, name: &str, server: &TlsServer, changes: Value) {
    let made = harness
        .post(HOOKS, configuration(name, server, changes))
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
}

async fn create_pod(harness: &Harness, metadata: Value) -> Answer {
    let pod = json!({"metadata": metadata, "spec": {"containers": [{"name": "app", "image": "registry.example/app:1"}]}});
    harness.post(PODS, pod).await
}

/// An address where nobody listens, and one where somebody accepts and says nothing.
async fn dead_ends() -> (TlsServer, (TlsServer, TcpListener)) {
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

#[tokio::test]
async fn a_webhook_that_fails_is_ignored_or_obeyed_as_its_policy_says() {
    let (closed, (silent, _listener)) = dead_ends().await;
    let broken = tls_server(|_| (500, "on fire".to_owned())).await;
    let confused = tls_server(|_| (200, "{}".to_owned())).await;
    let chatty = tls_server(|_| (200, "not json".to_owned())).await;
    let mut stranger = tls_server(|_| (200, "{}".to_owned())).await;
    stranger.certificate = closed.certificate.clone();
    for (server, why) in [
        (&closed, "connect: Connection refused"),
        (&silent, "context deadline exceeded"),
        (&broken, "the server answered 500"),
        (&confused, "received invalid webhook response"),
        (&chatty, "the answer is not JSON"),
        (&stranger, "invalid peer certificate"),
    ] {
        let harness = cluster(
            server,
            json!({"failurePolicy": "Fail", "timeoutSeconds": 1}),
        )
        .await;
        let refused = create_pod(&harness, json!({"name": "p"})).await;
        assert_eq!(
            (refused.status, &refused.body["reason"]),
            (500, &json!("InternalError")),
            "{}",
            refused.body
        );
        let message = refused.body["message"].as_str().expect("a message");
        assert!(
            message.starts_with(
                "Internal error occurred: failed calling webhook \"hook.netting.dev\": "
            ),
            "{message}"
        );
        assert!(message.contains(why), "{message} should say {why}");
        let lenient = json!({"webhooks": configuration("hook", server, json!({"failurePolicy": "Ignore", "timeoutSeconds": 1}))["webhooks"]});
        harness.patch(&format!("{HOOKS}/hook"), lenient).await;
        let started = Instant::now();
        assert_eq!(
            create_pod(&harness, json!({"name": "p"})).await.status,
            201,
            "{why}"
        );
        assert!(
            started.elapsed() < Duration::from_secs(4),
            "the timeout is the webhook's own"
        );
    }
}

#[tokio::test]
async fn a_webhook_may_refuse_with_its_own_words() {
    let denial = json!({"allowed": false, "status": {"code": 418, "message": "no pods today"}, "warnings": ["mind \"this\""]});
    let (server, _) = webhook(denial).await;
    let harness = cluster(&server, json!({})).await;
    let refused = create_pod(&harness, json!({"name": "p"})).await;
    assert_eq!(refused.status, 418);
    assert_eq!(
        refused.body["message"],
        "admission webhook \"hook.netting.dev\" denied the request: no pods today"
    );
}

#[tokio::test]
async fn a_patch_that_cannot_be_used_refuses_the_pod_whatever_the_policy() {
    for operations in [
        json!([{"op": "remove", "path": "/spec/nothing"}]),
        json!([{"op": "add", "path": "/spec/containers", "value": "none"}]),
    ] {
        let (server, _) = webhook(patching(&operations)).await;
        let harness = cluster(&server, json!({"failurePolicy": "Ignore"})).await;
        assert_eq!(
            create_pod(&harness, json!({"name": "p"})).await.status,
            500,
            "{operations}"
        );
    }
    let (server, _) = webhook(patching(
        &json!([{"op": "remove", "path": "/spec/containers/0/image"}]),
    ))
    .await;
    let harness = cluster(&server, json!({"failurePolicy": "Ignore"})).await;
    assert_eq!(
        create_pod(&harness, json!({"name": "p"})).await.status,
        422,
        "what was patched is checked again"
    );
}

#[tokio::test]
async fn what_a_webhook_adds_gets_its_defaults_and_its_warnings_arrive() {
    let operations = json!([{"op": "add", "path": "/spec/initContainers", "value": [{"name": "i", "image": "i:1"}]},
        {"op": "add", "path": "/metadata/labels", "value": {"netting.dev/injected": "true"}}]);
    let mut response = patching(&operations);
    response["warnings"] = json!(["mind the \"gap\""]);
    let (server, _) = webhook(response).await;
    let harness = cluster(&server, json!({})).await;
    let made = create_pod(&harness, json!({"name": "p"})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.headers["warning"], "299 - \"mind the \\\"gap\\\"\"");
    assert_eq!(
        made.body["spec"]["initContainers"][0]["terminationMessagePolicy"],
        "File"
    );
    assert_eq!(
        made.body["metadata"]["labels"]["netting.dev/injected"],
        "true"
    );
}

#[tokio::test]
async fn only_what_selectors_and_conditions_choose_is_sent() {
    let (server, seen) = webhook(json!({"allowed": true})).await;
    let changes = json!({
        "namespaceSelector": {"matchLabels": {"netting.dev/inject": "enabled"}},
        "objectSelector": {"matchExpressions": [{"key": "off", "operator": "DoesNotExist"}]},
        "matchConditions": [
            {"name": "not-host-network", "expression": "!has(object.spec.hostNetwork) || !object.spec.hostNetwork"},
            {"name": "not-annotated", "expression": "object.metadata.?annotations[?'skip'].orValue('') != 'yes'"},
            {"name": "by-anybody", "expression": "request.userInfo.username != '' && request.operation == 'CREATE'"}],
    });
    let harness = cluster(&server, changes).await;
    create_pod(&harness, json!({"name": "a"})).await;
    assert_eq!(seen.lock().len(), 0, "the namespace isn't labelled");
    harness
        .patch(
            "/api/v1/namespaces/edge",
            json!({"metadata": {"labels": {"netting.dev/inject": "enabled"}}}),
        )
        .await;
    create_pod(&harness, json!({"name": "b", "labels": {"off": ""}})).await;
    create_pod(
        &harness,
        json!({"name": "c", "annotations": {"skip": "yes"}}),
    )
    .await;
    let spec = json!({"hostNetwork": true, "containers": [{"name": "a", "image": "a"}]});
    harness
        .post(PODS, json!({"metadata": {"name": "d"}, "spec": spec}))
        .await;
    harness
        .post(
            "/api/v1/namespaces/edge/configmaps",
            json!({"metadata": {"name": "m"}}),
        )
        .await;
    assert_eq!(seen.lock().len(), 0, "all of these were passed over");
    create_pod(&harness, json!({"name": "e"})).await;
    create_pod(
        &harness,
        json!({"name": "f", "annotations": {"skip": "no"}}),
    )
    .await;
    harness
        .patch(
            &format!("{PODS}/f"),
            json!({"metadata": {"labels": {"x": "y"}}}),
        )
        .await;
    assert_eq!(seen.lock().len(), 2, "an update isn't a creation");
}

#[tokio::test]
async fn a_condition_that_cannot_be_told_counts_as_a_failure() {
    let (server, seen) = webhook(json!({"allowed": true})).await;
    let conditions =
        json!([{"name": "broken", "expression": "object.metadata.nothing.here == 'x'"}]);
    let harness = cluster(
        &server,
        json!({"failurePolicy": "Fail", "matchConditions": conditions}),
    )
    .await;
    assert_eq!(create_pod(&harness, json!({"name": "p"})).await.status, 403);
    let lenient = configuration(
        "hook",
        &server,
        json!({"failurePolicy": "Ignore", "matchConditions": conditions}),
    );
    harness
        .patch(
            &format!("{HOOKS}/hook"),
            json!({"webhooks": lenient["webhooks"]}),
        )
        .await;
    assert_eq!(create_pod(&harness, json!({"name": "p"})).await.status, 201);
    assert_eq!(seen.lock().len(), 0);
}

#[tokio::test]
async fn a_webhook_is_asked_again_if_a_later_one_changed_the_pod() {
    let (first, seen) = webhook(json!({"allowed": true})).await;
    let label = json!([{"op": "add", "path": "/metadata/labels", "value": {"late": "1"}}]);
    let (second, _) = webhook(patching(&label)).await;
    let harness = cluster(&first, json!({"reinvocationPolicy": "IfNeeded"})).await;
    create_pod(&harness, json!({"name": "a"})).await;
    assert_eq!(seen.lock().len(), 1, "nothing changed after it");
    configure(&harness, "later", &second, json!({})).await;
    create_pod(&harness, json!({"name": "b"})).await;
    let seen = seen.lock();
    assert_eq!(seen.len(), 3);
    assert_eq!(
        seen[2].body()["request"]["object"]["metadata"]["labels"]["late"],
        "1"
    );
}

#[tokio::test]
async fn reviews_are_what_a_real_server_sent() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/admission");
    let mut files: Vec<_> = fs::read_dir(directory)
        .expect("recordings")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let recorded: Value =
            serde_json::from_str(&fs::read_to_string(&file).expect("a recording")).expect("JSON");
        let request = &recorded["review"]["request"];
        let (server, seen) = webhook(json!({"allowed": true})).await;
        let harness = Harness::start(Options::default()).await;
        let namespace = request["namespace"].as_str().expect("pods have one");
        harness.namespace(namespace).await;
        configure(&harness, "hook", &server, json!({})).await;
        let account = request["object"]["spec"]["serviceAccountName"]
            .as_str()
            .unwrap_or("default");
        let automount = request["object"]["spec"]["volumes"].is_array();
        let account =
            json!({"metadata": {"name": account}, "automountServiceAccountToken": automount});
        harness
            .post(
                &format!("/api/v1/namespaces/{namespace}/serviceaccounts"),
                account,
            )
            .await;
        let query = query(&request["options"]);
        let made = harness
            .post(
                &format!("/api/v1/namespaces/{namespace}/pods?{query}"),
                before_admission(&request["object"]),
            )
            .await;
        assert_eq!(made.status, 201, "{file:?}: {}", made.body);
        let seen = seen.lock();
        let sent = seen.first().expect("it was asked");
        assert_eq!(sent.uri(), recorded["path"].as_str().expect("a path"));
        for header in ["User-Agent", "Accept", "Content-Type"] {
            assert_eq!(
                sent.headers()[header],
                recorded["headers"][header].as_str().expect("a header"),
                "{file:?}"
            );
        }
        assert_eq!(
            comparable(sent.body()),
            comparable(&recorded["review"]),
            "{file:?}"
        );
    }
}

fn query(options: &Value) -> String {
    let known = ["fieldManager", "fieldValidation"]
        .iter()
        .filter_map(|key| Some(format!("{key}={}", options[*key].as_str()?)));
    known.collect::<Vec<_>>().join("&")
}

/// The pod as its creator sent it: without what admission added.
fn before_admission(pod: &Value) -> Value {
    let mut pod = pod.clone();
    pod["metadata"]
        .as_object_mut()
        .expect("metadata")
        .remove("managedFields");
    let spec = pod["spec"].as_object_mut().expect("a spec");
    for added in ["tolerations", "priority", "preemptionPolicy", "volumes"] {
        spec.remove(added);
    }
    for kind in ["initContainers", "containers"] {
        for container in spec
            .get_mut(kind)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let container = container.as_object_mut().expect("a container");
            let Some(Value::Array(mut mounts)) = container.remove("volumeMounts") else {
                continue;
            };
            let is_added = |mount: &Value| {
                mount["name"]
                    .as_str()
                    .unwrap_or_default()
                    .starts_with("kube-api-access-")
            };
            mounts.retain(|mount| !is_added(mount));
            if !mounts.is_empty() {
                container.insert("volumeMounts".to_owned(), mounts.into());
            }
        }
    }
    pod
}

/// A review without what differs: identities, who asked, and a distribution's own additions.
fn comparable(review: &Value) -> Value {
    let mut review = normalised(review);
    let request = &mut review["request"];
    request["userInfo"] = Value::Null;
    let object = &mut request["object"];
    // Which fields count as set is compared where the API itself is tested; here they depend on
    // what was left out when the pod was sent.
    object["metadata"]["managedFields"] = Value::Null;
    let sources = object
        .pointer_mut("/spec/volumes/0/projected/sources")
        .and_then(Value::as_array_mut);
    if let Some(sources) = sources {
        sources.retain(|source| source["configMap"]["name"] != "openshift-service-ca.crt");
    }
    let text = review.to_string();
    match text
        .split('"')
        .find(|part| part.starts_with("kube-api-access-"))
    {
        Some(volume) => serde_json::from_str(&text.replace(volume, "kube-api-access-<generated>"))
            .expect("still JSON"),
        None => review,
    }
}
