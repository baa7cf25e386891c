//! An API server that is two pages of code: get, list, watch, create, replace and
//! patch of whatever is put into it, conditional as the real one's are, and failures
//! on demand.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt::Debug,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Frame, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use kube::Client;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc};

/// Collections, by the last part of their path.
const PLURALS: [&str; 6] = [
    "events",
    "limitranges",
    "mutatingwebhookconfigurations",
    "namespaces",
    "nodes",
    "secrets",
];

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct ApiServer(Arc<Mutex<Store>>);

#[derive(Default)]
pub(crate) struct Store {
    version: u64,
    /// By their path.
    objects: BTreeMap<String, Value>,
    watchers: Vec<Watcher>,
    /// Every write that was taken: its method and path.
    pub(crate) writes: Vec<(Method, String)>,
    /// The path of every question, answered or not.
    pub(crate) asked: Vec<String>,
    /// So many writes are answered with an internal error.
    pub(crate) failing: usize,
    /// What may not be done: the method, and a part of the path.
    pub(crate) forbidden: Vec<(Method, &'static str)>,
    /// Nothing is answered at all.
    pub(crate) silent: bool,
    /// Somebody else's change, just before the next write arrives: path and object.
    pub(crate) race: Option<(String, Value)>,
    /// What `/version` says; it is not answered as long as there is none.
    pub(crate) kubernetes: Option<Value>,
}

struct Watcher {
    collection: String,
    name: Option<String>,
    events: mpsc::UnboundedSender<Value>,
}

impl ApiServer {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Store> {
        self.0
            .lock()
            .expect("no test panics while it holds the lock")
    }

    pub(crate) fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(service, "default")
    }

    /// The same over HTTP, on a port of loopback, for processes.
    pub(crate) async fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("loopback has ports");
        let addr = listener.local_addr().expect("it is bound");
        let server = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = server.clone();
                let answer = service_fn(move |request| {
                    let server = server.clone();
                    async move { Ok::<_, Infallible>(server.answer(request).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        addr
    }

    async fn answer<B>(&self, request: Request<B>) -> Answer
    where
        B: hyper::body::Body<Error: Debug>,
    {
        let (head, body) = request.into_parts();
        let body = body.collect().await.expect("it arrives").to_bytes();
        let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
        if head.method == Method::GET {
            self.lock().asked.push(path.to_owned());
        }
        if self.lock().silent {
            std::future::pending::<()>().await;
        }
        if path == "/version" {
            let version = self.lock().kubernetes.clone();
            return match version {
                Some(version) => reply(StatusCode::OK, &version),
                None => std::future::pending().await,
            };
        }
        let is_forbidden =
            |(method, part): &(Method, &str)| *method == head.method && path.contains(part);
        if self.lock().forbidden.iter().any(is_forbidden) {
            return failure(StatusCode::FORBIDDEN, "Forbidden");
        }
        if head.method != Method::GET {
            return self.lock().write(&head.method, path, &body);
        }
        let plural = path.rsplit('/').next().unwrap_or_default();
        if !PLURALS.contains(&plural) {
            let found = self.lock().objects.get(path).cloned();
            return found.map_or_else(
                || failure(StatusCode::NOT_FOUND, "NotFound"),
                |object| reply(StatusCode::OK, &object),
            );
        }
        let name = query
            .split('&')
            .find_map(|part| part.strip_prefix("fieldSelector=metadata.name%3D"));
        if query.contains("watch=true") {
            return self.watch(path, name);
        }
        self.lock().list(path, name)
    }

    fn watch(&self, collection: &str, name: Option<&str>) -> Answer {
        let (events, receiver) = mpsc::unbounded_channel::<Value>();
        self.lock().watchers.push(Watcher {
            collection: collection.to_owned(),
            name: name.map(str::to_owned),
            events,
        });
        let lines = stream::unfold(receiver, async |mut receiver| {
            let event = receiver.recv().await?;
            let line = Bytes::from(format!("{event}\n"));
            Some((Ok(Frame::data(line)), receiver))
        });
        Response::new(StreamBody::new(lines).boxed_unsync())
    }
}

impl Store {
    pub(crate) fn get(&self, path: &str) -> Option<&Value> {
        self.objects.get(path)
    }

    /// Somebody writes an object.
    pub(crate) fn put(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        let (_, name) = path.rsplit_once('/').expect("a path has slashes");
        object["metadata"]["name"] = json!(name);
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let before = self.objects.insert(path.to_owned(), object.clone());
        let kind = before.map_or("ADDED", |_| "MODIFIED");
        self.tell(path, kind, &object);
        object
    }

    /// Somebody deletes it.
    pub(crate) fn delete(&mut self, path: &str) {
        let object = self
            .objects
            .remove(path)
            .expect("only what exists is deleted");
        self.tell(path, "DELETED", &object);
    }

    /// All paths and objects of a collection.
    pub(crate) fn all(&self, plural: &str) -> Vec<&Value> {
        let of = |path: &str| path.rsplit('/').nth(1) == Some(plural);
        let all = self.objects.iter().filter(|(path, _)| of(path));
        all.map(|(_, object)| object).collect()
    }

    fn tell(&mut self, path: &str, kind: &str, object: &Value) {
        let (collection, name) = path.rsplit_once('/').expect("a path has slashes");
        let event = json!({"type": kind, "object": object});
        self.watchers.retain(|watcher| {
            let of_others = watcher.collection != collection
                || watcher.name.as_deref().is_some_and(|wanted| wanted != name);
            of_others || watcher.events.send(event.clone()).is_ok()
        });
    }

    fn list(&self, collection: &str, name: Option<&str>) -> Answer {
        let of = |path: &str| {
            path.rsplit_once('/').is_some_and(|(parent, own)| {
                parent == collection && name.is_none_or(|wanted| wanted == own)
            })
        };
        let items: Vec<_> = self.objects.iter().filter(|(path, _)| of(path)).collect();
        let items: Vec<_> = items.into_iter().map(|(_, object)| object).collect();
        let version = self.version.to_string();
        reply(
            StatusCode::OK,
            &json!({"kind": "List", "apiVersion": "v1",
                "metadata": {"resourceVersion": version}, "items": items}),
        )
    }

    fn write(&mut self, method: &Method, path: &str, body: &Bytes) -> Answer {
        if self.failing > 0 {
            self.failing -= 1;
            return failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
        }
        if let Some((path, object)) = self.race.take() {
            self.put(&path, object);
        }
        let given: Value = serde_json::from_slice(body).expect("it is JSON");
        if *method == Method::POST {
            let name = given["metadata"]["name"].as_str().expect("it has a name");
            let path = format!("{path}/{name}");
            if self.objects.contains_key(&path) {
                return failure(StatusCode::CONFLICT, "AlreadyExists");
            }
            self.writes.push((method.clone(), path.clone()));
            return reply(StatusCode::CREATED, &self.put(&path, given));
        }
        let Some(mut object) = self.objects.get(path).cloned() else {
            return failure(StatusCode::NOT_FOUND, "NotFound");
        };
        if *method == Method::PUT {
            if given["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
                return failure(StatusCode::CONFLICT, "Conflict");
            }
            object = given;
        } else if given.is_array() {
            let patch: json_patch::Patch =
                serde_json::from_value(given).expect("it is a JSON patch");
            if json_patch::patch(&mut object, &patch).is_err() {
                return failure(StatusCode::UNPROCESSABLE_ENTITY, "Invalid");
            }
        } else {
            json_patch::merge(&mut object, &given);
        }
        self.writes.push((method.clone(), path.to_owned()));
        reply(StatusCode::OK, &self.put(path, object))
    }
}

fn failure(code: StatusCode, reason: &str) -> Answer {
    let code_number = code.as_u16();
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "on demand", "reason": reason, "code": code_number,
    });
    reply(code, &status)
}

fn reply(status: StatusCode, body: &Value) -> Answer {
    let body = Full::new(Bytes::from(body.to_string())).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
