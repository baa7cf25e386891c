//! HTTPS: accepts connections, finds out who asks for what, and hands the request on.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http::{Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tokio_util::task::TaskTracker;

use super::{
    Cluster,
    access::{User, rbac, tokens::ISSUER},
    call::{Call, Query},
    delete, discovery, pods, read,
    reply::{self, Body},
    reviews, scale,
    status::Status,
    target::Target,
    watch, write,
};

/// What a real server reads of a body.
const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;
/// How long a client may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may wait for a request: longer than clients keep idle ones, so that none
/// is closed just when it is used.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long to wait after a failed accept, most often for lack of file descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Serves on `listener` until the cluster stops.
pub(super) async fn serve(cluster: Arc<Cluster>, listener: TcpListener, tls: Arc<ServerConfig>) {
    let acceptor = TlsAcceptor::from(tls);
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = cluster.stopping.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(connection(Arc::clone(&cluster), acceptor.clone(), stream));
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
}

async fn connection(cluster: Arc<Cluster>, acceptor: TlsAcceptor, stream: TcpStream) {
    let local = stream.local_addr().ok();
    // Watch events are small, and must not wait for the acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not turn off Nagle's algorithm");
    }
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => return tracing::debug!("TLS handshake took too long"),
    };
    let service = service_fn(|request| {
        let cluster = Arc::clone(&cluster);
        async move { Ok::<_, Infallible>(answer(cluster, local, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = cluster.stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

async fn answer(
    cluster: Arc<Cluster>,
    local: Option<SocketAddr>,
    request: Request<Incoming>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    match Box::pin(respond(&cluster, local, &parts, body)).await {
        Ok(response) => response,
        Err(status) => {
            tracing::debug!(method = %parts.method, uri = %parts.uri, code = status.code, %status, "refused");
            reply::refusal(&status)
        }
    }
}

async fn respond(
    cluster: &Arc<Cluster>,
    local: Option<SocketAddr>,
    parts: &Parts,
    body: Incoming,
) -> Result<Response<Body>, Status> {
    let path = parts.uri.path();
    if matches!(path, "/healthz" | "/livez" | "/readyz") {
        return Ok(reply::text("ok"));
    }
    let user = authenticate(cluster, parts)?;
    let server = local.map(|addr| addr.to_string()).unwrap_or_default();
    if let Some(document) = discovery::document(path, &server) {
        return if parts.method == Method::GET {
            Ok(reply::json(StatusCode::OK, &document))
        } else {
            Err(Status::method_not_allowed())
        };
    }
    let target = Target::parse(path).ok_or_else(Status::no_such_path)?;
    let query = Query::parse(&parts.uri)?;
    let body = Limited::new(body, BODY_BYTES_MAX)
        .collect()
        .await
        .map_err(|error| {
            if error.is::<LengthLimitError>() {
                let why = format!("Request entity too large: limit is {BODY_BYTES_MAX}");
                Status::new(413, "RequestEntityTooLarge", why)
            } else {
                Status::bad_request(format!("the body broke off: {error}"))
            }
        })?;
    let call = Call::new(parts, target, query, user, body.to_bytes());
    if !rbac::allows(&cluster.store, &call.user, call.action()) {
        return Err(rbac::refusal(
            call.target.resource,
            &call.user,
            call.action(),
        ));
    }
    let mut response = dispatch(cluster, &call, parts.uri.query()).await?;
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
    query: Option<&str>,
) -> Result<Response<Body>, Status> {
    if !is_served(call) {
        return Err(Status::method_not_allowed());
    }
    let ok = |value: &serde_json::Value| Ok(reply::json(StatusCode::OK, value));
    let created = |value: &serde_json::Value| Ok(reply::json(StatusCode::CREATED, value));
    match (call.target.subresource.as_str(), call.verb()) {
        ("binding", _) => created(&pods::bind(cluster, call).await?),
        ("eviction", _) => created(&pods::evict(cluster, call)?),
        ("log", _) => pods::log(cluster, call).await,
        ("proxy", _) => pods::proxy(cluster, call, query).await,
        ("token", _) => created(&reviews::token_request(cluster, call)?),
        ("scale", _) => ok(&scale::handle(cluster, call).await?),
        (_, "create") if reviews::is_review(call) => created(&reviews::create(cluster, call)?),
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
