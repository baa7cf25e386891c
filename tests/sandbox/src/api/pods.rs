//! What can be done below a pod's path: bind, read logs, proxy.

use std::net::{IpAddr, SocketAddr};

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::{
    Cluster,
    call::Call,
    object::{Object as _, now},
    reply, resources,
    status::Status,
    store::Key,
};
use crate::outgoing::{self, Security};

/// Where a kubelet is looked for, the first of them that a node has: the default of API servers
/// (`--kubelet-preferred-address-types`).
const KUBELET_ADDRESS_TYPES: [&str; 5] = [
    "Hostname",
    "InternalDNS",
    "InternalIP",
    "ExternalDNS",
    "ExternalIP",
];

/// POST to `binding`: the scheduler's decision.
pub(crate) async fn bind(cluster: &Cluster, call: &Call) -> Result<Value, Status> {
    let binding = call.decode()?;
    let node = binding.text("/target/name").to_owned();
    if node.is_empty() {
        return Err(Status::bad_request(
            "Binding: target.name: Required value: the node to bind to",
        ));
    }
    let place = cluster
        .store
        .get(&Key::new(resources::core("nodes"), "", &node));
    let key = call.target.key();
    loop {
        let old = cluster
            .store
            .get(&key)
            .ok_or_else(|| Status::not_found(key.resource, &key.name))?;
        let refuse = |why: &str| Err(Status::conflict(key.resource, &key.name, why));
        if old.is_terminating() {
            return refuse(&format!(
                "pod {} is being deleted, cannot be assigned to a host",
                key.name
            ));
        }
        if !old.text("/spec/nodeName").is_empty() {
            return refuse(&format!(
                "pod {} is already assigned to node \"{}\"",
                key.name,
                old.text("/spec/nodeName")
            ));
        }
        let mut pod = Value::clone(&old);
        pod.set("/spec/nodeName", node.as_str());
        pod.set(
            "/status/conditions",
            json!([{"type": "PodScheduled", "status": "True",
            "lastProbeTime": null, "lastTransitionTime": now()}]),
        );
        // The pod learns where it runs: labels that the downward API can show.
        for label in ["region", "zone"] {
            let label = format!("/metadata/labels/topology.kubernetes.io~1{label}");
            if let Some(value) = place.as_ref().and_then(|node| node.pointer(&label)) {
                pod.default_to(&label, value.clone());
            }
        }
        if cluster.store.replace(&key, old.revision(), pod).is_ok() {
            return Ok(reply::success());
        }
    }
}

/// GET of `log`: asks the kubelet of the pod's node, as it writes.
pub(crate) async fn log(cluster: &Cluster, call: &Call) -> Result<Response<Body>, Status> {
    let pod = pod(cluster, call, &call.target.name)?;
    let container = container(call, &pod)?;
    let (host, port) = kubelet(cluster, &pod)?;
    let kept = ["follow", "previous", "tailLines"];
    let query: Vec<String> = kept
        .iter()
        .map(|key| (key, call.query.get(key)))
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let path = format!(
        "/containerLogs/{}/{}/{container}?{}",
        pod.namespace(),
        pod.name(),
        query.join("&")
    );
    let addr = outgoing::resolve(&host, port)
        .await
        .map_err(|error| Status::unreachable(error.to_string()))?;
    let security = Security::Unverified;
    let response = relay(addr, security, &Method::GET, &path, Bytes::new()).await?;
    if response.status().is_success() {
        return Ok(response);
    }
    Err(refused_by_kubelet(response).await)
}

/// What a kubelet refuses it refuses in plain text.
pub(super) async fn refused_by_kubelet<B: hyper::body::Body>(response: Response<B>) -> Status {
    let code = response.status().as_u16();
    let body = response.into_body().collect().await;
    let text = body.map(|body| body.to_bytes()).unwrap_or_default();
    let reason = if code == 404 {
        "NotFound"
    } else {
        "BadRequest"
    };
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    Status::new(code, reason, text)
}

/// Host and port of the kubelet that runs `pod`.
pub(super) fn kubelet(cluster: &Cluster, pod: &Value) -> Result<(String, u16), Status> {
    let name = pod.text("/spec/nodeName");
    if name.is_empty() {
        return Err(Status::bad_request(format!(
            "pod {} does not have a host assigned",
            pod.name()
        )));
    }
    let nodes = resources::core("nodes");
    let node = cluster
        .store
        .get(&Key::new(nodes, "", name))
        .ok_or_else(|| Status::not_found(nodes, name))?;
    let addresses = node.items("/status/addresses");
    let of_type = |kind: &&str| addresses.iter().find(|one| one["type"] == *kind);
    let host = KUBELET_ADDRESS_TYPES.iter().find_map(of_type);
    let host = host.map(|one| one.text("/address").to_owned());
    let port = node
        .pointer("/status/daemonEndpoints/kubeletEndpoint/Port")
        .and_then(Value::as_u64);
    let port = port.and_then(|port| u16::try_from(port).ok());
    host.zip(port).ok_or_else(|| {
        Status::unreachable(format!(
            "node {name} does not say where its kubelet listens"
        ))
    })
}

/// The container to read: the one asked for, or the only one.
fn container(call: &Call, pod: &Value) -> Result<String, Status> {
    let own = pod.items("/spec/containers");
    let mut all = own.iter().chain(pod.items("/spec/initContainers"));
    let name = pod.name();
    match (call.query.get("container"), own) {
        ("", [only]) => Ok(only.text("/name").to_owned()),
        ("", _) => Err(Status::bad_request(format!(
            "a container name must be specified for pod {name}"
        ))),
        (asked, _) if all.any(|one| one["name"] == asked) => Ok(asked.to_owned()),
        (asked, _) => Err(Status::bad_request(format!(
            "container {asked} is not valid for pod {name}"
        ))),
    }
}

/// A request below `proxy`: asks the pod itself. The name may end in `:port`.
pub(crate) async fn proxy(
    cluster: &Cluster,
    call: &Call,
    query: Option<&str>,
) -> Result<Response<Body>, Status> {
    let (name, port) = call
        .target
        .name
        .split_once(':')
        .unwrap_or((&call.target.name, ""));
    let pod = pod(cluster, call, name)?;
    let address: IpAddr = pod.text("/status/podIP").parse().map_err(|_| {
        Status::unreachable(format!("address not allowed: pod {name} has no IP yet"))
    })?;
    let mut ports = pod
        .items("/spec/containers")
        .iter()
        .flat_map(|container| container.items("/ports"));
    let port = match port {
        "" => ports
            .next()
            .and_then(|port| port["containerPort"].as_u64())
            .unwrap_or(80),
        given => match given.parse() {
            Ok(number) => number,
            Err(_) => ports
                .find(|port| port["name"] == given)
                .and_then(|port| port["containerPort"].as_u64())
                .ok_or_else(|| Status::bad_request(format!("no port \"{given}\" in pod {name}")))?,
        },
    };
    let port =
        u16::try_from(port).map_err(|_| Status::bad_request(format!("{port} is no port")))?;
    let rest = if call.target.rest.is_empty() {
        "/"
    } else {
        &call.target.rest
    };
    let path = query.map_or_else(|| rest.to_owned(), |query| format!("{rest}?{query}"));
    let addr = SocketAddr::new(address, port);
    relay(
        addr,
        Security::Plain,
        &call.method,
        &path,
        call.body.clone(),
    )
    .await
}

/// The pod that a path is below of.
pub(super) fn pod(
    cluster: &Cluster,
    call: &Call,
    name: &str,
) -> Result<std::sync::Arc<Value>, Status> {
    let pods = resources::core("pods");
    let key = Key::new(pods, &call.target.namespace, name);
    cluster
        .store
        .get(&key)
        .ok_or_else(|| Status::not_found(pods, name))
}

async fn relay(
    addr: SocketAddr,
    security: Security,
    method: &Method,
    path: &str,
    body: Bytes,
) -> Result<Response<Body>, Status> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, addr.to_string())
        .body(body)
        .map_err(|error| Status::bad_request(format!("unusable path: {error}")))?;
    let answer = outgoing::send(addr, security, request).await;
    let answer = answer
        .map_err(|error| Status::unreachable(format!("error trying to reach {addr}: {error}")))?;
    let (mut head, body) = answer.into_parts();
    for hop_by_hop in [header::CONNECTION, header::TRANSFER_ENCODING] {
        head.headers.remove(hop_by_hop);
    }
    Ok(Response::from_parts(head, Body::new(body)))
}
