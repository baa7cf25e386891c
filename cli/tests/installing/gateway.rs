//! An API server in front of the sandbox's own, that fails as a test wants it to.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Json, Router,
    body::{self, Body},
    extract::Request,
    http::{Method, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use netting_sandbox::api::{Cluster, Options, controllers, serve};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::Mutex};

use crate::command::{self, Said};

/// What becomes of changes once it fails.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lost {
    /// They are not made.
    Request,
    /// They are made, and whoever asked hears of an error.
    Answer,
}

/// What it does other than pass on.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// After so many changes, what becomes of others.
    pub(crate) breaks_off: Option<(usize, Lost)>,
    /// A right that whoever asks lacks: `create deployments.apps in netting`.
    pub(crate) missing_right: Option<String>,
    /// Plural of the objects that nobody may list.
    pub(crate) unlisted: Option<&'static str>,
    /// Part of a rule that whoever asks may not grant, since they don't hold it.
    pub(crate) not_held: Option<&'static str>,
    /// The minor version that it says it is of.
    pub(crate) minor: Option<u32>,
    /// It says that Deployments are available, though there are no nodes, and this of a
    /// pod on trial.
    pub(crate) trial: Option<Trial>,
}

/// What it says of a pod on trial.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trial {
    /// It would create it as it is, and warns.
    Created(&'static str),
    /// It refuses it, with this code and message.
    Refused(StatusCode, &'static str),
}

/// An API server without nodes, for as long as the test runs.
pub(crate) struct Gateway {
    /// With all rights, and past the faults.
    pub(crate) client: Client,
    kubeconfig: String,
    state: Arc<Mutex<State>>,
    cluster: Arc<Cluster>,
    _dir: TempDir,
}

#[derive(Default)]
struct State {
    faults: Faults,
    changes: Vec<String>,
    rights: BTreeSet<String>,
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        let cluster = Cluster::new(Options::default()).expect("a new cluster");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("https://{}", listener.local_addr().expect("it is bound"));
        tokio::spawn(serve(Arc::clone(&cluster), vec![listener]));
        tokio::spawn(controllers::run(Arc::clone(&cluster), &[]));
        let client = client(&cluster.admin_kubeconfig(&url)).await;

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(Mutex::new(State::default()));
        let (behind, shared) = (client.clone(), Arc::clone(&state));
        let router = Router::new().fallback(move |request: Request| {
            let (behind, shared) = (behind.clone(), Arc::clone(&shared));
            async move { answer(&behind, &shared, request).await }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        let (dir, kubeconfig) = command::kubeconfig(&format!("http://{address}"));
        Self {
            client,
            kubeconfig,
            state,
            cluster,
            _dir: dir,
        }
    }

    /// From now on; what was counted before is forgotten.
    pub(crate) async fn fail(&self, faults: Faults) {
        *self.state.lock().await = State {
            faults,
            ..State::default()
        };
    }

    /// The changes that were asked for, those that were lost as well.
    pub(crate) async fn changes(&self) -> Vec<String> {
        self.state.lock().await.changes.clone()
    }

    /// The rights that were asked about.
    pub(crate) async fn rights(&self) -> BTreeSet<String> {
        self.state.lock().await.rights.clone()
    }

    /// Runs the command against it.
    pub(crate) async fn netting(&self, arguments: &str) -> Said {
        command::netting(&format!("--kubeconfig {} {arguments}", self.kubeconfig)).await
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.cluster.stop();
    }
}

async fn client(kubeconfig: &str) -> Client {
    let parsed = Kubeconfig::from_yaml(kubeconfig).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("a usable kubeconfig")).expect("a client")
}

async fn answer(behind: &Client, state: &Mutex<State>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = body::to_bytes(body, usize::MAX).await;
    let body = body.expect("the command sends whole requests");
    let path = head.uri.path();
    let mut lost = None;
    let available;
    {
        let mut state = state.lock().await;
        if let (Some(minor), "/version") = (state.faults.minor, path) {
            return Json(version(minor)).into_response();
        }
        if path.ends_with("/selfsubjectaccessreviews") {
            let right = right(&body);
            let missing = state.faults.missing_right.as_ref() == Some(&right);
            state.rights.insert(right);
            if missing {
                let refused = json!({"kind": "SelfSubjectAccessReview", "metadata": {},
                    "apiVersion": "authorization.k8s.io/v1", "spec": {}, "status": {"allowed": false}});
                return Json(refused).into_response();
            }
        }
        if let (Some(trial), true) = (
            state.faults.trial,
            head.method == Method::POST && path.ends_with("/pods"),
        ) {
            return tried(trial, body);
        }
        let grants = head.method == Method::PATCH && path.contains("/rbac.authorization.k8s.io/");
        let text = String::from_utf8_lossy(&body);
        if grants && state.faults.not_held.is_some_and(|one| text.contains(one)) {
            let why = "user \"me\" is attempting to grant RBAC permissions not currently held";
            return refusal(StatusCode::FORBIDDEN, why);
        }
        available = state.faults.trial.is_some() && path.contains("/deployments/");
        let listed = path.rsplit('/').next();
        if head.method == Method::GET
            && state.faults.unlisted.is_some_and(|one| listed == Some(one))
        {
            return refusal(StatusCode::FORBIDDEN, "you may not list these");
        }
        if is_change(&head) {
            let made = state.changes.len();
            state.changes.push(format!("{} {path}", head.method));
            let broken = state.faults.breaks_off;
            lost = broken
                .filter(|(after, _)| made >= *after)
                .map(|(_, lost)| lost);
        }
    }
    let down = || {
        refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the server is going down",
        )
    };
    match lost {
        Some(Lost::Request) => down(),
        Some(Lost::Answer) => {
            pass_on(behind, &head, body.to_vec()).await;
            down()
        }
        None if available => make_available(pass_on(behind, &head, body.to_vec()).await).await,
        None => pass_on(behind, &head, body.to_vec()).await,
    }
}

fn tried(trial: Trial, body: body::Bytes) -> Response {
    match trial {
        Trial::Created(warning) => {
            let warning = (header::WARNING, format!("299 - \"{warning}\""));
            (StatusCode::CREATED, [warning], body).into_response()
        }
        Trial::Refused(code, message) => refusal(code, message),
    }
}

async fn make_available(response: Response) -> Response {
    let (head, body) = response.into_parts();
    let body = body::to_bytes(body, usize::MAX).await;
    let body = body.expect("the sandbox sends whole answers");
    let mut object: Value = serde_json::from_slice(&body).expect("an object is JSON");
    if head.status == StatusCode::OK {
        let (generation, count) = (
            &object["metadata"]["generation"],
            &object["spec"]["replicas"],
        );
        object["status"] = json!({"observedGeneration": generation, "replicas": count,
            "updatedReplicas": count, "availableReplicas": count});
    }
    (head.status, Json(object)).into_response()
}

async fn pass_on(behind: &Client, head: &Parts, body: Vec<u8>) -> Response {
    let mut request = http::Request::builder()
        .method(head.method.clone())
        .uri(head.uri.path_and_query().map_or("/", |path| path.as_str()));
    for name in [header::CONTENT_TYPE, header::ACCEPT] {
        if let Some(value) = head.headers.get(&name) {
            request = request.header(name, value);
        }
    }
    let request = request.body(body.into()).expect("it was a request before");
    let answer = behind.send(request).await;
    answer.expect("the sandbox answers").map(Body::new)
}

fn is_change(head: &Parts) -> bool {
    let trial = head
        .uri
        .query()
        .is_some_and(|query| query.contains("dryRun"));
    let review = head.uri.path().ends_with("reviews");
    head.method != Method::GET && !trial && !review
}

/// `create deployments.apps in netting`, as the command names it.
fn right(body: &[u8]) -> String {
    let review: Value = serde_json::from_slice(body).expect("a review is JSON");
    let of = &review["spec"]["resourceAttributes"];
    let text = |field: &str| of[field].as_str().filter(|text| !text.is_empty());
    let subresource = text("subresource").map(|name| format!("/{name}"));
    let group = text("group").map(|group| format!(".{group}"));
    let namespace = text("namespace").map(|name| format!(" in {name}"));
    format!(
        "{} {}{}{}{}",
        text("verb").unwrap_or_default(),
        text("resource").unwrap_or_default(),
        subresource.unwrap_or_default(),
        group.unwrap_or_default(),
        namespace.unwrap_or_default()
    )
}

fn refusal(code: StatusCode, message: &str) -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code.as_u16(), "message": message});
    (code, Json(status)).into_response()
}

fn version(minor: u32) -> Value {
    json!({"major": "1", "minor": minor.to_string(), "gitVersion": format!("v1.{minor}.16"),
        "gitCommit": "", "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": ""})
}
