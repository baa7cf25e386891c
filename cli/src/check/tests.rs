//! Findings, from facts as a cluster gives them.

mod installed;
mod meshed;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k8s_openapi::apimachinery::pkg::version::Info;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    Code, Facts, Finding, Report, Unknown,
    facts::{Mesh, Right},
};
use crate::{cluster::Version, exit::Exit};

/// When all of this is.
const NOW: &str = "2026-03-01T12:00:00Z";
const IMAGE: &str = "ghcr.io/netting-dev/netting:0.1.0";

fn now() -> SystemTime {
    // NOW, in Unix time.
    UNIX_EPOCH + Duration::from_secs(1_772_366_400)
}

fn parse<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object of Kubernetes")
}

/// The API server's version.
fn version(minor: &str) -> Version {
    Version::read(&Info {
        major: "1".to_owned(),
        minor: minor.to_owned(),
        git_version: format!("v1.{minor}.1"),
        ..Info::default()
    })
}

/// A cluster that could have a mesh.
fn cluster() -> Facts {
    let node = json!({"metadata": {"name": "node-1"}, "status": {"nodeInfo": {
        "operatingSystem": "linux", "architecture": "amd64", "kernelVersion": "6.1.0-18-amd64",
        "bootID": "", "containerRuntimeVersion": "", "kubeProxyVersion": "", "kubeletVersion": "v1.33.1",
        "machineID": "", "osImage": "", "systemUUID": ""}}});
    Facts {
        now: now(),
        own_version: "0.1.0",
        system_namespace: "netting".to_owned(),
        version: version("33"),
        admission: Ok(true),
        missing_rights: Ok(Vec::new()),
        nodes: Ok(vec![parse(node)]),
        mesh: None,
        namespaces: Ok(Vec::new()),
        limit_ranges: Ok(Vec::new()),
        pods: Ok(Vec::new()),
        sidecars: [].into(),
    }
}

/// The findings of a kind.
fn found(facts: &Facts, code: Code) -> Vec<Finding> {
    let findings = Report::of(facts).findings;
    findings
        .into_iter()
        .filter(|one| one.code == code)
        .collect()
}

/// The only finding of a kind.
fn only(facts: &Facts, code: Code) -> Finding {
    let mut found = found(facts, code);
    assert_eq!(found.len(), 1, "{code}: {:#?}", Report::of(facts).findings);
    found.remove(0)
}

#[test]
fn a_cluster_that_can_have_a_mesh_is_well() {
    let report = Report::of(&cluster());
    assert!(report.well, "{report:#?}");
    assert_eq!(report.exit(), Exit::Fine);
    assert!(
        report.findings.iter().all(|one| one.advice.is_empty()),
        "{report:#?}"
    );
}

#[test]
fn an_api_server_from_2020_is_too_old_and_says_what_is_missing() {
    let mut facts = cluster();
    facts.version = version("19");
    let found = only(&facts, Code::VersionTooOld);
    assert!(found.message.contains("EndpointSlices"), "{found:?}");
    assert!(found.advice.contains("1.22"), "{found:?}");
    assert_eq!(Report::of(&facts).exit(), Exit::NotWell);
    for (minor, code) in [
        ("27", Code::VersionOld),
        ("28+", Code::VersionOld),
        ("29", Code::VersionGood),
    ] {
        facts.version = version(minor);
        only(&facts, code);
        assert!(Report::of(&facts).well, "{minor}");
    }
}

#[test]
fn a_version_that_cannot_be_read_counts_as_old_and_says_so() {
    let mut facts = cluster();
    facts.version = Version::read(&Info::default());
    let found = only(&facts, Code::VersionOld);
    assert!(found.message.contains("classic ones"), "{found:?}");
    assert!(found.advice.contains("sidecar-mode=native"), "{found:?}");
    assert!(Report::of(&facts).well);
}

#[test]
fn without_admission_webhooks_there_is_no_mesh() {
    let mut facts = cluster();
    facts.admission = Ok(false);
    assert!(
        only(&facts, Code::AdmissionMissing)
            .advice
            .contains("MutatingAdmissionWebhook")
    );
    assert_eq!(Report::of(&facts).exit(), Exit::NotWell);
}

#[test]
fn what_could_not_be_asked_is_neither_well_nor_a_failure() {
    let mut facts = cluster();
    facts.nodes = Err(Unknown::new("list Nodes", "no way"));
    let found = only(&facts, Code::ClusterUnknown);
    assert_eq!(found.message, "could not list Nodes: no way");
    assert_eq!(Report::of(&facts).exit(), Exit::CannotAsk);
    // Of the two, a failure is what one has to know.
    facts.admission = Ok(false);
    assert_eq!(Report::of(&facts).exit(), Exit::NotWell);
}

#[test]
fn what_the_api_server_refuses_is_not_waited_for() {
    let mut facts = cluster();
    assert_eq!(Report::of(&facts).may_pass(), 0);
    let unknown = Unknown::new("list Nodes", "no way");
    facts.nodes = Err(Unknown {
        refused: true,
        ..unknown.clone()
    });
    let report = Report::of(&facts);
    assert_eq!((report.well, report.may_pass()), (false, 0));
    facts.nodes = Err(unknown);
    assert_eq!(Report::of(&facts).may_pass(), 1);
    facts.admission = Ok(false);
    assert_eq!(Report::of(&facts).may_pass(), 2);
}

#[test]
fn a_missing_right_is_named_with_what_needs_it() {
    let mut facts = cluster();
    facts.missing_rights = Ok(vec![Right {
        action: "patch clusterroles.rbac.authorization.k8s.io".to_owned(),
        purpose: "installing",
    }]);
    let found = only(&facts, Code::RightMissing);
    assert_eq!(
        found.message,
        "you may not patch clusterroles.rbac.authorization.k8s.io"
    );
    assert!(found.advice.starts_with("installing needs it"), "{found:?}");
    assert!(Report::of(&facts).well);
}

#[test]
fn nodes_that_cannot_run_sidecars_are_named() {
    for (field, value, says) in [
        ("operatingSystem", "windows", "Windows"),
        ("architecture", "s390x", "s390x"),
        ("kernelVersion", "3.10.0-1160.el7.x86_64", "3.10"),
    ] {
        let mut facts = cluster();
        let mut node = serde_json::to_value(&facts.nodes.expect("it has one")[0]).expect("JSON");
        node["status"]["nodeInfo"][field] = json!(value);
        facts.nodes = Ok(vec![parse(node)]);
        let found = only(&facts, Code::NodeUnfit);
        assert!(
            found.message.contains(says) && found.subject == "node/node-1",
            "{found:?}"
        );
    }
}

#[test]
fn a_namespace_whose_pod_security_refuses_sidecars_is_told_how_to_allow_them() {
    let namespace = |inject: &str, level: &str| {
        parse(json!({"metadata": {"name": "shop", "labels": {
            "netting.dev/inject": inject, "pod-security.kubernetes.io/enforce": level}}}))
    };
    let mut facts = cluster();
    for level in ["baseline", "restricted"] {
        facts.namespaces = Ok(vec![namespace("enabled", level)]);
        let found = only(&facts, Code::PodSecurityRefuses);
        assert!(found.advice.contains("enforce=privileged"), "{found:?}");
    }
    facts.namespaces = Ok(vec![
        namespace("enabled", "privileged"),
        namespace("disabled", "restricted"),
    ]);
    assert!(Report::of(&facts).well);
}

#[test]
fn labels_and_annotations_that_were_mixed_up_are_told_apart() {
    let mut facts = cluster();
    facts.namespaces = Ok(vec![parse(json!({"metadata": {"name": "shop",
        "annotations": {"netting.dev/inject": "enabled"},
        "labels": {"netting.dev/inject": "yes", "netting.dev/log-level": "debug"}}}))]);
    let found = only(&facts, Code::AnnotationNotLabel);
    assert_eq!(
        found.advice,
        "kubectl label namespace/shop netting.dev/inject=enabled"
    );
    assert!(only(&facts, Code::ValueIgnored).message.contains("\"yes\""));
    assert!(
        only(&facts, Code::LabelNotAnnotation)
            .message
            .contains("netting.dev/log-level")
    );
}
