//! An API server that lists and watches what it is told to.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, RawQuery, State},
    http::{StatusCode, Uri},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::UnboundedReceiverStream;

type Events = mpsc::UnboundedSender<String>;

#[derive(Default)]
struct Said {
    lists: HashMap<String, Vec<Value>>,
    refused: HashMap<String, u16>,
    expired: HashMap<String, Expired>,
    /// What is left of lists that were begun, by the token for the next page.
    begun: HashMap<String, List>,
    /// Resources whose lists expire before their second page.
    short_lived: HashSet<String>,
    watches: HashMap<String, Events>,
    asked: Vec<String>,
    created: Vec<Value>,
    version: u64,
}

/// How a watch is told that it comes too late: the first two are allowed; or that it
/// makes no sense.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expired {
    /// By the status of the answer.
    Answer,
    /// By the first event.
    Event,
    /// By the status of the answer, which is this one.
    Refused(u16),
}

/// Objects as they were at a version.
struct List {
    version: u64,
    items: Vec<Value>,
}

#[derive(Clone)]
pub(crate) struct FakeApi {
    said: Arc<Mutex<Said>>,
    uri: Uri,
}

impl FakeApi {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("there is a free port");
        let addr = listener
            .local_addr()
            .expect("a bound socket has an address");
        let api = Self {
            said: Arc::default(),
            uri: format!("http://{addr}")
                .parse()
                .expect("an address is a URI"),
        };
        let routes = Router::new()
            .route("/api/v1/{resource}", get(answer))
            .route("/apis/discovery.k8s.io/v1/{resource}", get(answer))
            .route(
                "/apis/events.k8s.io/v1/namespaces/{namespace}/events",
                post(create),
            )
            .with_state(api.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        api
    }

    pub(crate) fn uri(&self) -> Uri {
        self.uri.clone()
    }

    pub(crate) fn list(&self, resource: &str, objects: Vec<Value>) {
        self.said().lists.insert(resource.to_owned(), objects);
    }

    /// Answers with a status, or no more.
    pub(crate) fn refuse(&self, resource: &str, code: Option<u16>) {
        let mut said = self.said();
        match code {
            Some(code) => said.refused.insert(resource.to_owned(), code),
            None => said.refused.remove(resource),
        };
    }

    /// The next watch is told that it comes too late.
    pub(crate) fn expire(&self, resource: &str, how: Expired) {
        self.said().expired.insert(resource.to_owned(), how);
    }

    /// Tokens for the next page of a list have expired whenever they are used, or no
    /// more.
    pub(crate) fn expire_pages(&self, resource: &str, expire: bool) {
        let mut said = self.said();
        if expire {
            said.short_lived.insert(resource.to_owned());
        } else {
            said.short_lived.remove(resource);
        }
    }

    pub(crate) fn end_watches(&self) {
        self.said().watches.clear();
    }

    /// Waits until a resource is watched.
    pub(crate) async fn watched(&self, resource: &str) {
        while !self.said().watches.contains_key(resource) {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn event(&self, resource: &str, kind: &str, object: Value) {
        let mut said = self.said();
        let object = said.versioned(resource, object);
        let event = json!({"type": kind, "object": object}).to_string();
        let watch = said.watches.get(resource).expect("it is watched");
        watch.send(format!("{event}\n")).expect("the watch is open");
    }

    /// What was asked: `resource?query`.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.said().asked.clone()
    }

    /// Waits until so many objects were created.
    pub(crate) async fn created(&self, count: usize) -> Vec<Value> {
        loop {
            let created = self.said().created.clone();
            if created.len() >= count {
                return created;
            }
            tokio::task::yield_now().await;
        }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said
            .lock()
            .expect("no test panics while it holds this")
    }
}

impl Said {
    fn versioned(&mut self, resource: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        object["apiVersion"] = json!(match resource {
            "endpointslices" => "discovery.k8s.io/v1",
            _ => "v1",
        });
        object
    }

    /// All objects, as they are now.
    fn list(&mut self, resource: &str) -> List {
        let items = self.lists.get(resource).cloned().unwrap_or_default();
        let versioned = items.into_iter().map(|item| self.versioned(resource, item));
        let items = versioned.collect();
        self.version += 1;
        List {
            version: self.version,
            items,
        }
    }

    /// A page of a list, which says how to get the next.
    fn page(&mut self, mut list: List, limit: usize) -> Value {
        let rest = list.items.split_off(limit.min(list.items.len()));
        let mut metadata = json!({"resourceVersion": list.version.to_string()});
        if !rest.is_empty() {
            self.version += 1;
            let token = self.version.to_string();
            metadata["continue"] = json!(token);
            let rest = List {
                items: rest,
                ..list
            };
            self.begun.insert(token, rest);
        }
        json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": list.items})
    }
}

/// The value in a query that needs no decoding.
fn parameter<'query>(query: &'query str, name: &str) -> Option<&'query str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find_map(|(key, value)| (key == name).then_some(value))
}

async fn create(State(api): State<FakeApi>, Json(object): Json<Value>) -> Json<Value> {
    api.said().created.push(object.clone());
    Json(object)
}

async fn answer(
    State(api): State<FakeApi>,
    Path(resource): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let mut said = api.said();
    said.asked.push(format!("{resource}?{query}"));
    if let Some(code) = said.refused.get(&resource) {
        return status(*code);
    }
    if query.contains("watch=true") {
        match said.expired.remove(&resource) {
            Some(Expired::Answer) => return status(410),
            Some(Expired::Refused(code)) => return status(code),
            Some(Expired::Event) => {
                let event = json!({"type": "ERROR", "object": status_body(410)});
                return format!("{event}\n").into_response();
            }
            None => {}
        }
        let (events, watch) = mpsc::unbounded_channel();
        said.watches.insert(resource, events);
        let watch = UnboundedReceiverStream::new(watch);
        return Body::from_stream(watch.map(Ok::<_, Infallible>)).into_response();
    }
    let list = match parameter(&query, "continue") {
        None => said.list(&resource),
        Some(_) if said.short_lived.contains(&resource) => return status(410),
        Some(token) => match said.begun.remove(token) {
            Some(list) => list,
            None => return status(410),
        },
    };
    let limit = parameter(&query, "limit").and_then(|limit| limit.parse().ok());
    Json(said.page(list, limit.unwrap_or(usize::MAX))).into_response()
}

fn status_body(code: u16) -> Value {
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": "as the test says",
        "reason": "Test",
        "code": code,
    })
}

fn status(code: u16) -> Response {
    let body = status_body(code);
    let code = StatusCode::from_u16(code).expect("tests write HTTP codes");
    (code, Json(body)).into_response()
}
