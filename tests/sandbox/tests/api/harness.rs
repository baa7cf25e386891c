//! A cluster of its own for each test, and clients of it.

use std::sync::Arc;

use futures_util::StreamExt as _;
use http::{Request, header};
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Client, Config,
    client::Body,
    config::{KubeConfigOptions, Kubeconfig},
};
use netting_sandbox::api::{Cluster, Options, controllers, serve};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A cluster that is served as long as this lives.
pub(crate) struct Harness {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) url: String,
    /// The administrator's client.
    pub(crate) admin: Client,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    /// JSON if it is, or else text.
    pub(crate) body: Value,
}

impl Harness {
    /// A cluster without controllers.
    pub(crate) async fn start(options: Options) -> Self {
        let cluster = Cluster::new(options).expect("a new cluster");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("https://{}", listener.local_addr().expect("a bound socket"));
        tokio::spawn(serve(Arc::clone(&cluster), vec![listener]));
        let admin = client(&cluster.admin_kubeconfig(&url)).await;
        Self {
            cluster,
            url,
            admin,
        }
    }

    /// A cluster with all controllers but those that are named.
    pub(crate) async fn with_controllers(without: &'static [&'static str]) -> Self {
        let harness = Self::start(Options::default()).await;
        let running = controllers::run(Arc::clone(&harness.cluster), without);
        tokio::spawn(running);
        harness
    }

    /// A namespace to work in.
    pub(crate) async fn namespace(&self, name: &str) {
        let answer = self
            .post("/api/v1/namespaces", json!({"metadata": {"name": name}}))
            .await;
        assert_eq!(answer.status, 201, "{}", answer.body);
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", &Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, "application/json", &body).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send("PATCH", path, "application/merge-patch+json", &body)
            .await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, "", &Value::Null).await
    }

    /// Sends a request as the administrator.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> Answer {
        send(&self.admin, method, path, content_type, body).await
    }

    /// The events of a watch, from its answer's head on.
    pub(crate) async fn watch(&self, path: &str) -> Events {
        watch(&self.admin, path).await
    }

    /// A client with a kubeconfig of its own.
    pub(crate) async fn client_with_token(&self, token: &str) -> Client {
        let admin = self.cluster.admin_kubeconfig(&self.url);
        let token_line = admin
            .lines()
            .find(|line| line.contains("token:"))
            .expect("there is a token in it");
        client(&admin.replace(token_line, &format!("  user: {{token: \"{token}\"}}"))).await
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.cluster.stop();
    }
}

/// A client by a kubeconfig in YAML; it says that it is curl, as the recorded one did.
pub(crate) async fn client(kubeconfig: &str) -> Client {
    let parsed = Kubeconfig::from_yaml(kubeconfig).expect("a kubeconfig");
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(parsed, &options)
        .await
        .expect("a usable kubeconfig");
    config.headers.push((
        header::USER_AGENT,
        http::HeaderValue::from_static("curl/8.5.0"),
    ));
    // A test wants the first answer.
    config.default_retry = false;
    Client::try_from(config).expect("a client")
}

/// Sends a request and reads its answer.
pub(crate) async fn send(
    client: &Client,
    method: &str,
    path: &str,
    content_type: &str,
    body: &Value,
) -> Answer {
    let answer = client.send(request(method, path, content_type, body)).await;
    let (head, body) = answer.expect("the server answers").into_parts();
    let bytes = body
        .collect()
        .await
        .expect("the answer is whole")
        .to_bytes();
    let text = String::from_utf8_lossy(&bytes);
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: serde_json::from_slice(&bytes).unwrap_or_else(|_| text.into_owned().into()),
    }
}

/// Begins a watch.
pub(crate) async fn watch(client: &Client, path: &str) -> Events {
    let answer = client
        .send(request("GET", path, "", &Value::Null))
        .await
        .expect("the server answers");
    Events {
        body: answer.into_body(),
        rest: Vec::new(),
    }
}

fn request(method: &str, path: &str, content_type: &str, body: &Value) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !content_type.is_empty() {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    let bytes = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    request.body(Body::from(bytes)).expect("a request")
}

/// What a watch sends.
pub(crate) struct Events {
    body: Body,
    rest: Vec<u8>,
}

impl Events {
    /// The next event, or `None` when the stream ends.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("every line is an event"));
            }
            let frame = self
                .body
                .frame()
                .await?
                .expect("the stream doesn't break off");
            self.rest
                .extend_from_slice(&frame.into_data().expect("no trailers are sent"));
        }
    }

    /// Events until one meets `wanted`, all of them.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let event = self
                .next()
                .await
                .expect("the stream goes on until the event comes");
            let found = wanted(&event);
            events.push(event);
            if found {
                return events;
            }
        }
    }

    /// All events, to the end.
    pub(crate) async fn all(self) -> Vec<Value> {
        let events = futures_util::stream::unfold(self, |mut events| async move {
            let event = events.next().await?;
            Some((event, events))
        });
        events.collect().await
    }
}

/// `value` with what differs from run to run made the same, wherever it is.
pub(crate) fn normalised(value: &Value) -> Value {
    const VOLATILE: &[&str] = &[
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "deletionTimestamp",
        "clusterIP",
        "nodePort",
        "token",
        "expirationTimestamp",
        "lastTransitionTime",
        "serverAddress",
        "gitCommit",
        "goVersion",
        "compiler",
    ];
    match value {
        Value::Object(map) => {
            // Only what was applied has managers here.
            let fields = map.iter().filter(|(key, _)| *key != "managedFields");
            let fields = fields.map(|(key, value)| {
                let kept = VOLATILE.contains(&key.as_str())
                    && value != "None"
                    && !value.is_null()
                    && !value.is_object();
                let value = match (kept, key.as_str(), value) {
                    (true, _, _) => "<volatile>".into(),
                    (_, "clusterIPs", Value::Array(list)) if list[0] != "None" => {
                        json!(["<volatile>"])
                    }
                    _ => normalised(value),
                };
                (key.clone(), value)
            });
            Value::Object(fields.collect())
        }
        Value::Array(list) => list.iter().map(normalised).collect(),
        Value::String(text) if text.starts_with("JTI=") => "<volatile>".into(),
        other => other.clone(),
    }
}

/// A typed object of this JSON.
pub(crate) fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("the kind's shape")
}

/// A pod of one container.
pub(crate) fn pod(name: &str) -> Pod {
    object(
        json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "app", "image": "example.org/app:1"}]}}),
    )
}

/// The status and the message of a refusal.
pub(crate) fn code(error: kube::Error) -> (u16, String) {
    match error {
        kube::Error::Api(status) => (status.code, status.message.clone()),
        other => panic!("not an answer of the API: {other}"),
    }
}
