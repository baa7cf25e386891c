//! Pods and LimitRanges in, amounts and warnings out; refusals first.

use super::*;
use crate::options::Bound;

/// What becomes of ours in a pod of this spec, with these annotations and bounds.
fn sized(
    annotations: &Value,
    spec: &Value,
    bounds: &Bounds,
) -> (Result<Value, SkipReason>, Vec<String>) {
    let raw = json!({"metadata": {"annotations": annotations}, "spec": spec});
    let pod = Pod::read(&raw).expect("it is a pod");
    let namespace = Namespace {
        bounds: Some(bounds),
        ..Namespace::named("shop")
    };
    let options = crate::test_options();
    let mut warnings = Warnings::default();
    let chosen = PodOptions::choose(&options, &pod, namespace, &mut warnings);
    let resources = of(&pod, namespace, &chosen, &mut warnings);
    (resources, warnings.into_lines())
}

fn in_bounds(spec: &Value, bounds: &Bounds) -> Result<Value, &'static str> {
    let (resources, _) = sized(&json!({}), spec, bounds);
    resources.map_err(|reason| {
        assert_eq!(reason.as_str(), "limit_range");
        match reason {
            SkipReason::LimitRange { resource } => resource,
            other => panic!("{other:?}"),
        }
    })
}

/// The resources for a pod of one container with these.
fn resources(application: Value, annotations: Value) -> Value {
    let spec = json!({"containers": [{"name": "app", "resources": application}]});
    let (resources, _) = sized(&annotations, &spec, &Bounds::default());
    resources.expect("there are no bounds")
}

fn quantity(text: &str) -> Option<Quantity> {
    (!text.is_empty()).then(|| text.parse().expect("it is a quantity"))
}

/// Bounds of all of a pod's containers together.
fn of_pods(cpu_max: &str, memory_max: &str) -> Bounds {
    let pod = |max| BoundsOf {
        pod: Bound {
            max: quantity(max),
            ..Bound::default()
        },
        ..BoundsOf::default()
    };
    Bounds {
        cpu: pod(cpu_max),
        memory: pod(memory_max),
        ..Bounds::default()
    }
}

fn limited(cpu: &str, memory: &str) -> Value {
    let amounts = json!({"cpu": cpu, "memory": memory});
    json!({"requests": amounts, "limits": amounts})
}

#[test]
fn a_pod_that_has_no_room_for_a_sidecar_is_left_alone() {
    let spec = |own: Value| json!({"containers": [{"name": "app", "resources": own}]});
    for (own, bounds, lacks) in [
        (limited("1", "1Gi"), of_pods("1", "2Gi"), "cpu"),
        (limited("1", "1020Mi"), of_pods("2", "1Gi"), "memory"),
        (limited("2", "1Gi"), of_pods("1", "2Gi"), "cpu"),
    ] {
        assert_eq!(in_bounds(&spec(own), &bounds), Err(lacks));
    }
    let tiny = |max: &str| Bounds {
        memory: BoundsOf {
            container: Bound {
                max: quantity(max),
                ..Bound::default()
            },
            ..BoundsOf::default()
        },
        ..Bounds::default()
    };
    assert_eq!(in_bounds(&spec(json!({})), &tiny("4Mi")), Err("memory"));
    let least = json!({"requests": {"cpu": "10m", "memory": "8Mi"}, "limits": {"memory": "8Mi"}});
    assert_eq!(in_bounds(&spec(json!({})), &tiny("8Mi")), Ok(least));
}

#[test]
fn a_sidecar_is_made_to_fit_beside_all_containers_that_run_when_it_does() {
    let container = |cpu: &str| json!({"name": "c", "resources": limited(cpu, "100Mi")});
    let sidecar = |cpu: &str| {
        let mut container = container(cpu);
        container["restartPolicy"] = json!("Always");
        container
    };
    let cpu = |annotations: Value, spec: Value| {
        let (resources, _) = sized(&annotations, &spec, &of_pods("1", "1Gi"));
        let resources = resources.expect("there is room");
        assert_eq!(resources["requests"], resources["limits"], "{spec:#}");
        resources["limits"]["cpu"].clone()
    };
    let native = || json!({});
    let classic = || json!({"netting.dev/sidecar-mode": "classic"});
    for (annotations, init, regular, expected) in [
        (native(), vec![], vec![container("500m")], "100m"),
        (
            native(),
            vec![],
            vec![container("500m"), container("450m")],
            "50m",
        ),
        (
            native(),
            vec![container("960m")],
            vec![container("500m")],
            "40m",
        ),
        (
            classic(),
            vec![container("960m")],
            vec![container("500m")],
            "100m",
        ),
        (
            native(),
            vec![sidecar("470m")],
            vec![container("500m")],
            "30m",
        ),
        (
            classic(),
            vec![sidecar("470m")],
            vec![container("500m")],
            "30m",
        ),
        (
            native(),
            vec![sidecar("480m"), container("500m")],
            vec![container("10m")],
            "20m",
        ),
        (
            native(),
            vec![container("500m"), sidecar("480m")],
            vec![container("10m")],
            "100m",
        ),
    ] {
        let spec = json!({"initContainers": init, "containers": regular});
        assert_eq!(cpu(annotations, spec), expected);
    }
}

#[test]
fn a_pods_request_counts_where_a_sidecar_has_no_limit() {
    let own = json!({"requests": {"cpu": "1995m", "memory": "1Gi"}, "limits": {"cpu": "2"}});
    let second = json!({"name": "other"});
    let spec = json!({"containers": [{"name": "app", "resources": own}, second]});
    let resources = in_bounds(&spec, &of_pods("2", ""));
    let expected = json!({"requests": {"cpu": "5m", "memory": "16Mi"}});
    assert_eq!(resources, Ok(expected));
}

#[test]
fn whoever_chose_more_than_a_pod_may_have_is_told() {
    let own = limited("900m", "512Mi");
    let spec = json!({"containers": [{"name": "app", "resources": own}]});
    let chosen = json!({"netting.dev/proxy-cpu-request": "200m"});
    let (resources, warnings) = sized(&chosen, &spec, &of_pods("1", "1Gi"));
    let resources = resources.expect("there is room");
    assert_eq!(resources["limits"]["cpu"], "100m");
    let said =
        "netting: a LimitRange moves the sidecar's cpu to a request of 100m and a limit of 100m";
    assert_eq!(warnings, [said]);
}

#[test]
fn what_limit_ranger_would_write_into_a_shared_pod_is_written_so_that_it_fits() {
    let bounds = |container: Bound| Bounds {
        cpu: BoundsOf {
            container,
            ..BoundsOf::default()
        },
        ..Bounds::default()
    };
    let default = bounds(Bound {
        limit_otherwise: quantity("2"),
        request_otherwise: quantity("1"),
        ..Bound::default()
    });
    let spec = |whole: Value| {
        let own = limited("100m", "64Mi");
        json!({"resources": whole, "containers": [{"name": "app", "resources": own}]})
    };
    let whole = json!({"requests": {"cpu": "200m"}, "limits": {"cpu": "300m"}});
    let shared = in_bounds(&spec(whole.clone()), &default).expect("it fits");
    assert_eq!(shared["requests"]["cpu"], "0");
    assert_eq!(shared["limits"]["cpu"], "300m");
    let no_less = |min: &str| {
        bounds(Bound {
            min: quantity(min),
            ..Bound::default()
        })
    };
    let shared = in_bounds(&spec(whole.clone()), &no_less("100m")).expect("it fits");
    assert_eq!(shared["requests"]["cpu"], "100m");
    assert_eq!(
        in_bounds(&spec(whole.clone()), &no_less("101m")),
        Err("cpu")
    );
    assert_eq!(in_bounds(&spec(whole), &no_less("400m")), Err("cpu"));
}

#[test]
fn no_limit_is_invented_that_no_sidecar_lives_on() {
    let application = json!({"limits": {"cpu": "1", "memory": "1Mi"}, "requests": {"cpu": "1m"}});
    let nothing = json!({"netting.dev/proxy-memory-request": "0"});
    let amounts = resources(application, nothing);
    assert_eq!(amounts["limits"]["memory"], "8Mi");
    let guaranteed = limited("1", "1Gi");
    let little = json!({"netting.dev/proxy-memory-request": "1Mi"});
    let amounts = resources(guaranteed.clone(), little);
    assert_eq!(amounts["limits"]["memory"], "8Mi");
    assert_eq!(amounts["requests"], amounts["limits"]);
    let nothing = json!({"netting.dev/proxy-cpu-request": "0"});
    let amounts = resources(guaranteed, nothing);
    assert_eq!(
        amounts["limits"]["cpu"], "100m",
        "or it were not Guaranteed"
    );
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
        let resources = of(&pod, namespace, &options.pod_defaults, &mut warnings);
        resources.expect("there are no bounds")
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
    let container = |container: Bound| BoundsOf {
        container,
        ..BoundsOf::default()
    };
    let bounds = Bounds {
        cpu: container(Bound {
            max: quantity("200m"),
            ratio_max: quantity("10"),
            ..Bound::default()
        }),
        memory: container(Bound {
            min: quantity("32Mi"),
            ..Bound::default()
        }),
        ..Bounds::default()
    };
    let sized = |annotations: Value| {
        let spec = json!({"containers": [{"name": "app"}]});
        let (resources, warnings) = sized(&annotations, &spec, &bounds);
        (resources.expect("there is room"), warnings)
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
        ["netting: a LimitRange moves the sidecar's cpu to a request of 200m and a limit of 200m"]
    );
    let (_, warnings) = sized(json!({"netting.dev/proxy-cpu-request": "50m"}));
    assert!(warnings.is_empty(), "it is within the bounds: {warnings:?}");
}

#[test]
fn where_limit_and_request_have_a_ratio_there_are_both() {
    let ratio = || BoundsOf {
        container: Bound {
            ratio_max: quantity("4"),
            ..Bound::default()
        },
        ..BoundsOf::default()
    };
    let spec = json!({"containers": [{"name": "app"}]});
    let only_storage = Bounds {
        ephemeral_storage: ratio(),
        ..Bounds::default()
    };
    let expected = json!({
        "requests": {"cpu": "10m", "memory": "16Mi", "ephemeral-storage": "67108864"},
        "limits": {"ephemeral-storage": "256Mi"},
    });
    assert_eq!(in_bounds(&spec, &only_storage), Ok(expected));
    let all = Bounds {
        cpu: ratio(),
        memory: ratio(),
        ephemeral_storage: ratio(),
    };
    let expected = json!({
        "requests": {"cpu": "125m", "memory": "33554432", "ephemeral-storage": "67108864"},
        "limits": {"cpu": "500m", "memory": "128Mi", "ephemeral-storage": "256Mi"},
    });
    assert_eq!(in_bounds(&spec, &all), Ok(expected));
}
