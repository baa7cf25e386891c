//! The resources of what is injected, which decide the pod's quality of service.

use serde_json::{Map, Value, json};

use crate::{
    options::{Budget, PodOptions, Quantity},
    pod::{Container, Pod},
};

/// In a Guaranteed pod the sidecar can't use more than it requests, so it requests
/// what it needs under load.
const GUARANTEED_CPU: &str = "100m";
const GUARANTEED_MEMORY: &str = "64Mi";

/// Where limits are the rule but requests may be lower, there is room for bursts.
const LIMITED_CPU: &str = "500m";
const LIMITED_MEMORY: &str = "128Mi";

/// The `resources` of both injected containers.
///
/// A pod is Guaranteed if each of its containers has limits for CPU and memory
/// and requests no less than them
/// (<https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>), so in such a
/// pod ours do so too. (An init container of the same size costs the pod nothing
/// extra: it has ended before the application begins.)
///
/// Where each of the pod's containers has a limit, ours have one: a ResourceQuota for
/// limits may be the reason, by which the API server refuses pods with a container
/// that has none (<https://kubernetes.io/docs/concepts/policy/resource-quotas/>).
///
/// What the pod as a whole has an amount of, its containers share: there ours ask
/// for nothing of their own. Their requests could exceed the pod's, which the API
/// server would refuse, and its class depends on the pod's amounts alone
/// (<https://kubernetes.io/docs/concepts/workloads/pods/pod-level-resources/>).
pub(super) fn of(pod: &Pod<'_>, chosen: &PodOptions) -> Value {
    let shared = ["cpu", "memory"].map(|name| (name, is_shared(pod, name)));
    let any_shared = shared.iter().any(|(_, shared)| *shared);
    let guaranteed = !any_shared && pod.all_containers().all(is_guaranteed);
    let mut requests = Map::new();
    let mut limits = Map::new();
    for (name, budget, needed, most) in [
        ("cpu", &chosen.cpu, GUARANTEED_CPU, LIMITED_CPU),
        ("memory", &chosen.memory, GUARANTEED_MEMORY, LIMITED_MEMORY),
    ] {
        if shared.contains(&(name, true)) {
            continue;
        }
        let (request, limit) = if guaranteed {
            let limit = limit_of(budget, needed);
            (limit.clone(), Some(limit))
        } else if pod
            .all_containers()
            .all(|container| is_limited(container, name))
        {
            let request = budget.request().clone();
            (request, Some(limit_of(budget, most)))
        } else {
            (budget.request().clone(), budget.limit().cloned())
        };
        requests.insert(name.to_owned(), json!(request.to_string()));
        if let Some(limit) = limit {
            limits.insert(name.to_owned(), json!(limit.to_string()));
        }
    }
    let mut resources = Map::new();
    for (kind, amounts) in [("requests", requests), ("limits", limits)] {
        if !amounts.is_empty() {
            resources.insert(kind.to_owned(), Value::Object(amounts));
        }
    }
    Value::Object(resources)
}

/// Whether the pod as a whole has an amount of it.
fn is_shared(pod: &Pod<'_>, name: &str) -> bool {
    let amount = |kind: &str| pod.spec("resources")?.get(kind)?.get(name);
    ["requests", "limits"]
        .into_iter()
        .filter_map(amount)
        .any(|amount| !amount.is_null())
}

/// The limit that was chosen; else this one, or the request if that is higher.
fn limit_of(budget: &Budget, otherwise: &str) -> Quantity {
    budget.limit().cloned().unwrap_or_else(|| {
        let otherwise = otherwise.parse().expect("the constants are quantities");
        budget.request().clone().max(otherwise)
    })
}

fn is_limited(container: Container<'_>, name: &str) -> bool {
    let limit = || container.get("resources")?.get("limits")?.get(name);
    limit().is_some_and(|limit| !limit.is_null())
}

fn is_guaranteed(container: Container<'_>) -> bool {
    let amount = |kind: &str, name: &str| {
        // Manifests may have bare numbers, which the API server turns into text.
        let text = match container.get("resources")?.get(kind)?.get(name)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        text.parse::<Quantity>().ok()
    };
    ["cpu", "memory"].into_iter().all(|name| {
        let limit = amount("limits", name);
        // What has a limit and no request gets the limit as its request.
        let request = amount("requests", name).or_else(|| limit.clone());
        limit.is_some_and(|limit| !limit.is_zero() && request == Some(limit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{options::Namespace, warnings::Warnings};

    /// The resources for a pod of one container with these.
    fn resources(application: Value, annotations: Value) -> Value {
        let raw = json!({
            "metadata": {"annotations": annotations},
            "spec": {"containers": [{"name": "app", "resources": application}]},
        });
        let pod = Pod::read(&raw).expect("it is a pod");
        let namespace = Namespace::named("shop");
        let chosen = PodOptions::choose(
            &crate::test_options(),
            &pod,
            namespace,
            &mut Warnings::default(),
        );
        of(&pod, &chosen)
    }

    #[test]
    fn a_pod_that_is_not_guaranteed_gets_requests_alone() {
        for application in [
            json!({}),
            json!({"requests": {"cpu": "1", "memory": "1Gi"}}),
            json!({"limits": {"cpu": null}}),
        ] {
            let expected = json!({"requests": {"cpu": "10m", "memory": "16Mi"}});
            assert_eq!(resources(application, json!({})), expected);
        }
    }

    #[test]
    fn where_all_containers_are_limited_ours_are_too() {
        let requests = json!({"cpu": "10m", "memory": "16Mi"});
        for (application, limits) in [
            (json!({"limits": {"cpu": "1"}}), json!({"cpu": "500m"})),
            (
                json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}),
                json!({"cpu": "500m", "memory": "128Mi"}),
            ),
        ] {
            let expected = json!({"requests": requests, "limits": limits});
            assert_eq!(resources(application, json!({})), expected);
        }
    }

    #[test]
    fn a_guaranteed_pod_stays_guaranteed() {
        let amounts = json!({"cpu": "100m", "memory": "64Mi"});
        for application in [
            json!({"limits": {"cpu": "1", "memory": "1Gi"}}),
            json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}),
        ] {
            let expected = json!({"limits": amounts, "requests": amounts});
            assert_eq!(resources(application, json!({})), expected);
        }
    }

    #[test]
    fn what_a_pod_has_as_a_whole_is_shared() {
        let of_pod = |amounts: Value| {
            let raw = json!({"spec": {
                "resources": amounts,
                "containers": [{"name": "app", "resources": {"limits": {"cpu": 1, "memory": 1024}}}],
            }});
            let pod = Pod::read(&raw).expect("it is a pod");
            of(&pod, &crate::test_options().pod_defaults)
        };
        let both = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(of_pod(json!({"limits": both, "requests": both})), json!({}));
        assert_eq!(
            of_pod(json!({"limits": {"cpu": "1"}})),
            json!({"requests": {"memory": "16Mi"}, "limits": {"memory": "128Mi"}})
        );
        let guaranteed = json!({"cpu": "100m", "memory": "64Mi"});
        assert_eq!(
            of_pod(json!({"limits": {"cpu": null, "hugepages-2Mi": "2Mi"}})),
            json!({"limits": guaranteed, "requests": guaranteed})
        );
    }

    #[test]
    fn annotations_size_the_sidecar_of_a_guaranteed_pod() {
        let application = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        let annotations = json!({
            "netting.dev/proxy-cpu-request": "2",
            "netting.dev/proxy-memory-limit": "32Mi",
        });
        let amounts = json!({"cpu": "2", "memory": "32Mi"});
        let expected = json!({"limits": amounts, "requests": amounts});
        assert_eq!(resources(application, annotations), expected);
    }
}
