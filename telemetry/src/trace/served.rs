//! Requests to a process's own servers, as OpenTelemetry's conventions tell them
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>).

use std::net::SocketAddr;

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{StatusCode, Version},
    middleware::Next,
    response::Response,
};

use super::{Received, Tracer, Work, span::Kind};
use crate::requests::Method;

/// How one route of a server is told.
#[derive(Clone, Debug)]
pub struct Route {
    /// Who begins its spans; nothing, if nobody does.
    pub tracer: Option<Tracer>,
    /// Its path with the names of its variables, such as `/v1/health/service/{name}`.
    pub path: &'static str,
    /// `http` or `https`.
    pub scheme: &'static str,
}

impl Route {
    /// Begins the span of a request, continuing the trace that it came with. Who asked is
    /// told if the server noted it, as [`ConnectInfo`].
    #[must_use]
    pub fn begin<B>(&self, request: &axum::http::Request<B>) -> Work {
        if self.tracer.is_none() {
            return Work::unseen();
        }
        let fields = request.headers().iter();
        let received = Received::of(fields.map(|(name, value)| (name.as_ref(), value.as_bytes())));
        let method = Method::of(request.method().as_str().as_bytes());
        let verb = match method {
            Method::Other => "HTTP",
            method => method.as_str(),
        };
        let name = format!("{verb} {}", self.path);
        let mut work = Work::begin(self.tracer.as_ref(), Kind::Server, name, &received);
        work.note("http.request.method", method.as_str());
        work.note("http.route", self.path);
        work.note("url.scheme", self.scheme);
        work.note_text("url.path", request.uri().path());
        work.note("network.protocol.version", version(request.version()));
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        if let Some(ConnectInfo(peer)) = peer {
            work.note_peer(*peer);
        }
        let user_agent = request.headers().get("user-agent");
        if let Some(user_agent) = user_agent.and_then(|value| value.to_str().ok()) {
            work.note_text("user_agent.original", user_agent);
        }
        work
    }
}

impl Work {
    /// A request was answered with this status. From 500 on that is a failure, unless it
    /// was told as one before.
    pub fn answered(&mut self, status: StatusCode) {
        self.note("http.response.status_code", status.as_u16());
        if status.is_server_error() && !self.has_failed() {
            self.note("error.type", status.as_str().to_owned());
            // The status code says why.
            self.mark_failed("");
        }
    }
}

/// Tells of each request to a route, from its head to the head of its answer.
pub async fn tell(State(route): State<Route>, request: Request, next: Next) -> Response {
    let mut work = route.begin(&request);
    let response = next.run(request).await;
    work.answered(response.status());
    work.end();
    response
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::{Extension, Router, body::Body, middleware::from_fn_with_state, routing::get};
    use tower::ServiceExt as _;

    use super::*;
    use crate::{
        buffer::Buffer,
        trace::{Sampler, Span},
    };

    const PEER: ([u8; 4], u16) = ([10, 0, 0, 9], 40000);

    async fn span_of(status: StatusCode, method: &str) -> Span {
        let ended = Arc::new(Buffer::new(8));
        let sampler = Sampler::ratio("1".parse().expect("it is a ratio"));
        let route = Route {
            tracer: Some(Tracer::new(sampler, Arc::clone(&ended))),
            path: "/things/{name}",
            scheme: "http",
        };
        let routes = Router::new()
            .route(route.path, get(move || async move { status }))
            .layer(from_fn_with_state(route, tell))
            .layer(Extension(ConnectInfo(SocketAddr::from(PEER))));
        let request = Request::builder()
            .method(method)
            .uri("/things/one?token=secret")
            .header("user-agent", "curl/8")
            .body(Body::empty())
            .expect("it is a request");
        let answered = routes.oneshot(request).await;
        answered.expect("a router never fails");
        ended.take().items.remove(0)
    }

    fn told(span: &Span) -> Vec<String> {
        let attributes = span.attributes.iter();
        attributes
            .map(|it| format!("{}={}", it.key, it.value))
            .collect()
    }

    #[tokio::test]
    async fn a_request_is_told_by_the_conventions_without_its_query() {
        let span = span_of(StatusCode::NOT_FOUND, "GET").await;
        let expected = [
            "http.request.method=GET",
            "http.route=/things/{name}",
            "url.scheme=http",
            "url.path=/things/one",
            "network.protocol.version=1.1",
            "network.peer.address=10.0.0.9",
            "network.peer.port=40000",
            "user_agent.original=curl/8",
            "http.response.status_code=404",
        ];
        assert_eq!(told(&span), expected);
        assert_eq!((&*span.name, span.failed), ("GET /things/{name}", None));
        assert_eq!(span.remote, Some(SocketAddr::from(PEER)));
    }

    #[tokio::test]
    async fn what_the_server_got_wrong_is_a_failure_by_its_status() {
        let span = span_of(StatusCode::SERVICE_UNAVAILABLE, "GET").await;
        assert_eq!(span.failed, Some(""));
        assert!(told(&span).contains(&"error.type=503".to_owned()));
    }

    #[tokio::test]
    async fn methods_that_somebody_made_up_make_no_names() {
        let span = span_of(StatusCode::OK, "MKCALENDAR").await;
        assert_eq!(&*span.name, "HTTP /things/{name}");
        assert!(told(&span).contains(&"http.request.method=_OTHER".to_owned()));
    }
}
