//! The downward API: a pod's fields and a container's resources as text.
//!
//! See <https://kubernetes.io/docs/concepts/workloads/pods/downward-api/>.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
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
    let spec = pod.spec.as_ref();
    let first = |addrs: &[IpAddr]| addrs.first().map(ToString::to_string).unwrap_or_default();
    let all = |addrs: &[IpAddr]| {
        addrs
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(",")
    };
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.labels" => pod.labels(),
            "metadata.annotations" => pod.annotations(),
            _ => return Err(format!("unsupported field path {path:?}")),
        };
        return Ok(map.get(key).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => pod.name_any(),
        "metadata.namespace" => pod.namespace().unwrap_or_default(),
        "metadata.uid" => pod.uid().unwrap_or_default(),
        "metadata.labels" => lines(pod.labels()),
        "metadata.annotations" => lines(pod.annotations()),
        "spec.nodeName" => spec
            .and_then(|spec| spec.node_name.clone())
            .unwrap_or_default(),
        "spec.serviceAccountName" => spec
            .and_then(|spec| spec.service_account_name.clone())
            .unwrap_or_default(),
        "status.podIP" => first(addrs),
        "status.podIPs" => all(addrs),
        "status.hostIP" => first(node_addrs),
        "status.hostIPs" => all(node_addrs),
        _ => return Err(format!("unsupported field path {path:?}")),
    })
}

/// `metadata.labels['app']` names a map and a key in it.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, key) = path.strip_suffix("']")?.split_once("['")?;
    Some((map, key))
}

/// Values are quoted as Go does it, which for what labels may contain is as Rust does it.
fn lines(map: &BTreeMap<String, String>) -> String {
    map.iter()
        .map(|(key, value)| format!("{key}={value:?}\n"))
        .collect()
}

/// The value of a `resourceFieldRef`, in units of its divisor and rounded up. A limit that isn't
/// set is what the node has.
///
/// # Errors
/// When the resource or a quantity isn't one.
pub(crate) fn container_resource(
    container: &Container,
    field: &ResourceFieldSelector,
) -> Result<String, String> {
    let resources = container.resources.as_ref();
    let of = |map: Option<&BTreeMap<String, Quantity>>, name: &str| {
        map.and_then(|map| map.get(name))
            .map(|quantity| millis(&quantity.0))
            .transpose()
    };
    let Some((kind, name)) = field.resource.split_once('.') else {
        return Err(format!(
            "unsupported container resource {:?}",
            field.resource
        ));
    };
    let limit = of(
        resources.and_then(|resources| resources.limits.as_ref()),
        name,
    )?;
    let request = of(
        resources.and_then(|resources| resources.requests.as_ref()),
        name,
    )?;
    let value = match kind {
        "limits" => limit.unwrap_or_else(|| node_capacity(name)),
        "requests" => request.or(limit).unwrap_or(0),
        _ => {
            return Err(format!(
                "unsupported container resource {:?}",
                field.resource
            ));
        }
    };
    let divisor = field
        .divisor
        .as_ref()
        .map(|divisor| millis(&divisor.0))
        .transpose()?;
    let divisor = divisor.filter(|divisor| *divisor > 0).unwrap_or(1000);
    Ok(((value + divisor - 1) / divisor).to_string())
}

/// In thousandths, like [`millis`]; zero for what a node here doesn't count.
fn node_capacity(resource: &str) -> i128 {
    match resource {
        "cpu" => i128::from(cpus()) * 1000,
        "memory" => i128::from(memory_bytes()) * 1000,
        _ => 0,
    }
}

/// The processors the agent may use.
pub(crate) fn cpus() -> u32 {
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The machine's memory; zero if /proc doesn't tell.
pub(crate) fn memory_bytes() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = info
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// A quantity such as `100m`, `2` or `64Mi`, in thousandths, rounded up.
///
/// See <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>.
pub(crate) fn millis(quantity: &str) -> Result<i128, String> {
    let wrong = || format!("{quantity:?} is no quantity");
    let digits = quantity.find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-'));
    let (number, suffix) = quantity.split_at(digits.unwrap_or(quantity.len()));
    let scale: i128 = match suffix {
        "m" => 1,
        "" => 1000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        _ => return Err(wrong()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: i128 = whole.parse().map_err(|_| wrong())?;
    let mut value = whole * scale;
    if !fraction.is_empty() {
        let places = u32::try_from(fraction.len())
            .ok()
            .filter(|places| *places <= 9);
        let unit = 10_i128.pow(places.ok_or_else(wrong)?);
        let fraction: i128 = fraction.parse().map_err(|_| wrong())?;
        value += (fraction * scale + unit - 1) / unit;
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u-1",
                "labels": {"app": "web", "tier/x": "a\"b"}, "annotations": {"note": "hello"}},
            "spec": {"nodeName": "box", "serviceAccountName": "clerk", "containers": []}
        }))
        .expect("a pod")
    }

    fn field(path: &str) -> Result<String, String> {
        let addrs = ["10.244.0.2", "fd00::2"].map(|addr| addr.parse().expect("an address"));
        let node_addrs = ["10.0.0.1".parse().expect("an address")];
        pod_field(
            Placed {
                pod: &pod(),
                addrs: &addrs,
                node_addrs: &node_addrs,
            },
            path,
        )
    }

    #[test]
    fn refuses_fields_that_are_not_in_the_downward_api() {
        for path in [
            "",
            "spec.containers",
            "metadata.finalizers",
            "spec.labels['app']",
        ] {
            assert!(
                field(path).expect_err(path).contains("unsupported"),
                "{path}"
            );
        }
    }

    #[test]
    fn gives_every_field_of_the_downward_api() {
        for (path, value) in [
            ("metadata.name", "web"),
            ("metadata.namespace", "shop"),
            ("metadata.uid", "u-1"),
            ("metadata.labels['app']", "web"),
            ("metadata.labels['none']", ""),
            ("metadata.annotations['note']", "hello"),
            ("metadata.labels", "app=\"web\"\ntier/x=\"a\\\"b\"\n"),
            ("spec.nodeName", "box"),
            ("spec.serviceAccountName", "clerk"),
            ("status.podIP", "10.244.0.2"),
            ("status.podIPs", "10.244.0.2,fd00::2"),
            ("status.hostIP", "10.0.0.1"),
            ("status.hostIPs", "10.0.0.1"),
        ] {
            assert_eq!(field(path).as_deref(), Ok(value), "{path}");
        }
    }

    #[test]
    fn quantities_are_read_exactly_or_not_at_all() {
        for wrong in ["", "m", "1x", "1.2.3", "--1", "1.0000000001"] {
            assert!(millis(wrong).is_err(), "{wrong}");
        }
        for (text, value) in [
            ("100m", 100),
            ("2", 2000),
            ("0.5", 500),
            ("64Mi", 67_108_864_000),
            ("1.5k", 1_500_000),
        ] {
            assert_eq!(millis(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn resources_are_rounded_up_to_their_divisor() {
        let container: Container = serde_json::from_value(json!({
            "name": "c", "resources": {"limits": {"cpu": "1500m", "memory": "65Mi"},
                                       "requests": {"memory": "1Mi"}}
        }))
        .expect("a container");
        for (resource, divisor, value) in [
            ("limits.cpu", None, "2"),
            ("limits.cpu", Some("1m"), "1500"),
            ("limits.memory", Some("1Mi"), "65"),
            ("requests.memory", None, "1048576"),
            ("requests.cpu", None, "2"),
        ] {
            let field = ResourceFieldSelector {
                resource: resource.to_owned(),
                divisor: divisor.map(|divisor| Quantity(divisor.to_owned())),
                ..ResourceFieldSelector::default()
            };
            assert_eq!(
                container_resource(&container, &field).as_deref(),
                Ok(value),
                "{resource}"
            );
        }
    }
}
