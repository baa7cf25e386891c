//! Forwards connections to ports of a pod, over a WebSocket as kubelets speak it to clients that ask
//! for `v4.channel.k8s.io`: two channels for each port, the even one for its bytes, the odd one
//! for what went wrong. Each begins with the port's number. The other protocols of kubelets,
//! SPDY and SPDY within a WebSocket, are not spoken here.

mod channels;

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path as UrlPath, Query, State};
use axum::http::{HeaderMap, Request, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _};
use nix::sched::{CloneFlags, setns};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{handshake::derive_accept_key, protocol::Role};

use super::agent::Node;

const PROTOCOL: &str = "v4.channel.k8s.io";
/// To a port of the same machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Goes on as a WebSocket with whoever asks for a pod's ports (`?port=80,81`).
pub(super) async fn answer(
    State(node): State<Arc<Node>>,
    UrlPath((namespace, name)): UrlPath<(String, String)>,
    Query(query): Query<Vec<(String, String)>>,
    request: Request<Body>,
) -> Response<Body> {
    let refuse = |code: StatusCode, why: String| (code, format!("{why}\n")).into_response();
    let Some(key) = key(request.headers()) else {
        let why = format!("only WebSockets of {PROTOCOL} are forwarded here");
        return refuse(StatusCode::BAD_REQUEST, why);
    };
    let accept = derive_accept_key(key);
    let ports = query.iter().filter(|(name, _)| name == "port");
    let ports = ports.flat_map(|(_, list)| list.split(','));
    let ports: Result<Vec<u16>, _> = ports.map(str::parse).collect();
    let Ok(ports) = ports else {
        return refuse(StatusCode::BAD_REQUEST, "port is no number".to_owned());
    };
    let netns = match network_of(&node, &namespace, &name).await {
        Ok(netns) => netns,
        Err(why) => return refuse(StatusCode::NOT_FOUND, why),
    };
    tokio::spawn(async move {
        match hyper::upgrade::on(request).await {
            Ok(upgraded) => {
                let stream = TokioIo::new(upgraded);
                let socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
                channels::serve(socket, &ports, netns.as_deref()).await;
            }
            Err(error) => tracing::debug!(%error, "a WebSocket did not come about"),
        }
    });
    let switched = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept)
        .header(header::SEC_WEBSOCKET_PROTOCOL, PROTOCOL)
        .body(Body::empty());
    switched.expect("the headers are plain text")
}

/// The key of a client that wants this protocol, as one of a list or more.
fn key(headers: &HeaderMap) -> Option<&[u8]> {
    let offers = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let mut offers = offers
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(','));
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    offers
        .any(|offer| offer.trim() == PROTOCOL)
        .then_some(key.as_bytes())
}

/// The network namespace of a pod that runs here, `None` if that is the node's own.
async fn network_of(node: &Node, namespace: &str, name: &str) -> Result<Option<PathBuf>, String> {
    let pods: Api<Pod> = Api::namespaced(node.client.clone(), namespace);
    let pod = pods.get(name).await.map_err(|error| error.to_string())?;
    let spec = pod.spec.as_ref();
    if spec.and_then(|spec| spec.host_network) == Some(true) {
        return Ok(None);
    }
    let netns = node.network.namespace_of(&pod.uid().unwrap_or_default());
    if netns.exists() {
        Ok(Some(netns))
    } else {
        Err(format!("pod {name} does not run on this node"))
    }
}

/// Connects to a port at the loopback address, as a container runtime does.
async fn connect(netns: Option<&Path>, port: u16) -> io::Result<TcpStream> {
    let netns = netns.map(Path::to_owned);
    let connected = tokio::task::spawn_blocking(move || {
        // A thread of its own, which ends with what it has entered.
        let inside = std::thread::spawn(move || connect_in(netns.as_deref(), port));
        inside
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("panicked")))
    });
    let stream = connected.await.map_err(io::Error::other)??;
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

fn connect_in(netns: Option<&Path>, port: u16) -> io::Result<std::net::TcpStream> {
    if let Some(netns) = netns {
        setns(File::open(netns)?, CloneFlags::CLONE_NEWNET)?;
    }
    let to = |ip: std::net::IpAddr| {
        std::net::TcpStream::connect_timeout(&SocketAddr::new(ip, port), CONNECT_TIMEOUT)
    };
    to(Ipv4Addr::LOCALHOST.into())
        .or_else(|refused| to(Ipv6Addr::LOCALHOST.into()).map_err(|_| refused))
}
