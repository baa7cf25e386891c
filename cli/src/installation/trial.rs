//! A pod on trial, which is never created: whether the API server gets to the webhook,
//! and whether pods with a sidecar are let in.

use http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Error, Resource as _, ResourceExt as _,
    api::PostParams,
    client::Body,
    core::{Request, Status},
};
use netting_webhook::names;
use serde_json::json;

use crate::cluster::Cluster;

/// Where a pod is tried if no namespace is in question.
pub const NAMESPACE: &str = "default";
/// How the webhook begins what it says of a pod that it leaves as it is. The API server
/// passes it on as a `Warning`.
const LEFT: &str = "netting: pod not injected: ";
/// Without a sidecar the pod has neither init containers nor capabilities, and meets Pod
/// Security's `restricted`: a refusal that says one of these is about the sidecar.
const OF_SIDECARS: [&str; 7] = [
    names::INIT_CONTAINER,
    names::SIDECAR_CONTAINER,
    "initContainers",
    "PodSecurity",
    "NET_ADMIN",
    "capabilit",
    "security context constraint",
];
/// Of who asks, and of the moment: what is tried again may come out otherwise.
const NO_REFUSALS: [u16; 4] = [401, 404, 409, 429];

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trial {
    /// It is given a sidecar, and let in with it.
    Injected,
    /// The webhook is asked, and leaves it as it is; with the reason.
    Left(String),
    /// It is let in as it was: nobody asked the webhook.
    Unasked,
    /// It is refused for what a sidecar needs; with the refusal.
    Refused(String),
    /// It is refused for something else, so nothing is known; with the refusal.
    Untried(String),
}

/// Tries a pod that asks for a sidecar.
///
/// # Errors
/// If there is no answer that says anything about pods.
pub async fn run(cluster: &Cluster, namespace: &str) -> kube::Result<Trial> {
    judge(create(cluster, namespace).await)
}

/// What to do about a refusal of sidecars.
#[must_use]
pub fn advice(refusal: &str) -> &'static str {
    if refusal.contains("PodSecurity") {
        "label the namespaces that you mesh pod-security.kubernetes.io/enforce=privileged, for \
         netting-init needs NET_ADMIN, and tell the webhook what the others enforce: netting upgrade \
         --webhook-set pod-security-default=baseline (or restricted)"
    } else if refusal.contains("security context constraint") {
        "give the service accounts of the namespaces that you mesh a SecurityContextConstraint \
         that allows uid 0, NET_ADMIN and NET_RAW; see \"OpenShift\" in docs/installation.md"
    } else if refusal.contains("autogke") || refusal.contains("Autopilot") {
        "have the cluster allow NET_ADMIN (gcloud container clusters update \
         --workload-policies=allow-net-admin); see \"GKE Autopilot\" in docs/installation.md"
    } else {
        "have whoever refuses it allow netting-init uid 0, NET_ADMIN and NET_RAW in the namespaces \
         that you mesh; see \"Where pods may not have NET_ADMIN\" in docs/installation.md"
    }
}

fn judge(answer: kube::Result<(Pod, HeaderMap)>) -> kube::Result<Trial> {
    let refusal = match answer {
        Ok((pod, _)) if is_injected(&pod) => return Ok(Trial::Injected),
        Ok((_, headers)) => return Ok(left(&headers).map_or(Trial::Unasked, Trial::Left)),
        Err(Error::Api(status)) if is_refusal(&status) => status.message,
        Err(error) => return Err(error),
    };
    let of_sidecars = OF_SIDECARS.iter().any(|one| refusal.contains(one));
    Ok(if of_sidecars {
        Trial::Refused(refusal)
    } else {
        Trial::Untried(refusal)
    })
}

/// Policies choose the codes of their refusals themselves.
fn is_refusal(status: &Status) -> bool {
    let denied = status.message.contains("denied the request");
    let of_ours = status.message.contains(names::WEBHOOKS_DOMAIN);
    let says = (400..500).contains(&status.code) && !NO_REFUSALS.contains(&status.code);
    (denied || says) && !of_ours
}

fn is_injected(pod: &Pod) -> bool {
    let label = pod.labels().get(names::INJECTED);
    label.is_some_and(|value| value == "true")
}

/// What the webhook says of the pod: `299 - "netting: pod not injected: …"`.
fn left(headers: &HeaderMap) -> Option<String> {
    let warnings = headers.get_all(header::WARNING).iter();
    let mut texts = warnings.map(|value| String::from_utf8_lossy(value.as_bytes()));
    texts.find_map(|text| {
        let (_, why) = text.split_once(LEFT)?;
        Some(why.split('"').next().unwrap_or(why).to_owned())
    })
}

async fn create(cluster: &Cluster, namespace: &str) -> kube::Result<(Pod, HeaderMap)> {
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let pod = serde_json::to_vec(&pod()).map_err(Error::SerdeError)?;
    let request = Request::new(Pod::url_path(&(), Some(namespace))).create(&dry_run, pod);
    let request = request.map_err(Error::BuildRequest)?;
    let (head, body) = cluster
        .client()
        .send(request.map(Body::from))
        .await?
        .into_parts();
    let body = body.collect().await?.to_bytes();
    if head.status.is_success() {
        let pod = serde_json::from_slice(&body).map_err(Error::SerdeError)?;
        return Ok((pod, head.headers));
    }
    // Of a proxy on the way, it may be no Status.
    let status = serde_json::from_slice(&body).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(&body);
        Status::failure(text.trim(), "NoStatus").with_code(head.status.as_u16())
    });
    Err(Error::Api(status.boxed()))
}

/// As Pod Security's `restricted` allows it.
fn pod() -> Pod {
    let pod = json!({
        "metadata": {"name": "netting-trial", "labels": {names::INJECT: "enabled"}},
        "spec": {
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "app", "image": "registry.invalid/nothing", "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
        },
    });
    serde_json::from_value(pod).expect("it is a pod")
}

#[cfg(test)]
mod tests;
