//! Sends an `AdmissionReview` to a webhook, by URL or through its Service.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Limited};
use serde_json::Value;

use super::Attributes;
use crate::api::{
    Cluster,
    object::{Object as _, new_uid},
    resources,
    store::Key,
};
use crate::outgoing::{self, Security};

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Where a webhook is, and the name it is to prove.
struct Endpoint {
    addr: SocketAddr,
    /// `host:port` of the URL.
    authority: String,
    server_name: String,
    path: String,
}

/// Asks `hook` about `object`; returns the review's identity and the answer, or why there is none.
pub(super) async fn call(
    cluster: &Cluster,
    attributes: &Attributes<'_>,
    hook: &Value,
    object: &Value,
) -> Result<(String, Value), String> {
    let seconds = hook["timeoutSeconds"].as_u64().unwrap_or(10);
    let uid = new_uid();
    let review = attributes.review(&uid, object);
    let exchange = async {
        let endpoint = endpoint(cluster, &hook["clientConfig"]).await?;
        let path = format!("{}?timeout={seconds}s", endpoint.path);
        let url = format!("https://{}{path}", endpoint.authority);
        let answer = exchange(endpoint, &path, &hook["clientConfig"], &review).await;
        answer.map_err(|why| format!("Post \"{url}\": {why}"))
    };
    let timeout = Duration::from_secs(seconds);
    let answer = tokio::time::timeout(timeout, exchange).await;
    let answer = answer.unwrap_or_else(|_| Err("context deadline exceeded".to_owned()))?;
    Ok((uid, answer))
}

async fn exchange(
    endpoint: Endpoint,
    path: &str,
    config: &Value,
    review: &Value,
) -> Result<Value, String> {
    let ca_bundle = STANDARD
        .decode(config.text("/caBundle"))
        .map_err(|error| format!("caBundle is not base64: {error}"))?;
    let request = Request::post(path)
        .header(header::HOST, &endpoint.authority)
        .header(header::USER_AGENT, "kube-apiserver-admission")
        .header(header::ACCEPT, "application/json, */*")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Bytes::from(review.to_string()))
        .map_err(|error| error.to_string())?;
    let security = Security::Verified {
        name: endpoint.server_name,
        ca_bundle,
    };
    let response = outgoing::send(endpoint.addr, security, request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
        .collect()
        .await;
    let body = body
        .map_err(|error| format!("the answer broke off: {error}"))?
        .to_bytes();
    if !status.is_success() {
        let start = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        return Err(format!("the server answered {status}: {start}"));
    }
    serde_json::from_slice(&body).map_err(|error| format!("the answer is not JSON: {error}"))
}

async fn endpoint(cluster: &Cluster, config: &Value) -> Result<Endpoint, String> {
    if config["service"].is_object() {
        return service(cluster, &config["service"]);
    }
    let url: Uri = config
        .text("/url")
        .parse()
        .map_err(|error| format!("unusable url: {error}"))?;
    let host = url.host().filter(|_| url.scheme_str() == Some("https"));
    let host = host.ok_or("unusable url: it must be https://host[:port]/path")?;
    let port = url.port_u16().unwrap_or(443);
    let addr = outgoing::resolve(host, port).await?;
    Ok(Endpoint {
        addr,
        authority: url.authority().map(ToString::to_string).unwrap_or_default(),
        server_name: host.trim_matches(['[', ']']).to_owned(),
        path: url.path().to_owned(),
    })
}

/// A Service is reached at its cluster IP, through the same routing as everybody's.
fn service(cluster: &Cluster, reference: &Value) -> Result<Endpoint, String> {
    let (namespace, name) = (reference.text("/namespace"), reference.text("/name"));
    let port = reference
        .integer("/port")
        .and_then(|port| u16::try_from(port).ok());
    let port = port.unwrap_or(443);
    let object = cluster
        .store
        .get(&Key::new(resources::core("services"), namespace, name));
    let object = object.ok_or_else(|| format!("service \"{name}\" not found"))?;
    if !object
        .items("/spec/ports")
        .iter()
        .any(|one| one["port"] == port)
    {
        return Err(format!(
            "no service port {port} found for service \"{name}\""
        ));
    }
    let address: IpAddr = object
        .text("/spec/clusterIP")
        .parse()
        .map_err(|_| format!("service \"{name}\" has no cluster IP to call"))?;
    let path = reference.text("/path");
    Ok(Endpoint {
        addr: SocketAddr::new(address, port),
        authority: format!("{name}.{namespace}.svc:{port}"),
        server_name: format!("{name}.{namespace}.svc"),
        path: if path.is_empty() {
            "/".to_owned()
        } else {
            path.to_owned()
        },
    })
}
