//! Applications to ask.

use std::sync::Arc;

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderValue, Request, Response, Version, header},
};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::{Mutex, mpsc},
};
use tokio_rustls::{TlsAcceptor, rustls};

/// An application, and what it was asked.
pub(super) struct Server {
    pub(super) port: u16,
    asked: Mutex<mpsc::UnboundedReceiver<String>>,
}

/// An application that gives each connection the next of its answers.
pub(super) struct Script;

/// What a health service says.
#[derive(Clone, Copy)]
pub(super) enum Health {
    /// This `ServingStatus`.
    Status(u8),
    /// This `grpc-status`.
    Fails(u8),
}

impl Server {
    /// What it was asked next.
    pub(super) async fn asked(&self) -> String {
        self.asked.lock().await.recv().await.expect("it was asked")
    }
}

async fn listening() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    (listener, port)
}

impl Script {
    pub(super) async fn start(answers: &[&str]) -> Server {
        let (listener, port) = listening().await;
        let (tell, asked) = mpsc::unbounded_channel();
        let answers: Vec<String> = answers.iter().map(ToString::to_string).collect();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.expect("somebody connects");
                let mut head = Vec::new();
                let mut piece = [0; 1024];
                // A TLS hello has no such end, but comes in one piece.
                while !head.ends_with(b"\r\n\r\n") && !head.starts_with(b"\x16") {
                    match stream.read(&mut piece).await {
                        Ok(0) | Err(_) => break,
                        Ok(read) => head.extend_from_slice(&piece[..read]),
                    }
                }
                tell.send(String::from_utf8_lossy(&head).into_owned()).ok();
                stream.write_all(answer.as_bytes()).await.ok();
            }
        });
        Server {
            port,
            asked: Mutex::new(asked),
        }
    }
}

/// Says in its body what it was asked, over TLS with a certificate of its own making.
pub(super) async fn https(alpn: &'static str) -> u16 {
    let made = rcgen::generate_simple_self_signed(["nobody.invalid".to_owned()]);
    let made = made.expect("a certificate can be made");
    let key = made
        .signing_key
        .serialize_der()
        .try_into()
        .expect("it is a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has ciphers for them")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("they belong together");
    config.alpn_protocols = vec![alpn.into()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (listener, port) = listening().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stream = acceptor.accept(stream).await.expect("it is TLS");
            let service = service_fn(move |request: Request<Incoming>| async move {
                let authority = request.uri().authority().map(ToString::to_string);
                let host = request.headers().get(header::HOST).map(as_text);
                let told = format!(
                    "{alpn} {} {} {}",
                    authority.or(host).expect("a request has a host"),
                    request.uri().path(),
                    as_text(&request.headers()[header::USER_AGENT]),
                );
                let answered = if request.version() == Version::HTTP_2 {
                    "h2"
                } else {
                    "http/1.1"
                };
                assert_eq!(answered, alpn);
                Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(told))))
            });
            if alpn == "h2" {
                let builder = conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
            } else {
                let builder = conn::http1::Builder::new();
                tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
            }
        }
    });
    port
}

/// Serves `grpc.health.v1.Health` in plain text.
pub(super) async fn grpc(health: Health) -> Server {
    let (listener, port) = listening().await;
    let (tell, asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("somebody connects");
        let service = service_fn(move |request: Request<Incoming>| {
            let tell = tell.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                let message = String::from_utf8_lossy(&body[5..]).into_owned();
                let agent = as_text(&head.headers[header::USER_AGENT]);
                tell.send(format!("{} {message:?} {agent}", head.uri.path()))
                    .ok();
                Ok::<_, hyper::Error>(answer(health))
            }
        });
        let builder = conn::http2::Builder::new(TokioExecutor::new());
        builder
            .serve_connection(TokioIo::new(stream), service)
            .await
            .ok();
    });
    Server {
        port,
        asked: Mutex::new(asked),
    }
}

/// A message with its prefix of five bytes, and the status in the trailers.
fn answer(
    health: Health,
) -> Response<impl hyper::body::Body<Data = Bytes, Error = std::convert::Infallible>> {
    let (message, code) = match health {
        Health::Status(status) => (vec![0, 0, 0, 0, 2, 8, status], 0),
        Health::Fails(code) => (Vec::new(), code),
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(u16::from(code)));
    let body = Full::new(Bytes::from(message)).with_trailers(async { Some(Ok(trailers)) });
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn as_text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}
