//! One pod for each reason, refusals first.

use serde_json::json;

use super::*;
use crate::options::{Bounds, PodSecurity, Standard};

/// A pod of one container, with changes merged into it (RFC 7386).
fn decide_about(changes: Value) -> Verdict {
    let mut pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "app"}]}});
    json_patch::merge(&mut pod, &changes);
    decide(&pod, &Namespace::named("shop"), &crate::test_options())
}

/// Node affinity with these lists of expressions, one for each term.
fn required_nodes(terms: Value) -> Value {
    let terms = terms.as_array().expect("terms are a list").iter();
    let terms: Vec<_> = terms.map(|all| json!({"matchExpressions": all})).collect();
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    json!({"spec": {"affinity": {"nodeAffinity": {required: {"nodeSelectorTerms": terms}}}}})
}

fn os(operator: &str, values: &[&str]) -> Value {
    json!({"key": "kubernetes.io/os", "operator": operator, "values": values})
}

fn skipped(changes: Value) -> &'static str {
    match decide_about(changes).decision {
        Decision::Skip(reason) => reason.as_str(),
        Decision::Inject(_) => "nothing",
    }
}

#[test]
fn each_obstacle_has_its_own_name() {
    let container = |fields: Value| json!({"spec": {"containers": [fields]}});
    for (changes, reason) in [
        (json!({"spec": {"containers": null}}), "not_a_pod"),
        (json!({"spec": {"hostNetwork": true}}), "host_network"),
        (json!({"spec": {"os": {"name": "windows"}}}), "windows"),
        (
            json!({"spec": {"securityContext": {"windowsOptions": {"hostProcess": false}}}}),
            "windows",
        ),
        (
            json!({"spec": {"nodeSelector": {"kubernetes.io/os": "windows"}}}),
            "windows",
        ),
        (
            json!({"spec": {"nodeSelector": {"beta.kubernetes.io/os": "windows"}}}),
            "windows",
        ),
        (
            json!({"spec": {"securityContext": {"runAsUser": 4150}}}),
            "uid_taken",
        ),
        (
            container(json!({"name": "app", "securityContext": {"runAsUser": 4150}})),
            "uid_taken",
        ),
        (
            container(json!({"name": "app", "ports": [{"containerPort": 15006}]})),
            "port_taken",
        ),
        (container(json!({"name": "netting-sidecar"})), "name_taken"),
        (
            json!({"spec": {"initContainers": [{"name": "netting-init"}]}}),
            "name_taken",
        ),
        (
            json!({"spec": {"volumes": [{"name": "netting-token", "emptyDir": {}}]}}),
            "name_taken",
        ),
        (required_nodes(json!([[os("In", &["windows"])]])), "windows"),
        (
            json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "hash"}}}),
            "mirror_pod",
        ),
    ] {
        assert_eq!(skipped(changes.clone()), reason, "{changes}");
    }
    for (container, mesh) in [
        ("istio-proxy", "Istio"),
        ("linkerd-proxy", "Linkerd"),
        ("consul-dataplane", "Consul"),
        ("consul-dataplane-web-admin", "Consul"),
        ("kuma-sidecar", "Kuma"),
    ] {
        let as_container = json!({"spec": {"containers": [{"name": "app"}, {"name": container}]}});
        let as_native = json!({"spec": {"initContainers": [{"name": container}]}});
        for pod in [as_container, as_native] {
            let decision = decide_about(pod).decision;
            assert_eq!(decision, Decision::Skip(SkipReason::OtherMesh { mesh }));
        }
    }
}

#[test]
fn all_obstacles_are_told_of_at_once_and_the_first_is_the_reason() {
    let verdict = decide_about(json!({"spec": {
        "hostNetwork": true,
        "containers": [
            {"name": "netting-init", "ports": [{"containerPort": 15020}, {"containerPort": 15001}]},
            {"name": "app", "securityContext": {"runAsUser": 4150}},
        ],
    }}));
    assert_eq!(verdict.decision, Decision::Skip(SkipReason::HostNetwork));
    assert_eq!(
        verdict.warnings,
        [
            "netting: pod not injected: it uses the host's network",
            "netting: pod not injected: a container of its own is named netting-init; rename it",
            "netting: pod not injected: a container runs as uid 4150, which is the sidecar's; choose another",
            "netting: pod not injected: a container declares port 15001, which is the sidecar's; choose another",
            "netting: pod not injected: a container declares port 15020, which is the sidecar's; choose another",
        ]
    );
}

#[test]
fn a_pod_that_does_not_ask_the_clusters_dns_gets_the_catalogs_address() {
    let catalog = |policy: &str, options: &Options| {
        let mut pod = json!({"spec": {"containers": [{"name": "app"}], "dnsPolicy": policy}});
        let verdict = decide(&pod, &Namespace::named("shop"), options);
        let Decision::Inject(patch) = verdict.decision else {
            panic!("nothing keeps this pod from being injected");
        };
        json_patch::patch(&mut pod, &patch).expect("the patch fits");
        let env = pod["spec"]["initContainers"][1]["env"].as_array().cloned();
        let mut env = env.unwrap_or_default().into_iter();
        let found = env.find(|variable| variable["name"] == "NETTING_CATALOG");
        let found = found.expect("the sidecar is told where the catalog is");
        (found["value"].as_str().map(str::to_owned), verdict.warnings)
    };
    let by_name = Some("netting-catalog.netting.svc:15010".to_owned());
    let mut options = crate::test_options();
    for policy in ["ClusterFirst", "ClusterFirstWithHostNet"] {
        assert_eq!(catalog(policy, &options), (by_name.clone(), vec![]));
    }
    let (value, warnings) = catalog("None", &options);
    assert_eq!(value, by_name);
    assert_eq!(
        warnings,
        [
            "netting: dnsPolicy None may hide the catalog from the sidecar; meanwhile connections pass through"
        ]
    );
    options.catalog_address = "[fd00::5]:15010".parse().ok();
    assert_eq!(catalog("ClusterFirst", &options), (by_name, vec![]));
    for policy in ["Default", "None"] {
        let by_address = Some("[fd00::5]:15010".to_owned());
        assert_eq!(catalog(policy, &options), (by_address, vec![]));
    }
}

#[test]
fn whose_own_sidecars_start_before_a_classic_one_is_told() {
    let agent = json!({"name": "agent", "restartPolicy": "Always"});
    let inits = json!([{"name": "migrate"}, agent]);
    let warned = |mode: &str| {
        decide_about(json!({
            "metadata": {"annotations": {"netting.dev/sidecar-mode": mode}},
            "spec": {"initContainers": inits},
        }))
        .warnings
    };
    assert!(warned("native").is_empty());
    let line = "netting: container \"agent\": its connections are refused until the classic sidecar is ready";
    assert_eq!(warned("classic"), [line]);
}

#[test]
fn a_pod_that_pod_security_would_refuse_with_netting_init_is_left_alone() {
    let pod = json!({"spec": {"containers": [{"name": "app"}]}});
    let decided = |level: Option<&str>| {
        let namespace = Namespace {
            pod_security: level,
            ..Namespace::named("shop")
        };
        decide(&pod, &namespace, &crate::test_options())
    };
    for level in ["baseline", "restricted"] {
        let verdict = decided(Some(level));
        assert_eq!(
            verdict.decision,
            Decision::Skip(SkipReason::PodSecurity { level })
        );
        let said = format!(
            "netting: pod not injected: its namespace enforces Pod Security {level}, and \
             netting-init needs NET_ADMIN"
        );
        assert_eq!(verdict.warnings, [said]);
    }
    for level in [None, Some("privileged")] {
        assert_eq!(decided(level).decision.as_str(), "inject", "{level:?}");
    }
}

#[test]
fn what_the_api_servers_configuration_says_of_pod_security_counts() {
    let pod = json!({"spec": {"containers": [{"name": "app"}]}});
    let mut options = crate::test_options();
    options.pod_security = PodSecurity {
        pod_security_default: Standard::Baseline,
        pod_security_exempt_namespaces: vec!["legacy".to_owned()],
    };
    for (namespace, reason) in [("shop", "pod_security"), ("legacy", "requested")] {
        let verdict = decide(&pod, &Namespace::named(namespace), &options);
        assert_eq!(verdict.decision.reason(), reason, "{namespace}");
    }
}

#[test]
fn a_pod_that_a_limit_range_would_refuse_with_a_sidecar_is_left_alone() {
    let amounts = json!({"cpu": "1", "memory": "1Gi"});
    let pod = json!({"spec": {"containers": [{"name": "app",
        "resources": {"requests": amounts, "limits": amounts}}]}});
    let mut bounds = Bounds::default();
    bounds.memory.pod.max = "1Gi".parse().ok();
    let namespace = Namespace {
        bounds: Some(&bounds),
        ..Namespace::named("shop")
    };
    let verdict = decide(&pod, &namespace, &crate::test_options());
    assert_eq!(
        verdict.decision,
        Decision::Skip(SkipReason::LimitRange { resource: "memory" })
    );
    assert_eq!(verdict.decision.reason(), "limit_range");
    let said = "netting: pod not injected: a LimitRange of its namespace leaves its sidecar too \
                little memory";
    assert_eq!(verdict.warnings, [said]);
}

#[test]
fn a_pod_whose_annotations_would_become_too_long_is_left_alone() {
    const BYTES_MAX: usize = 256 * 1024;
    let with_note = |bytes: usize| {
        let note = "x".repeat(bytes - "example.com/note".len());
        json!({"metadata": {"annotations": {"example.com/note": note}}})
    };
    let ours = {
        let mut pod = json!({"spec": {"containers": [{"name": "app"}]}});
        let namespace = Namespace::named("shop");
        let Decision::Inject(patch) = decide(&pod, &namespace, &crate::test_options()).decision
        else {
            panic!("nothing keeps this pod from being injected");
        };
        json_patch::patch(&mut pod, &patch).expect("the patch fits");
        let annotations = pod["metadata"]["annotations"].as_object();
        let annotations = annotations.expect("the status is one").iter();
        let bytes = annotations.map(|(key, value)| key.len() + value.as_str().map_or(0, str::len));
        bytes.sum::<usize>()
    };
    assert_eq!(skipped(with_note(BYTES_MAX - ours)), "nothing");
    let verdict = decide_about(with_note(BYTES_MAX - ours + 1));
    assert_eq!(
        verdict.decision,
        Decision::Skip(SkipReason::AnnotationsFull)
    );
    assert_eq!(
        verdict.warnings,
        ["netting: pod not injected: its annotations leave no room for Netting's within 256 KiB"]
    );
}

#[test]
fn a_status_that_is_not_ours_is_brought_back_and_given_up_only_where_there_is_no_room() {
    for (bytes, brought_back) in [(10, true), (100_000, true), (200_000, false)] {
        let status = "\"".repeat(bytes);
        let pod = json!({"metadata": {"annotations": {"netting.dev/status": status}},
            "spec": {"containers": [{"name": "app"}]}});
        let verdict = decide(&pod, &Namespace::named("shop"), &crate::test_options());
        let Decision::Inject(patch) = &verdict.decision else {
            panic!("{bytes}: {}", verdict.decision);
        };
        let mut patched = pod.clone();
        json_patch::patch(&mut patched, patch).expect("the patch fits");
        let restored = crate::restored(&patched).expect("it is injected");
        assert_eq!(restored == pod, brought_back, "{bytes}");
        let said = "netting: the pod's own netting.dev/status is too long to be brought back \
                    by netting uninject";
        let told = verdict.warnings.iter().any(|line| line == said);
        assert_eq!(told, !brought_back, "{bytes}: {:?}", verdict.warnings);
    }
}

#[test]
fn whoever_asks_for_nothing_is_told_apart_from_who_opted_out() {
    let asked = |namespace: &str, label: Value, pod: Value| {
        let mut raw = json!({"spec": {"containers": [{"name": "app"}]}});
        json_patch::merge(&mut raw, &pod);
        let pod = crate::pod::Pod::read(&raw).expect("it is a pod");
        let labels = label
            .as_str()
            .map(|label| ("netting.dev/inject".to_owned(), label.to_owned()));
        match asked_for(&pod, namespace, &labels.into_iter().collect(), "netting") {
            Ok(()) => "asked for",
            Err(reason) => reason.as_str(),
        }
    };
    let label = |value: &str| json!({"metadata": {"labels": {"netting.dev/inject": value}}});
    let mirror = json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "hash"}}});
    for (namespace, by_namespace, pod, said) in [
        ("shop", Value::Null, json!({}), "not_asked_for"),
        ("shop", json!("disabled"), json!({}), "not_asked_for"),
        ("shop", json!("yes"), label("yes"), "not_asked_for"),
        (
            "shop",
            json!("enabled"),
            label("disabled"),
            "opted_out_by_label",
        ),
        ("shop", json!("enabled"), label("yes"), "asked for"),
        ("shop", json!("true"), json!({}), "asked for"),
        ("shop", Value::Null, label("enabled"), "asked for"),
        (
            "netting",
            json!("enabled"),
            label("enabled"),
            "system_namespace",
        ),
        (
            "kube-system",
            Value::Null,
            label("enabled"),
            "system_namespace",
        ),
        ("shop", json!("enabled"), mirror, "mirror_pod"),
    ] {
        assert_eq!(asked(namespace, by_namespace, pod.clone()), said, "{pod}");
    }
}

#[test]
fn a_label_that_is_a_mistake_asks_for_nothing_and_its_author_is_told() {
    for (asks, label, reason, warned) in [
        (Some(false), "yes", "not_asked_for", 1),
        (Some(false), "enabled", "requested", 0),
        (Some(true), "yes", "requested", 1),
        (None, "yes", "requested", 1),
    ] {
        let pod = json!({"metadata": {"labels": {"netting.dev/inject": label}},
            "spec": {"containers": [{"name": "app"}]}});
        let namespace = Namespace {
            asks,
            ..Namespace::named("shop")
        };
        let verdict = decide(&pod, &namespace, &crate::test_options());
        assert_eq!(verdict.decision.reason(), reason, "{asks:?} {label}");
        assert_eq!(verdict.warnings.len(), warned, "{:?}", verdict.warnings);
    }
}

#[test]
fn whoever_is_injected_without_the_namespaces_options_is_told() {
    let namespace = Namespace {
        unanswered: true,
        ..Namespace::named("shop")
    };
    for (spec, reason, warned) in [
        (json!({"hostNetwork": true}), "host_network", false),
        (json!({}), "requested", true),
    ] {
        let mut pod = json!({"spec": {"containers": [{"name": "app"}]}});
        json_patch::merge(&mut pod["spec"], &spec);
        let verdict = decide(&pod, &namespace, &crate::test_options());
        assert_eq!(verdict.decision.reason(), reason);
        let told = |line: &String| line.contains("the namespace's options are not known");
        assert_eq!(verdict.warnings.iter().any(told), warned, "{spec}");
    }
}

#[test]
fn look_alikes_are_no_obstacles() {
    for changes in [
        json!({"spec": {"hostNetwork": false, "hostUsers": false}}),
        json!({"spec": {"os": {"name": "linux"}, "nodeSelector": {"kubernetes.io/os": "linux"}}}),
        json!({"spec": {
            "securityContext": {"runAsUser": 4150},
            "containers": [{"name": "app", "securityContext": {"runAsUser": 1000}}],
        }}),
        json!({"spec": {"containers": [
            {"name": "app", "ports": [{"containerPort": 15001, "protocol": "UDP"}]},
        ]}}),
        json!({"spec": {"containers": [{"name": "my-istio-proxy"}]}}),
        json!({"spec": {"containers": [{"name": "app"}, {"name": "envoy-sidecar"}]}}),
        json!({"spec": {"volumes": [{"name": "netting-token-2", "emptyDir": {}}]}}),
        required_nodes(json!([[os("NotIn", &["windows"])]])),
        required_nodes(json!([[os("In", &["windows", "linux"])]])),
        required_nodes(json!([[os("In", &["windows"])], [os("Exists", &[])]])),
        required_nodes(json!([])),
        json!({"metadata": {"annotations": {"netting.dev/status": "{}"}}}),
    ] {
        assert_eq!(skipped(changes.clone()), "nothing", "{changes}");
    }
}

#[test]
fn system_namespaces_are_left_alone() {
    let pod = json!({"spec": {"containers": [{"name": "app"}]}});
    for namespace in ["kube-system", "netting"] {
        let decision = decide(&pod, &Namespace::named(namespace), &crate::test_options()).decision;
        assert_eq!(decision, Decision::Skip(SkipReason::SystemNamespace));
    }
}

#[test]
fn annotation_and_label_may_each_say_no() {
    let said =
        |place: &str, value: &str| json!({"metadata": {place: {"netting.dev/inject": value}}});
    for value in ["disabled", "false"] {
        assert_eq!(
            skipped(said("annotations", value)),
            "opted_out_by_annotation"
        );
        assert_eq!(skipped(said("labels", value)), "opted_out_by_label");
    }
    for value in ["enabled", "true"] {
        assert_eq!(skipped(said("annotations", value)), "nothing");
        assert_eq!(skipped(said("labels", value)), "nothing");
    }
    let both = json!({"metadata": {
        "annotations": {"netting.dev/inject": "enabled"},
        "labels": {"netting.dev/inject": "disabled"},
    }});
    assert_eq!(skipped(both), "opted_out_by_label");
}

#[test]
fn anything_else_than_yes_or_no_is_warned_about_and_says_nothing() {
    let changes = json!({"metadata": {"annotations": {"netting.dev/inject": "yep"}}});
    let verdict = decide_about(changes);
    assert_eq!(verdict.decision.as_str(), "inject");
    assert_eq!(
        verdict.warnings,
        [r#"netting.dev/inject: "yep" is not enabled or disabled (annotation); ignored"#]
    );
}

#[test]
fn an_injected_pod_is_recognised_by_its_status_and_its_containers_together() {
    for mode in ["native", "classic"] {
        let mut pod = json!({
            "metadata": {"annotations": {"netting.dev/sidecar-mode": mode}},
            "spec": {"containers": [{"name": "app"}]},
        });
        let options = crate::test_options();
        let Decision::Inject(patch) = decide(&pod, &Namespace::named("shop"), &options).decision
        else {
            panic!("nothing keeps this pod from being injected");
        };
        json_patch::patch(&mut pod, &patch).expect("the patch fits");
        let again = decide(&pod, &Namespace::named("shop"), &options).decision;
        assert_eq!(again, Decision::Skip(SkipReason::AlreadyInjected), "{mode}");

        let mut without_status = pod.clone();
        let annotations = without_status["metadata"]["annotations"].as_object_mut();
        annotations
            .expect("the patch has added some")
            .remove("netting.dev/status");
        let decision = decide(&without_status, &Namespace::named("shop"), &options).decision;
        assert_eq!(decision.reason(), "leftovers", "{mode}");

        let mut without_init = pod;
        let init = without_init["spec"]["initContainers"].as_array_mut();
        init.expect("the patch has added one").remove(0);
        let decision = decide(&without_init, &Namespace::named("shop"), &options).decision;
        assert_eq!(decision.reason(), "leftovers", "{mode}");
    }
}

#[test]
fn what_a_copy_has_kept_of_an_injected_pod_is_told_of_in_one_line() {
    let pod = json!({"spec": {"containers": [{"name": "app"}]}});
    let options = crate::test_options();
    let verdict = |pod: &Value| decide(pod, &Namespace::named("shop"), &options);
    let Decision::Inject(patch) = verdict(&pod).decision else {
        panic!("nothing keeps this pod from being injected");
    };
    let mut injected = pod;
    json_patch::patch(&mut injected, &patch).expect("the patch fits");
    // As `kubectl debug --copy-to` makes one, and with `--keep-init-containers=false`.
    let mut copy = json!({"spec": injected["spec"]});
    let said = |kept: &str| {
        format!(
            "netting: pod not injected: it is a copy of an injected pod that has kept {kept}; \
             take them out, or copy all of it with its annotations"
        )
    };
    let all = "netting-init, netting-sidecar, netting-token";
    assert_eq!(verdict(&copy).warnings, [said(all)]);
    for metadata in [json!({}), injected["metadata"].clone()] {
        copy["metadata"] = metadata;
        copy["spec"]["initContainers"] = json!([]);
        assert_eq!(verdict(&copy).warnings, [said("netting-token")]);
    }
    copy["spec"]["containers"][0]["name"] = json!("netting-init");
    let reason = verdict(&copy).decision.reason();
    assert_eq!(reason, "name_taken", "that one is its author's");
}

#[test]
fn a_token_that_only_its_pods_one_uid_may_read_stays_readable() {
    let pod = |security: Value, mode: u32, source: &str| {
        json!({"spec": {
            "securityContext": security,
            "initContainers": [{"name": "first"}],
            "containers": [{"name": "app"}],
            "volumes": [{"name": "t", "projected": {"defaultMode": mode, "sources": [{source: {}}]}}],
        }})
    };
    let user = |uid: i64| json!({"runAsUser": uid});
    for source in [
        "serviceAccountToken",
        "clusterTrustBundle",
        "podCertificate",
    ] {
        let verdict = decide_about(pod(user(1000), 0o400, source));
        let mode = 0o400;
        assert_eq!(
            verdict.decision,
            Decision::Skip(SkipReason::ProjectedMode { mode })
        );
        assert_eq!(
            verdict.warnings,
            [
                "netting: pod not injected: beside a sidecar of another uid its projected token of mode 0400 would be root's alone; set fsGroup"
            ]
        );
    }
    let token = "serviceAccountToken";
    let group = json!({"runAsUser": 1000, "fsGroup": 2000});
    for fine in [
        pod(user(1000), 0o644, token),
        pod(user(1000), 0o400, "configMap"),
        pod(user(0), 0o400, token),
        pod(json!({}), 0o400, token),
        pod(group, 0o400, token),
    ] {
        assert_eq!(skipped(fine.clone()), "nothing", "{fine}");
    }
    let mut two_users = pod(user(1000), 0o400, token);
    two_users["spec"]["containers"][0]["securityContext"] = user(1001);
    assert_eq!(skipped(two_users), "nothing");
}
