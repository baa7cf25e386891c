//! GET of a pod's `portforward`: the client's connection becomes one to the kubelet, byte for byte.
//! What is said on it is the two's own business, as it is with a real server.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, header, request::Parts};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::{Cluster, call::Call, object::Object as _, pods, status::Status};
use crate::outgoing::{self, Security};

/// A pod's ports that one connection may forward, as clients have it.
const PORTS_MAX: usize = 128;
/// What the two need to agree on a WebSocket (RFC 6455 section 4).
const HANDSHAKE: [HeaderName; 6] = [
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_ACCEPT,
];

/// Connects the client with the kubelet of the pod's node.
pub(crate) async fn relay(
    cluster: &Cluster,
    call: &Call,
    parts: &Parts,
) -> Result<Response<Body>, Status> {
    let pod = pods::pod(cluster, call, &call.target.name)?;
    let ports = ports(call.query.get("ports"))?;
    let client = parts.extensions.get::<OnUpgrade>().cloned();
    let client = client.ok_or_else(|| Status::bad_request("Upgrade request required"))?;
    let (host, port) = pods::kubelet(cluster, &pod)?;
    let unreachable = |error: String| Status::unreachable(error);
    let addr = outgoing::resolve(&host, port).await.map_err(unreachable)?;
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    // All of them in one parameter, with the comma as Go writes it.
    let path = format!(
        "/portForward/{}/{}?port={}",
        pod.namespace(),
        pod.name(),
        ports.join("%2C")
    );
    let mut request = Request::builder()
        .uri(path)
        .header(header::HOST, addr.to_string())
        .body(Bytes::new())
        .map_err(|error| Status::bad_request(format!("unusable path: {error}")))?;
    copy(&parts.headers, request.headers_mut());
    let answer = outgoing::send(addr, Security::Unverified, request).await;
    let mut answer = answer.map_err(unreachable)?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(pods::refused_by_kubelet(answer).await);
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    copy(answer.headers(), response.headers_mut());
    let kubelet = hyper::upgrade::on(&mut answer);
    let stopping = cluster.stopping.clone();
    tokio::spawn(stopping.run_until_cancelled_owned(join(client, kubelet)));
    Ok(response)
}

async fn join(client: OnUpgrade, kubelet: OnUpgrade) {
    let (client, kubelet) = match tokio::try_join!(client, kubelet) {
        Ok((client, kubelet)) => (client, kubelet),
        Err(error) => {
            tracing::debug!(%error, "a forwarded connection did not come about");
            return;
        }
    };
    let (mut client, mut kubelet) = (TokioIo::new(client), TokioIo::new(kubelet));
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut kubelet).await {
        tracing::debug!(%error, "a forwarded connection broke off");
    }
}

fn copy(from: &HeaderMap, to: &mut HeaderMap) {
    for name in HANDSHAKE {
        if let Some(value) = from.get(&name) {
            to.insert(name, value.clone());
        }
    }
}

/// `80,8080`.
fn ports(text: &str) -> Result<Vec<u16>, Status> {
    let parsed: Result<Vec<u16>, _> = text.split(',').map(str::parse).collect();
    let ports = parsed.unwrap_or_default();
    if ports.is_empty() || ports.len() > PORTS_MAX || ports.contains(&0) {
        let why = format!("ports: \"{text}\" is not a list of 1 to {PORTS_MAX} ports");
        return Err(Status::bad_request(why));
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_list_of_ports() {
        for text in ["", "0", "http", "80,", "65536", "80 81", &"1,".repeat(200)] {
            assert_eq!(ports(text).expect_err("no ports").code, 400, "{text}");
        }
        assert_eq!(ports("80,15020").ok(), Some(vec![80, 15020]));
    }
}
