//! HTTP/1.1 server that answers with what it saw.
//!
//! `action` decides what a request asks for, without doing any of it; this file does it.

mod action;
mod body;
pub(crate) mod connection;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::HeaderMap;
use hyper::{Request, Response, StatusCode, http};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::duration::parse_duration;
use crate::http::action::Action;
pub(crate) use crate::http::body::ReplyBody;
use crate::pod::Pod;
use crate::server::{self, OnSigterm, ServerArgs};
use crate::terminate::Terminate;
use crate::tls;

/// The answer's header with the name of the pod that gave it, on every path.
pub(crate) const POD_HEADER: &str = "x-pod";
/// The answer's header with the version that the pod plays.
const VERSION_HEADER: &str = "x-app-version";
/// As much of a request's body as its echo repeats; all of it is read and counted.
const ECHOED_BYTES_MAX: usize = 64 * 1024;

/// Flags of `http`.
#[derive(Debug, clap::Args)]
pub struct HttpArgs {
    /// Where to listen and how to end.
    #[command(flatten)]
    pub server: ServerArgs,

    /// Time to wait before each answer, except /healthz and /stats; such as 30ms
    #[arg(long, default_value = "0ms", value_parser = parse_duration, env = "NETTING_APP_DELAY")]
    pub delay: Duration,

    /// HTTPS instead, with a certificate made at the start, which nobody has reason to trust
    #[arg(long)]
    pub tls: bool,
}

/// Runs the server until it's asked to end.
///
/// # Errors
///
/// The port can't be listened on.
pub async fn run(args: &HttpArgs, pod: Pod, terminate: Terminate) -> anyhow::Result<ExitCode> {
    let listener = server::listen("http", args.server.port, &pod)?;
    let tls = args.tls.then(|| tls::acceptor("localhost")).transpose()?;
    let tls = tls.map(|(acceptor, _)| acceptor);
    let app = App::new(pod, args.delay);
    serve(listener, tls, args.server.on_sigterm, app, terminate).await;
    Ok(ExitCode::SUCCESS)
}

async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    on_sigterm: OnSigterm,
    app: App,
    terminate: Terminate,
) {
    let app = Arc::new(app);
    server::serve(listener, on_sigterm, terminate, |stream, peer, ending| {
        let (app, tls) = (Arc::clone(&app), tls.clone());
        async move {
            let _open = Gauge::raise(&app.open_connections);
            let respond = |request| app.answer(request, peer);
            let Some(tls) = tls else {
                return connection::serve(stream, ending, respond).await;
            };
            if let Ok(stream) = tls.accept(stream).await {
                connection::serve(stream, ending, respond).await;
            }
        }
    })
    .await;
}

struct App {
    pod: Pod,
    delay: Duration,
    ready: AtomicBool,
    requests: AtomicU64,
    in_flight: AtomicU64,
    open_connections: AtomicU64,
}

#[derive(Serialize)]
struct Echo<'a> {
    #[serde(flatten)]
    pod: &'a Pod,
    method: &'a str,
    path: &'a str,
    /// By lower-case name; the values of a name that came several times are joined by commas, as
    /// RFC 9110 section 5.3 allows.
    headers: BTreeMap<&'a str, String>,
    peer: SocketAddr,
    body: String,
    body_bytes: u64,
}

#[derive(Serialize)]
struct Stats<'a> {
    #[serde(flatten)]
    pod: &'a Pod,
    ready: bool,
    /// Answers begun, other than those of /healthz and /stats.
    requests: u64,
    /// Of these, not yet decided.
    in_flight: u64,
    /// With the one that asks.
    open_connections: u64,
}

impl App {
    fn new(pod: Pod, delay: Duration) -> Self {
        Self {
            pod,
            delay,
            ready: AtomicBool::new(true),
            requests: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            open_connections: AtomicU64::new(0),
        }
    }

    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<ReplyBody> {
        let mut response = match action::action(request.method(), request.uri()) {
            Action::Health => self.health(),
            Action::SetReady(ready) => {
                self.ready.store(ready, Ordering::Relaxed);
                self.health()
            }
            Action::Stats => self.stats(),
            counted => self.counted(counted, request, peer).await,
        };
        let headers = response.headers_mut();
        for (name, value) in [
            (POD_HEADER, &self.pod.pod),
            (VERSION_HEADER, &self.pod.version),
        ] {
            if let Ok(value) = http::HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        response
    }

    async fn counted(
        &self,
        action: Action,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Response<ReplyBody> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let _in_flight = Gauge::raise(&self.in_flight);
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        match action {
            Action::Slow(pause) => {
                tokio::time::sleep(pause).await;
                self.echo(request, peer).await
            }
            Action::Bytes(length) => reply(StatusCode::OK, ReplyBody::pattern(length)),
            Action::Status(status) => json(status, &self.pod),
            Action::Refuse(status, reason) => json(status, &serde_json::json!({"error": reason})),
            _ => self.echo(request, peer).await,
        }
    }

    async fn echo(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<ReplyBody> {
        let (head, body) = request.into_parts();
        let Ok((body, body_bytes)) = read(body).await else {
            // Most likely the client is gone and this goes nowhere.
            let error = serde_json::json!({"error": "the request ended within its body"});
            return json(StatusCode::BAD_REQUEST, &error);
        };
        let path = head.uri.path_and_query().map_or("*", |path| path.as_str());
        let echo = Echo {
            pod: &self.pod,
            method: head.method.as_str(),
            path,
            headers: joined(&head.headers),
            peer,
            body,
            body_bytes,
        };
        json(StatusCode::OK, &echo)
    }

    fn health(&self) -> Response<ReplyBody> {
        match self.ready.load(Ordering::Relaxed) {
            true => reply(StatusCode::OK, ReplyBody::from("ok\n")),
            false => reply(
                StatusCode::SERVICE_UNAVAILABLE,
                ReplyBody::from("not ready\n"),
            ),
        }
    }

    fn stats(&self) -> Response<ReplyBody> {
        let stats = Stats {
            pod: &self.pod,
            ready: self.ready.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            open_connections: self.open_connections.load(Ordering::Relaxed),
        };
        json(StatusCode::OK, &stats)
    }
}

/// Reads a body to its end; returns the first part as text, and the whole length in bytes.
async fn read<B: Body<Data = bytes::Bytes> + Unpin>(
    mut body: B,
) -> Result<(String, u64), B::Error> {
    let mut kept = Vec::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            length += data.len() as u64;
            let room = ECHOED_BYTES_MAX - kept.len();
            kept.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    Ok((String::from_utf8_lossy(&kept).into_owned(), length))
}

fn joined(headers: &HeaderMap) -> BTreeMap<&str, String> {
    let mut joined = BTreeMap::<&str, String>::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        joined
            .entry(name.as_str())
            .and_modify(|before| *before = format!("{before}, {value}"))
            .or_insert_with(|| value.into_owned());
    }
    joined
}

fn reply(status: StatusCode, body: ReplyBody) -> Response<ReplyBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// An answer whose body is `value` as JSON, a line long.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response<ReplyBody> {
    let mut text = serde_json::to_vec(value)
        .expect("answers are maps with text keys, which JSON can always hold");
    text.push(b'\n');
    let mut response = reply(status, ReplyBody::from(text));
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    response
}

/// Counts something for as long as it lives, also when its task is dropped half-way.
struct Gauge<'a>(&'a AtomicU64);

impl<'a> Gauge<'a> {
    fn raise(gauge: &'a AtomicU64) -> Self {
        gauge.fetch_add(1, Ordering::Relaxed);
        Self(gauge)
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
