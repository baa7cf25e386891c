//! The CA bundle, kept right in an API server that is a page of code: list, watch,
//! get and JSON patch of one object, and failures on demand.
//!
//! Time is paused, and moves on only once nothing is left to do: after some
//! seconds of it everything has settled.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use k8s_openapi::ByteString;
use kube::{Client, client::Body};
use netting_runtime::Readiness;
use netting_webhook::{ca_bundle, certificate::CaPem};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};

const OWN: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const OTHER: &str = "-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n";
/// Longer than any retry, shorter than a watch.
const SETTLED: Duration = Duration::from_secs(120);

#[derive(Clone, Default)]
struct ApiServer(Arc<Mutex<Cluster>>);

#[derive(Default)]
struct Cluster {
    version: u64,
    configuration: Option<Value>,
    watchers: Vec<mpsc::UnboundedSender<Value>>,
    patches: usize,
    /// So many patches are answered with an internal error.
    failing: usize,
    /// Somebody else's change, just before the next patch arrives.
    race: Option<Value>,
}

impl ApiServer {
    fn lock(&self) -> MutexGuard<'_, Cluster> {
        self.0
            .lock()
            .expect("no test panics while it holds the lock")
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(service, "default")
    }

    /// Somebody writes the object, with these bundles in its webhooks.
    fn write(&self, bundles: &[&str]) {
        self.lock().write(configuration(bundles));
    }

    fn bundles(&self) -> Vec<String> {
        let cluster = self.lock();
        let object = cluster.configuration.as_ref().expect("it exists");
        let webhooks = object["webhooks"].as_array().expect("it has webhooks");
        let bundle = |webhook: &Value| {
            let bundle = webhook["clientConfig"]["caBundle"].clone();
            let bundle: ByteString = serde_json::from_value(bundle).expect("it is base64");
            String::from_utf8(bundle.0).expect("it is PEM")
        };
        webhooks.iter().map(bundle).collect()
    }

    async fn answer(&self, request: Request<Body>) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
        let (head, body) = request.into_parts();
        let query = head.uri.query().unwrap_or_default();
        let named = head.uri.path().ends_with("/netting");
        if head.method == Method::PATCH {
            let body = body.collect().await.expect("it is in memory").to_bytes();
            let patch = serde_json::from_slice(&body).expect("it is a JSON patch");
            let (status, answer) = self.lock().patch(&patch);
            return reply(status, &answer);
        }
        if named {
            let object = self.lock().configuration.clone();
            return object.map_or_else(
                || reply(StatusCode::NOT_FOUND, &failure(404, "NotFound")),
                |object| reply(StatusCode::OK, &object),
            );
        }
        assert!(
            query.contains("fieldSelector=metadata.name%3Dnetting"),
            "{query}"
        );
        if query.contains("watch=true") {
            return self.watch();
        }
        let cluster = self.lock();
        let items: Vec<_> = cluster.configuration.iter().collect();
        let version = cluster.version.to_string();
        reply(
            StatusCode::OK,
            &json!({
                "kind": "MutatingWebhookConfigurationList",
                "apiVersion": "admissionregistration.k8s.io/v1",
                "metadata": {"resourceVersion": version},
                "items": items,
            }),
        )
    }

    fn watch(&self) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
        let (sender, receiver) = mpsc::unbounded_channel::<Value>();
        self.lock().watchers.push(sender);
        let lines = stream::unfold(receiver, async |mut receiver| {
            let event = receiver.recv().await?;
            let line = Bytes::from(format!("{event}\n"));
            Some((Ok(Frame::data(line)), receiver))
        });
        Response::new(StreamBody::new(lines).boxed_unsync())
    }
}

impl Cluster {
    fn write(&mut self, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let event = if self.configuration.is_some() {
            "MODIFIED"
        } else {
            "ADDED"
        };
        let event = json!({"type": event, "object": object});
        self.watchers
            .retain(|watcher| watcher.send(event.clone()).is_ok());
        self.configuration = Some(object);
    }

    fn patch(&mut self, patch: &json_patch::Patch) -> (StatusCode, Value) {
        self.patches += 1;
        if self.failing > 0 {
            self.failing -= 1;
            return (
                StatusCode::INTERNAL_SERVER_ERROR,
                failure(500, "InternalError"),
            );
        }
        if let Some(object) = self.race.take() {
            self.write(object);
        }
        let mut object = self
            .configuration
            .clone()
            .expect("only what exists is patched");
        match json_patch::patch(&mut object, patch) {
            Ok(()) => {
                self.write(object.clone());
                (StatusCode::OK, object)
            }
            Err(_) => (StatusCode::UNPROCESSABLE_ENTITY, failure(422, "Invalid")),
        }
    }
}

fn configuration(bundles: &[&str]) -> Value {
    let webhook = |bundle: &&str| {
        json!({
            "name": "w",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "clientConfig": {"caBundle": ByteString(bundle.as_bytes().to_vec())},
        })
    };
    json!({
        "kind": "MutatingWebhookConfiguration",
        "apiVersion": "admissionregistration.k8s.io/v1",
        "metadata": {"name": "netting"},
        "webhooks": bundles.iter().map(webhook).collect::<Vec<_>>(),
    })
}

fn failure(code: u16, reason: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "on demand", "reason": reason, "code": code,
    })
}

fn reply(status: StatusCode, body: &Value) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let body = Full::new(Bytes::from(body.to_string())).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// Keeps the bundle, while `steps` are taken one after another, each of them once
/// all has settled; says after each whether the webhook held itself for trusted.
async fn keep_through(server: &ApiServer, steps: &mut [&mut dyn FnMut(&ApiServer)]) -> Vec<bool> {
    let readiness = Readiness::new();
    let trusted = readiness.condition("trusted");
    let ca = CaPem(OWN.to_owned());
    let mut keep = pin!(ca_bundle::keep(server.client(), "netting", &ca, &trusted));
    let mut held = Vec::new();
    for step in steps {
        step(server);
        let kept = timeout(SETTLED, keep.as_mut()).await;
        kept.expect_err("it is kept for as long as the process lives");
        held.push(readiness.missing().is_empty());
    }
    held
}

#[tokio::test(start_paused = true)]
async fn is_set_in_every_webhook_and_mended_when_overwritten() {
    let server = ApiServer::default();
    server.write(&["", ""]);
    let mut overwrite = |server: &ApiServer| {
        assert_eq!(server.bundles(), [OWN, OWN]);
        server.write(&["", OTHER]);
    };
    let held = keep_through(&server, &mut [&mut |_| {}, &mut overwrite]).await;
    assert_eq!(held, [true, true]);
    assert_eq!(server.bundles(), [OWN.to_owned(), format!("{OWN}{OTHER}")]);
    assert_eq!(
        server.lock().patches,
        2,
        "nothing is written that is right already"
    );
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_is_not_there_yet_is_waited_for() {
    let server = ApiServer::default();
    let held = keep_through(
        &server,
        &mut [&mut |_| {}, &mut |server| server.write(&[""])],
    )
    .await;
    assert_eq!(held, [false, true]);
    assert_eq!(server.bundles(), [OWN]);
}

#[tokio::test(start_paused = true)]
async fn a_change_at_the_same_moment_is_not_lost() {
    let server = ApiServer::default();
    server.write(&[""]);
    server.lock().race = Some(configuration(&[OTHER, ""]));
    let held = keep_through(&server, &mut [&mut |_| {}]).await;
    assert_eq!(held, [true]);
    assert_eq!(server.bundles(), [format!("{OWN}{OTHER}"), OWN.to_owned()]);
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_until_it_is_right() {
    let server = ApiServer::default();
    server.write(&[""]);
    server.lock().failing = 7;
    let held = keep_through(&server, &mut [&mut |_| {}]).await;
    assert_eq!(held, [true]);
    assert_eq!(server.bundles(), [OWN]);
    assert_eq!(server.lock().patches, 8);
}
