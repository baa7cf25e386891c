//! Pods that are in the mesh, or should be.

use super::{installed::mesh, *};

fn namespace(labels: Value) -> Value {
    json!({"metadata": {"name": "shop", "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z"}})
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"namespace": "shop", "name": name, "creationTimestamp": "2026-02-20T00:00:00Z"},
        "spec": {"containers": [{"name": "app", "image": "app:1"}]},
        "status": {"phase": "Running"}})
}

fn injected(name: &str, image: &str, ready: bool) -> Value {
    let mut pod = pod(name);
    let status = r#"{"version":"0.1.0","mode":"native","initContainers":["netting-init","netting-sidecar"]}"#;
    pod["metadata"]["labels"] = json!({"netting.dev/injected": "true"});
    pod["metadata"]["annotations"] = json!({"netting.dev/status": status});
    let containers =
        ["netting-init", "netting-sidecar"].map(|name| json!({"name": name, "image": image}));
    pod["spec"]["initContainers"] = json!(containers);
    pod["status"]["initContainerStatuses"] = json!([{"name": "netting-sidecar", "image": image, "imageID": "",
        "ready": ready, "restartCount": 2, "state": {"running": {}}}]);
    pod
}

/// A meshed namespace with these pods.
fn with(pods: Vec<Value>) -> Facts {
    with_namespace(namespace(json!({"netting.dev/inject": "enabled"})), pods)
}

fn with_namespace(namespace: Value, pods: Vec<Value>) -> Facts {
    Facts {
        mesh: Some(mesh()),
        namespaces: Ok(vec![parse(namespace)]),
        pods: Ok(pods.into_iter().map(parse).collect()),
        ..cluster()
    }
}

#[test]
fn pods_with_sidecars_as_they_should_be_are_counted() {
    let facts = with(vec![injected("a", IMAGE, true), injected("b", IMAGE, true)]);
    assert!(Report::of(&facts).well, "{:#?}", Report::of(&facts));
    assert!(only(&facts, Code::SidecarsGood).message.starts_with('2'));
}

#[test]
fn a_pod_that_was_admitted_while_the_webhook_was_away_is_a_failure() {
    let facts = with(vec![pod("web")]);
    let found = only(&facts, Code::SidecarMissing);
    assert_eq!(found.subject, "shop/pod/web");
    assert!(found.message.contains("webhook was away"), "{found:?}");
    assert_eq!(Report::of(&facts).exit(), Exit::NotWell);
}

#[test]
fn pods_of_one_workload_are_told_of_once_with_the_command_that_mends_them() {
    let replica = |name: &str| {
        let mut pod = pod(name);
        pod["metadata"]["labels"] = json!({"pod-template-hash": "5d"});
        pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d", "uid": "", "controller": true}]);
        pod
    };
    let facts = with(
        ["web-5d-a", "web-5d-b", "web-5d-c", "web-5d-d"]
            .map(replica)
            .into(),
    );
    let found = only(&facts, Code::SidecarMissing);
    assert_eq!(found.subject, "shop/deployment/web");
    assert!(
        found
            .message
            .ends_with("(4 pods: web-5d-a, web-5d-b, web-5d-c, …)"),
        "{found:?}"
    );
    assert!(
        found
            .advice
            .contains("kubectl -n shop rollout restart deployment/web"),
        "{found:?}"
    );
}

#[test]
fn a_pod_older_than_its_namespaces_label_or_the_installation_has_no_sidecar_yet() {
    let mut labelled = namespace(json!({"netting.dev/inject": "enabled"}));
    labelled["metadata"]["managedFields"] = json!([{"manager": "kubectl-label", "operation": "Update",
        "time": "2026-02-25T00:00:00Z",
        "fieldsV1": {"f:metadata": {"f:labels": {"f:netting.dev/inject": {}}}}}]);
    let facts = with_namespace(labelled, vec![pod("web")]);
    assert!(
        only(&facts, Code::SidecarNotYet)
            .message
            .contains("namespace's label")
    );
    assert!(Report::of(&facts).well);

    let mut old = pod("web");
    old["metadata"]["creationTimestamp"] = json!("2026-01-20T00:00:00Z");
    let facts = with(vec![old]);
    assert!(
        only(&facts, Code::SidecarNotYet)
            .message
            .contains("installation")
    );
}

#[test]
fn pods_that_can_have_no_sidecar_are_told_with_the_reason_and_those_that_want_none_without_ado() {
    let mut host = pod("host");
    host["spec"]["hostNetwork"] = json!(true);
    let mut other = pod("other");
    other["spec"]["containers"][0]["name"] = json!("istio-proxy");
    let mut out = pod("out");
    out["metadata"]["annotations"] = json!({"netting.dev/inject": "disabled"});
    let facts = with(vec![host, other, out]);
    let refused = found(&facts, Code::SidecarRefused);
    let all = format!("{refused:?}");
    assert!(
        refused.len() == 2 && all.contains("host_network") && all.contains("Istio"),
        "{all}"
    );
    assert!(
        only(&facts, Code::OptedOut)
            .message
            .contains("opted_out_by_annotation")
    );
    assert!(Report::of(&facts).well);
}

/// A pod on a node, with what came of its `netting-init`.
fn tried(name: &str, node: &str, state: Value, last_state: Value) -> Value {
    let mut pod = injected(name, IMAGE, true);
    pod["spec"]["nodeName"] = json!(node);
    pod["status"]["initContainerStatuses"] = json!([{"name": "netting-init", "image": IMAGE, "imageID": "",
        "ready": false, "restartCount": 3, "state": state, "lastState": last_state}]);
    pod
}

#[test]
fn what_netting_init_found_is_told_of_each_node() {
    let none = only(&cluster(), Code::RulesUntried);
    assert!(none.message.contains("first pod"), "{none:?}");

    let well = json!({"terminated": {"exitCode": 0}});
    let message = "{\"level\":\"ERROR\"}\nnetting-iptables-init: no nf_tables here\n";
    let failed = json!({"terminated": {"exitCode": 1, "message": message}});
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let facts = with(vec![
        tried("a", "node-1", well.clone(), Value::Null),
        tried("b", "node-1", failed.clone(), Value::Null),
        tried("c", "node-2", waiting, failed),
        tried("d", "node-3", well, Value::Null),
        tried("e", "node-4", json!({"running": {}}), Value::Null),
    ]);
    let good = only(&facts, Code::RulesGood).message;
    assert!(good.ends_with("on 2 nodes"), "{good}");
    let refused = only(&facts, Code::RulesRefused);
    assert_eq!(refused.subject, "node/node-2");
    let says = "in pod shop/c: netting-iptables-init: no nf_tables here";
    assert!(refused.message.ends_with(says), "{refused:?}");
    let unready = format!("{:?}", found(&facts, Code::SidecarNotReady));
    for says in [
        "ended with exit code 1: netting-iptables-init: no nf_tables here",
        "CrashLoopBackOff (3 restarts): netting-iptables-init: no nf_tables here",
    ] {
        assert!(unready.contains(says), "{says}: {unready}");
    }
}

#[test]
fn pods_that_ended_or_are_of_no_concern_are_passed_over() {
    let mut ended = pod("ended");
    ended["status"]["phase"] = json!("Succeeded");
    let mut ending = pod("ending");
    ending["metadata"]["deletionTimestamp"] = json!(NOW);
    let facts = with(vec![ended, ending]);
    assert!(Report::of(&facts).well, "{:#?}", Report::of(&facts));
    let facts = with_namespace(namespace(json!({})), vec![pod("stranger")]);
    assert!(found(&facts, Code::SidecarMissing).is_empty());
}

#[test]
fn an_annotation_that_asks_and_a_label_that_configures_are_mistakes() {
    let mut mixed = pod("mixed");
    mixed["metadata"]["annotations"] = json!({"netting.dev/inject": "enabled"});
    mixed["metadata"]["labels"] = json!({"netting.dev/skip-outbound-ports": "3306"});
    let facts = with_namespace(namespace(json!({})), vec![mixed]);
    assert!(
        only(&facts, Code::AnnotationNotLabel)
            .advice
            .contains("netting.dev/inject=enabled")
    );
    assert!(
        only(&facts, Code::LabelNotAnnotation)
            .message
            .contains("skip-outbound-ports")
    );
}

#[test]
fn what_an_injected_pods_author_was_warned_about_is_still_told() {
    let mut pod = injected("web", IMAGE, true);
    pod["metadata"]["annotations"]["netting.dev/skip-outbound-ports"] = json!("99999");
    pod["metadata"]["annotations"]["netting.dev/speling"] = json!("x");
    let facts = with(vec![pod]);
    let told = format!("{:?}", found(&facts, Code::ValueIgnored));
    assert!(
        told.contains("99999") && told.contains("netting.dev/speling"),
        "{told}"
    );
}

#[test]
fn sidecars_that_are_old_not_ready_silent_or_cut_off_are_told() {
    let old = injected("old", "ghcr.io/netting-dev/netting:0.0.9", true);
    let unready = injected("unready", IMAGE, false);
    let mut facts = with(vec![
        old,
        unready,
        injected("silent", IMAGE, true),
        injected("cut-off", IMAGE, true),
    ]);
    let cut_off =
        parse(json!({"catalog": {"address": "netting-catalog:15010", "connected": false}}));
    facts.sidecars.insert(
        "shop/silent".to_owned(),
        Err("no answer within 10s".to_owned()),
    );
    facts
        .sidecars
        .insert("shop/cut-off".to_owned(), Ok(cut_off));
    for (code, pod, says) in [
        (Code::SidecarVersionDiffers, "old", "0.0.9"),
        (Code::SidecarNotReady, "unready", "2 restarts"),
        (Code::SidecarSilent, "silent", "no answer"),
        (
            Code::SidecarWithoutCatalog,
            "cut-off",
            "netting-catalog:15010",
        ),
    ] {
        let found = only(&facts, code);
        assert_eq!(found.subject, format!("shop/pod/{pod}"));
        assert!(found.message.contains(says), "{found:?}");
    }
}

#[test]
fn a_catalog_that_misses_a_pod_that_is_older_than_its_last_news_is_stale() {
    let mut young = injected("young", IMAGE, true);
    young["metadata"]["creationTimestamp"] = json!("2026-03-01T11:50:00Z");
    let mut facts = with(vec![young]);
    assert!(found(&facts, Code::CatalogStale).is_empty());
    let mesh = facts.mesh.as_mut().expect("it has one");
    let heard = 1_772_362_800;
    let metrics = format!(
        "netting_catalog_watch_last_event_timestamp_seconds{{resource=\"pods\"}} {heard}\n"
    );
    mesh.metrics
        .insert("netting-catalog-1".to_owned(), Ok(metrics));
    assert!(only(&facts, Code::CatalogStale).message.contains("50m"));
}
