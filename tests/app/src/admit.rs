//! A mutating admission webhook, as clusters have others than a mesh's: it puts a container before
//! all others of each pod.
//!
//! See <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/>.

use std::process::ExitCode;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

use crate::http::{self, ReplyBody, connection};
use crate::pod::Pod;
use crate::server::{self, ServerArgs};
use crate::terminate::Terminate;
use crate::{journal, tls};

/// No object of the API server is bigger.
const REVIEW_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Flags of `admit`.
#[derive(Debug, clap::Args)]
pub struct AdmitArgs {
    /// Where to listen and how to end.
    #[command(flatten)]
    pub server: ServerArgs,

    /// Name to make the certificate for, such as late.hooks.svc
    #[arg(long)]
    pub host: String,

    /// The container as JSON; pods that have one of its name stay as they are
    #[arg(long, value_parser = parse_container)]
    pub container: Value,
}

fn parse_container(text: &str) -> Result<Value, String> {
    let container: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match container["name"].is_string() {
        true => Ok(container),
        false => Err("a container is an object with a name".to_owned()),
    }
}

#[derive(Serialize)]
struct Certificate {
    pem: String,
}

/// Runs the server until it's asked to end.
///
/// # Errors
///
/// The port can't be listened on, or the host is no name.
pub async fn run(args: AdmitArgs, pod: Pod, terminate: Terminate) -> anyhow::Result<ExitCode> {
    let (tls, pem) = tls::acceptor(&args.host)?;
    journal::write("certificate", &Certificate { pem });
    let listener = server::listen("admit", args.server.port, &pod)?;
    let container = Arc::new(args.container);
    server::serve(
        listener,
        args.server.on_sigterm,
        terminate,
        |stream, _, ending| {
            let (tls, container) = (tls.clone(), Arc::clone(&container));
            async move {
                if let Ok(stream) = tls.accept(stream).await {
                    connection::serve(stream, ending, |request| respond(request, &container)).await;
                }
            }
        },
    )
    .await;
    Ok(ExitCode::SUCCESS)
}

async fn respond(request: Request<Incoming>, container: &Value) -> Response<ReplyBody> {
    let body = Limited::new(request.into_body(), REVIEW_BYTES_MAX);
    let Ok(body) = body.collect().await else {
        let error = json!({"error": "the request ended within its body, or has a longer one"});
        return http::json(StatusCode::BAD_REQUEST, &error);
    };
    match serde_json::from_slice(&body.to_bytes()) {
        Ok(review) => http::json(StatusCode::OK, &answer(&review, container)),
        Err(_) => {
            let error = json!({"error": "POST an AdmissionReview"});
            http::json(StatusCode::BAD_REQUEST, &error)
        }
    }
}

fn answer(review: &Value, container: &Value) -> Value {
    let request = &review["request"];
    let mut response = json!({"uid": request["uid"], "allowed": true});
    let containers = request["object"]["spec"]["containers"].as_array();
    let has_it = |all: &Vec<Value>| all.iter().any(|one| one["name"] == container["name"]);
    if containers.is_some_and(|all| !has_it(all)) {
        let patch = json!([{"op": "add", "path": "/spec/containers/0", "value": container}]);
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(STANDARD.encode(patch.to_string()));
    }
    json!({"kind": "AdmissionReview", "apiVersion": review["apiVersion"], "response": response})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_containers_without_a_name() {
        for text in ["", "{", "agent", "{}", r#"{"name": 1}"#] {
            assert!(parse_container(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pod_gets_the_container_once() {
        let agent = json!({"name": "agent"});
        let answer = |containers: Value| {
            let object = json!({"spec": {"containers": containers}});
            let review = json!({"apiVersion": "admission.k8s.io/v1",
                "request": {"uid": "1", "object": object}});
            answer(&review, &agent)["response"].take()
        };
        let done = answer(json!([{"name": "app"}, {"name": "agent"}]));
        assert_eq!(done, json!({"uid": "1", "allowed": true}));
        let answer = answer(json!([{"name": "app"}]));
        assert_eq!(answer["patchType"], "JSONPatch");
        let patch = STANDARD.decode(answer["patch"].as_str().expect("there is one"));
        let patch: Value = serde_json::from_slice(&patch.expect("it is base64")).expect("JSON");
        assert_eq!(
            patch,
            json!([{"op": "add", "path": "/spec/containers/0", "value": agent}])
        );
    }
}
