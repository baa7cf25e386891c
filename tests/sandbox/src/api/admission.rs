//! The admission plugins of a real server that change pods: ServiceAccount, DefaultTolerationSeconds
//! and Priority.

use serde_json::{Value, json};

use super::{
    Cluster,
    object::{Object as _, name_suffix},
    resources::{self, Resource},
    status::Status,
    store::Key,
};

/// How the name of the token's volume begins.
const TOKEN_VOLUME: &str = "kube-api-access-";
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// An hour, and a bit that tells these tokens from those that were asked for.
const TOKEN_SECONDS: i64 = 3607;

/// Changes a new object as the plugins do, or refuses it.
pub(crate) fn admit(
    cluster: &Cluster,
    resource: &Resource,
    object: &mut Value,
) -> Result<(), Status> {
    if resource.id() != ("", "pods") {
        return Ok(());
    }
    service_account(cluster, resource, object)?;
    tolerations(object);
    object.default_to("/spec/priority", 0);
    object.default_to("/spec/preemptionPolicy", "PreemptLowerPriority");
    Ok(())
}

fn service_account(cluster: &Cluster, resource: &Resource, pod: &mut Value) -> Result<(), Status> {
    let name = match pod.text("/spec/serviceAccountName") {
        "" => "default".to_owned(),
        given => given.to_owned(),
    };
    let key = Key::new(resources::core("serviceaccounts"), pod.namespace(), &name);
    let Some(account) = cluster.store.get(&key) else {
        let why = format!(
            "error looking up service account {}/{name}: serviceaccount \"{name}\" not found",
            key.namespace
        );
        return Err(Status::forbidden(resource, pod.name(), &why));
    };
    pod.set("/spec/serviceAccountName", name.clone());
    pod.set("/spec/serviceAccount", name);
    if let Some(secrets) = account.get("imagePullSecrets") {
        pod.default_to("/spec/imagePullSecrets", secrets.clone());
    }
    let automount = pod["spec"]["automountServiceAccountToken"]
        .as_bool()
        .or(account["automountServiceAccountToken"].as_bool())
        .unwrap_or(true);
    if automount {
        mount_token(pod);
    }
    Ok(())
}

/// Adds the volume with token, CA and namespace, unless it is there, and mounts it where nothing
/// else is mounted.
fn mount_token(pod: &mut Value) {
    let mut names = pod
        .items("/spec/volumes")
        .iter()
        .map(|one| one.text("/name"));
    let known = names
        .find(|name| name.starts_with(TOKEN_VOLUME))
        .map(str::to_owned);
    let is_new = known.is_none();
    let name = known.unwrap_or_else(|| format!("{TOKEN_VOLUME}{}", name_suffix()));
    let mut used = false;
    for kind in ["/spec/initContainers", "/spec/containers"] {
        for container in pod.each(kind) {
            let mut mounts = container.items("/volumeMounts").iter();
            if !mounts.any(|mount| mount["mountPath"] == TOKEN_PATH) {
                let mount = json!({"name": name, "readOnly": true, "mountPath": TOKEN_PATH});
                container.push("/volumeMounts", mount);
                used = true;
            }
        }
    }
    if used && is_new {
        let sources = json!([
            {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace",
                "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
        ]);
        let volume = json!({"name": name, "projected": {"sources": sources, "defaultMode": 0o644}});
        pod.push("/spec/volumes", volume);
    }
}

fn tolerations(pod: &mut Value) {
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        let tolerated = pod.items("/spec/tolerations").iter().any(|one| {
            let key_matches = one["key"] == key || one.text("/key").is_empty();
            key_matches && matches!(one.text("/effect"), "" | "NoExecute")
        });
        if !tolerated {
            let toleration = json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
            pod.push("/spec/tolerations", toleration);
        }
    }
}

/// The quality of service class that follows from a pod's requests and limits.
pub(crate) fn qos_class(pod: &Value) -> &'static str {
    let containers = ["/spec/initContainers", "/spec/containers"].map(|kind| pod.items(kind));
    let mut any = false;
    let mut guaranteed = true;
    for container in containers.into_iter().flatten() {
        for resource in ["cpu", "memory"] {
            let request = &container["resources"]["requests"][resource];
            let limit = &container["resources"]["limits"][resource];
            any |= !request.is_null() || !limit.is_null();
            guaranteed &= !limit.is_null() && (request.is_null() || request == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
