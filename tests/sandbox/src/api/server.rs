//! Takes a request, finds out who asks for what, and hands it on.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::State,
};
use http::{Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::LengthLimitError;

use super::{
    Cluster,
    access::{User, rbac, tokens::ISSUER},
    call::{Call, Query},
    delete, discovery, pods, portforward, read, reply, reviews,
    status::Status,
    target::Target,
    watch, write,
};

/// What a real server reads of a body.
const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// All of the API.
pub(super) fn router(cluster: Arc<Cluster>) -> Router {
    Router::new().fallback(answer).with_state(cluster)
}

async fn answer(State(cluster): State<Arc<Cluster>>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    match Box::pin(respond(&cluster, &parts, body)).await {
        Ok(response) => response,
        Err(status) => {
            tracing::debug!(method = %parts.method, uri = %parts.uri, code = status.code, %status, "refused");
            reply::refusal(&status)
        }
    }
}

async fn respond(
    cluster: &Arc<Cluster>,
    parts: &Parts,
    body: Body,
) -> Result<Response<Body>, Status> {
    let path = parts.uri.path();
    if matches!(path, "/healthz" | "/livez" | "/readyz") {
        return Ok(reply::text("ok"));
    }
    let user = authenticate(cluster, parts)?;
    if path == "/openapi/v2" {
        return Ok(reply::openapi_v2(discovery::OPENAPI_V2));
    }
    if let Some(document) = discovery::document(path) {
        return if parts.method == Method::GET {
            Ok(reply::json(StatusCode::OK, &document))
        } else {
            Err(Status::method_not_allowed())
        };
    }
    let target = Target::parse(path).ok_or_else(Status::no_such_path)?;
    let query = Query::parse(&parts.uri)?;
    let body = to_bytes(body, BODY_BYTES_MAX).await.map_err(|error| {
        let source = std::error::Error::source(&error);
        if source.is_some_and(|source| source.is::<LengthLimitError>()) {
            let why = format!("Request entity too large: limit is {BODY_BYTES_MAX}");
            Status::new(413, "RequestEntityTooLarge", why)
        } else {
            Status::bad_request(format!("the body broke off: {error}"))
        }
    })?;
    let call = Call::new(parts, target, query, user, body);
    if !rbac::allows(&cluster.store, &call.user, call.action()) {
        return Err(rbac::refusal(
            call.target.resource,
            &call.user,
            call.action(),
        ));
    }
    let mut response = dispatch(cluster, &call, parts).await?;
    reply::warn(&mut response, &call.warnings.lock());
    Ok(response)
}

fn authenticate(cluster: &Cluster, parts: &Parts) -> Result<User, Status> {
    let header = parts
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let token = header
        .and_then(|value| value.strip_prefix("Bearer "))
        .ok_or_else(Status::unauthorized)?;
    if let Some(user) = cluster.credentials.lock().get(token) {
        return Ok(user.clone());
    }
    let audiences = [ISSUER.to_owned()];
    let checked = cluster.tokens.check(&cluster.store, token, &audiences);
    checked.map(|(user, _)| user).map_err(|why| {
        tracing::debug!(why, "token refused");
        Status::unauthorized()
    })
}

/// Does what is asked; everything was decoded, and the user may.
async fn dispatch(
    cluster: &Arc<Cluster>,
    call: &Call,
    parts: &Parts,
) -> Result<Response<Body>, Status> {
    if !is_served(call) {
        return Err(Status::method_not_allowed());
    }
    let ok = |value: &serde_json::Value| Ok(reply::json(StatusCode::OK, value));
    let created = |value: &serde_json::Value| Ok(reply::json(StatusCode::CREATED, value));
    match (call.target.subresource.as_str(), call.verb()) {
        ("binding", _) => created(&pods::bind(cluster, call).await?),
        ("log", _) => pods::log(cluster, call).await,
        ("portforward", _) => portforward::relay(cluster, call, parts).await,
        ("proxy", _) => pods::proxy(cluster, call, parts.uri.query()).await,
        ("token", _) => created(&reviews::token_request(cluster, call)?),
        (_, "create") if call.target.resource.kind == "TokenReview" => {
            created(&reviews::token_review(cluster, call)?)
        }
        (_, "create") if call.target.resource.kind == "SelfSubjectAccessReview" => {
            created(&reviews::access_review(cluster, call)?)
        }
        (_, "create") => created(&write::create(cluster, call).await?),
        (_, "get") => ok(&read::get(cluster, call)?),
        (_, "list") => ok(&read::list(cluster, call)?),
        (_, "watch") => Ok(reply::stream(watch::events(cluster, call)?)),
        (_, "update") => ok(&write::update(cluster, call).await?),
        (_, "patch") => match write::patch(cluster, call).await? {
            (object, true) => created(&object),
            (object, false) => ok(&object),
        },
        (_, "delete") => ok(&delete::one(cluster, call)?),
        _ => ok(&delete::collection(cluster, call)?),
    }
}

/// Whether the resource, or the subresource, knows the verb.
fn is_served(call: &Call) -> bool {
    let target = &call.target;
    let verbs = match target
        .resource
        .subresources
        .iter()
        .find(|sub| sub.name == target.subresource)
    {
        Some(subresource) => subresource.verbs,
        None => target.resource.verbs,
    };
    let on_collection = matches!(
        call.verb(),
        "create" | "list" | "watch" | "deletecollection"
    );
    let fits = on_collection == target.name.is_empty()
        || !target.subresource.is_empty()
        || call.verb() == "watch";
    verbs.contains(&call.verb()) && fits
}
