//! The resources of what is injected, which decide the pod's quality of service.

use serde_json::{Map, Value, json};

use crate::{
    options::{Bound, Budget, Namespace, PodOptions, Quantity},
    pod::{Container, Pod},
    warnings::Warnings,
};

/// In a Guaranteed pod the sidecar can't use more than it requests, so it requests
/// what it needs under load.
const GUARANTEED_CPU: &str = "100m";
const GUARANTEED_MEMORY: &str = "64Mi";

/// Where limits are the rule but requests may be lower, there is room for bursts.
const LIMITED_CPU: &str = "500m";
const LIMITED_MEMORY: &str = "128Mi";

const CONSTANTS: &str = "the constants are quantities";

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
///
/// Ours are moved to where the namespace's LimitRanges allow them
/// (<https://kubernetes.io/docs/concepts/policy/limit-range/>), whatever the pod's note
/// says that LimitRanger has filled in: it comes along with an exported pod.
pub(super) fn of(
    pod: &Pod<'_>,
    namespace: Namespace<'_>,
    chosen: &PodOptions,
    warnings: &mut Warnings,
) -> Value {
    let shared = ["cpu", "memory"].map(|name| (name, is_shared(pod, name)));
    let any_shared = shared.iter().any(|(_, shared)| *shared);
    let guaranteed = !any_shared && pod.all_containers().all(is_guaranteed);
    let mut requests = Map::new();
    let mut limits = Map::new();
    for (name, budget, needed, most) in [
        ("cpu", &chosen.cpu, GUARANTEED_CPU, LIMITED_CPU),
        ("memory", &chosen.memory, GUARANTEED_MEMORY, LIMITED_MEMORY),
    ] {
        let is_chosen = budget.is_chosen();
        if shared.contains(&(name, true)) {
            if is_chosen {
                warnings.push(format!(
                    "netting: the pod has {name} as a whole, which its sidecar shares; \
                     netting.dev/proxy-{name}-… ignored"
                ));
            }
            continue;
        }
        let (request, limit) = if guaranteed {
            let limit = match budget.limit() {
                None if is_chosen => budget.request().clone(),
                _ => limit_of(budget, needed.parse().expect(CONSTANTS)),
            };
            (limit.clone(), Some(limit))
        } else if let Some(largest) = largest_limit(pod, name) {
            let most = largest.min(most.parse().expect(CONSTANTS));
            (budget.request().clone(), Some(limit_of(budget, most)))
        } else {
            (budget.request().clone(), budget.limit().cloned())
        };
        let bound = namespace.bounds.and_then(|bounds| bounds.of(name));
        let (request, limit) = match bound {
            Some(bound) => {
                let told = is_chosen.then_some(&mut *warnings);
                fitted(name, bound, (request, limit), most, told)
            }
            None => (request, limit),
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

type Amounts = (Quantity, Option<Quantity>);

/// The amounts as LimitRanges allow them; whoever chose others is told.
fn fitted(
    name: &str,
    bound: &Bound,
    (request, limit): Amounts,
    most: &str,
    told: Option<&mut Warnings>,
) -> Amounts {
    let most = most.parse().expect(CONSTANTS);
    let fitted = bound.fit(request.clone(), limit.clone(), most);
    let is_moved = fitted.0 != request || (limit.is_some() && fitted.1 != limit);
    if let (true, Some(warnings)) = (is_moved, told) {
        let limit = fitted
            .1
            .as_ref()
            .map_or("none".to_owned(), ToString::to_string);
        warnings.push(format!(
            "netting: a LimitRange moves the sidecar's {name} to a request of {} and a limit of \
             {limit}",
            fitted.0
        ));
    }
    fitted
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
fn limit_of(budget: &Budget, otherwise: Quantity) -> Quantity {
    let chosen = budget.limit().cloned();
    chosen.unwrap_or_else(|| budget.request().clone().max(otherwise))
}

/// The largest of the limits, if every container has one. A LimitRange allows that
/// much at least.
fn largest_limit(pod: &Pod<'_>, name: &str) -> Option<Quantity> {
    let limit = |container| amount(container, "limits", name);
    let limits: Option<Vec<_>> = pod.all_containers().map(limit).collect();
    limits?.into_iter().max()
}

fn amount(container: Container<'_>, kind: &str, name: &str) -> Option<Quantity> {
    // Manifests may have bare numbers, which the API server turns into text.
    let text = match container.get("resources")?.get(kind)?.get(name)? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    text.parse().ok()
}

fn is_guaranteed(container: Container<'_>) -> bool {
    ["cpu", "memory"].into_iter().all(|name| {
        let limit = amount(container, "limits", name);
        // What has a limit and no request gets the limit as its request.
        let request = amount(container, "requests", name).or_else(|| limit.clone());
        limit.is_some_and(|limit| !limit.is_zero() && request == Some(limit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Bounds;

    /// The resources for a pod of one container with these.
    fn resources(application: Value, annotations: Value) -> Value {
        let raw = json!({
            "metadata": {"annotations": annotations},
            "spec": {"containers": [{"name": "app", "resources": application}]},
        });
        let pod = Pod::read(&raw).expect("it is a pod");
        let namespace = Namespace::named("shop");
        let options = crate::test_options();
        let mut warnings = Warnings::default();
        let chosen = PodOptions::choose(&options, &pod, namespace, &mut warnings);
        of(&pod, namespace, &chosen, &mut warnings)
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
                "containers": [{"name": "app", "resources": {"limits": {"cpu": 1, "memory": "1Gi"}}}],
            }});
            let pod = Pod::read(&raw).expect("it is a pod");
            let options = crate::test_options();
            let mut warnings = Warnings::default();
            let namespace = Namespace::named("shop");
            of(&pod, namespace, &options.pod_defaults, &mut warnings)
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
    fn an_invented_limit_is_no_more_than_the_applications() {
        let application =
            json!({"limits": {"cpu": "200m", "memory": "1Mi"}, "requests": {"cpu": "1m"}});
        let expected = json!({
            "requests": {"cpu": "10m", "memory": "16Mi"},
            "limits": {"cpu": "200m", "memory": "16Mi"},
        });
        assert_eq!(resources(application, json!({})), expected);
    }

    #[test]
    fn a_note_of_limit_ranger_changes_nothing() {
        let note = "LimitRanger plugin set: cpu, memory request for container app";
        let annotations = json!({"kubernetes.io/limit-ranger": note});
        let expected = json!({"requests": {"cpu": "10m", "memory": "16Mi"}});
        assert_eq!(resources(json!({}), annotations), expected);
    }

    #[test]
    fn what_is_chosen_as_it_is_anyway_is_chosen() {
        let application = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        let annotations = json!({"netting.dev/proxy-cpu-request": "10m"});
        let amounts = json!({"cpu": "10m", "memory": "64Mi"});
        let expected = json!({"limits": amounts, "requests": amounts});
        assert_eq!(resources(application, annotations), expected);
    }

    #[test]
    fn annotations_size_the_sidecar_of_a_guaranteed_pod() {
        let application = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        let annotations = json!({
            "netting.dev/proxy-cpu-request": "2",
            "netting.dev/proxy-memory-limit": "32Mi",
        });
        // What is chosen is taken as it is, also where it is less than usual.
        let little = json!({"netting.dev/proxy-cpu-request": "50m"});
        let amounts = json!({"cpu": "50m", "memory": "64Mi"});
        let expected = json!({"limits": amounts, "requests": amounts});
        assert_eq!(resources(application.clone(), little), expected);
        let amounts = json!({"cpu": "2", "memory": "32Mi"});
        let expected = json!({"limits": amounts, "requests": amounts});
        assert_eq!(resources(application, annotations), expected);
    }

    #[test]
    fn a_limit_range_is_kept_to_and_whoever_chose_otherwise_is_told() {
        let quantity = |text: &str| text.parse().ok();
        let bounds = Bounds {
            cpu: Bound {
                max: quantity("200m"),
                ratio_max: quantity("10"),
                ..Bound::default()
            },
            memory: Bound {
                min: quantity("32Mi"),
                ..Bound::default()
            },
        };
        let namespace = Namespace {
            bounds: Some(&bounds),
            ..Namespace::named("shop")
        };
        let sized = |annotations: Value| {
            let raw = json!({
                "metadata": {"annotations": annotations},
                "spec": {"containers": [{"name": "app"}]},
            });
            let pod = Pod::read(&raw).expect("it is a pod");
            let options = crate::test_options();
            let mut warnings = Warnings::default();
            let chosen = PodOptions::choose(&options, &pod, namespace, &mut warnings);
            let resources = of(&pod, namespace, &chosen, &mut warnings);
            (resources, warnings.into_lines())
        };
        let expected = json!({
            "requests": {"cpu": "20m", "memory": "32Mi"},
            "limits": {"cpu": "200m"},
        });
        assert_eq!(sized(json!({})), (expected, vec![]));
        let (resources, warnings) = sized(json!({"netting.dev/proxy-cpu-request": "1"}));
        assert_eq!(resources["requests"]["cpu"], "200m");
        assert_eq!(
            warnings,
            [
                "netting: a LimitRange moves the sidecar's cpu to a request of 200m and a limit of 200m"
            ]
        );
        let (_, warnings) = sized(json!({"netting.dev/proxy-cpu-request": "50m"}));
        assert!(warnings.is_empty(), "it is within the bounds: {warnings:?}");
    }
}
