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

/// The `resources` of both injected containers.
///
/// A pod is Guaranteed if each of its containers has limits for CPU and memory
/// and requests no less than them
/// (<https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>), so in such a
/// pod ours do so too. (An init container of the same size costs the pod nothing
/// extra: it has ended before the application begins.)
pub(super) fn of(pod: &Pod<'_>, chosen: &PodOptions) -> Value {
    let guaranteed = pod.all_containers().all(is_guaranteed);
    let mut requests = Map::new();
    let mut limits = Map::new();
    for (name, budget, needed) in [
        ("cpu", &chosen.cpu, GUARANTEED_CPU),
        ("memory", &chosen.memory, GUARANTEED_MEMORY),
    ] {
        let (request, limit) = if guaranteed {
            let limit = guaranteed_limit(budget, needed);
            (limit.clone(), Some(limit))
        } else {
            (budget.request().clone(), budget.limit().cloned())
        };
        requests.insert(name.to_owned(), json!(request.to_string()));
        if let Some(limit) = limit {
            limits.insert(name.to_owned(), json!(limit.to_string()));
        }
    }
    if limits.is_empty() {
        json!({ "requests": requests })
    } else {
        json!({ "requests": requests, "limits": limits })
    }
}

fn guaranteed_limit(budget: &Budget, needed: &str) -> Quantity {
    budget.limit().cloned().unwrap_or_else(|| {
        let needed = needed.parse().expect("the constants are quantities");
        budget.request().clone().max(needed)
    })
}

fn is_guaranteed(container: Container<'_>) -> bool {
    let amount = |kind: &str, name: &str| {
        let text = container.get("resources")?.get(kind)?.get(name)?.as_str()?;
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
            json!({"limits": {"cpu": "1"}}),
            json!({"limits": {"cpu": "1", "memory": "0"}}),
            json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}),
        ] {
            let expected = json!({"requests": {"cpu": "10m", "memory": "16Mi"}});
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
