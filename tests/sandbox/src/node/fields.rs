//! The downward API: a pod's fields as text. Those of containers' resources are not there.
//!
//! See <https://kubernetes.io/docs/concepts/workloads/pods/downward-api/>.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

/// A pod and where it runs: what its fields are taken from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) addrs: &'a [IpAddr],
    pub(crate) node_addrs: &'a [IpAddr],
}

/// The value of a `fieldRef`'s path.
///
/// # Errors
/// When there is no such field, with the path.
pub(crate) fn pod_field(placed: Placed<'_>, path: &str) -> Result<String, String> {
    let Placed {
        pod,
        addrs,
        node_addrs,
    } = placed;
    let unsupported = || format!("unsupported field path {path:?}");
    let first = |addrs: &[IpAddr]| addrs.first().map(ToString::to_string);
    let all = |addrs: &[IpAddr]| {
        let addrs = addrs.iter().map(ToString::to_string);
        Some(addrs.collect::<Vec<_>>().join(","))
    };
    // `metadata.labels['app']` names a map and a key in it.
    if let Some((map, key)) = path
        .strip_suffix("']")
        .and_then(|path| path.split_once("['"))
    {
        let map = match map {
            "metadata.labels" => pod.labels(),
            "metadata.annotations" => pod.annotations(),
            _ => return Err(unsupported()),
        };
        return Ok(map.get(key).cloned().unwrap_or_default());
    }
    let spec = pod.spec.as_ref();
    let value = match path {
        "metadata.name" => pod.metadata.name.clone(),
        "metadata.namespace" => pod.namespace(),
        "metadata.uid" => pod.uid(),
        "metadata.labels" => Some(lines(pod.labels())),
        "metadata.annotations" => Some(lines(pod.annotations())),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.podIP" => first(addrs),
        "status.podIPs" => all(addrs),
        "status.hostIP" => first(node_addrs),
        "status.hostIPs" => all(node_addrs),
        _ => return Err(unsupported()),
    };
    Ok(value.unwrap_or_default())
}

/// Values are quoted as Go does it, which for what labels may contain is as Rust does it.
fn lines(map: &BTreeMap<String, String>) -> String {
    map.iter()
        .map(|(key, value)| format!("{key}={value:?}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn gives_the_fields_of_the_downward_api_and_no_others() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "web", "uid": "u-1", "labels": {"app": "web", "tier/x": "a\"b"}},
            "spec": {"nodeName": "box", "containers": []}
        }))
        .expect("a pod");
        let addrs = ["10.244.0.2", "fd00::2"].map(|addr| addr.parse().expect("an address"));
        let placed = Placed {
            pod: &pod,
            addrs: &addrs,
            node_addrs: &addrs[..1],
        };
        for path in [
            "",
            "spec.containers",
            "metadata.finalizers",
            "spec.labels['app']",
        ] {
            assert!(
                pod_field(placed, path)
                    .expect_err(path)
                    .contains("unsupported"),
                "{path}"
            );
        }
        for (path, value) in [
            ("metadata.name", "web"),
            ("metadata.namespace", ""),
            ("metadata.labels['app']", "web"),
            ("metadata.annotations['none']", ""),
            ("metadata.labels", "app=\"web\"\ntier/x=\"a\\\"b\"\n"),
            ("spec.nodeName", "box"),
            ("status.podIPs", "10.244.0.2,fd00::2"),
            ("status.hostIP", "10.244.0.2"),
        ] {
            assert_eq!(pod_field(placed, path).as_deref(), Ok(value), "{path}");
        }
    }
}
