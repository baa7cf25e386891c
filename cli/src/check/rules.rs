//! Whether nodes' iptables do what Netting asks of them. Nodes don't tell, but `netting-init`
//! has tried in each pod with a sidecar: it sets its rules, and proves them by connections.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use kube::ResourceExt as _;
use netting_webhook::names::{INIT_CONTAINER, INJECTED};

use super::{Code, Facts, Finding, finding::counted};
use crate::mesh;

/// So much is told of what a container said last.
const WORDS_MAX: usize = 300;

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let pods = facts.pods.as_deref().unwrap_or_default();
    let mut proven = BTreeSet::new();
    let mut failed = BTreeMap::new();
    for pod in pods
        .iter()
        .filter(|pod| pod.labels().contains_key(INJECTED))
    {
        match (node(pod), outcome(pod)) {
            (Some(node), Some(Outcome::Proven)) => {
                proven.insert(node);
            }
            (Some(node), Some(Outcome::Failed(why))) => {
                failed.insert(node, (mesh::name_of(pod), why));
            }
            _ => {}
        }
    }
    // What failed where others did not was not the node's fault.
    failed.retain(|node, _| !proven.contains(node));
    if proven.is_empty() && failed.is_empty() {
        let message = "nodes don't tell of their iptables: netting-init tries them in the first pod that is \
                       injected, and keeps it from starting if its rules don't hold";
        return vec![Code::RulesUntried.told("", message)];
    }
    let mut findings: Vec<Finding> = failed.iter().map(refused).collect();
    if !proven.is_empty() {
        let nodes = counted(proven.len(), "node");
        let message = format!("netting-init has set its rules and proven them on {nodes}");
        findings.push(Code::RulesGood.told("", message));
    }
    findings
}

fn refused((node, (pod, why)): (&&str, &(String, String))) -> Finding {
    Code::RulesRefused.finding(
        format!("node/{node}"),
        format!("netting-init could not set its rules in pod {pod}{why}"),
        "load nf_tables or ip_tables there, or keep meshed pods away from it; what it tried is in its log",
    )
}

fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

enum Outcome {
    Proven,
    /// With what it said, after a colon.
    Failed(String),
}

/// What came of it; nothing as long as it runs for the first time.
fn outcome(pod: &Pod) -> Option<Outcome> {
    let statuses = pod.status.as_ref()?.init_container_statuses.as_ref()?;
    let init = statuses.iter().find(|one| one.name == INIT_CONTAINER)?;
    Some(match endings(init).next()?.exit_code {
        0 => Outcome::Proven,
        _ => Outcome::Failed(last_words(init)),
    })
}

/// How a container ended, if it did: this time, and the time before.
fn endings(container: &ContainerStatus) -> impl Iterator<Item = &ContainerStateTerminated> {
    let states = [container.state.as_ref(), container.last_state.as_ref()];
    states
        .into_iter()
        .flatten()
        .filter_map(|state| state.terminated.as_ref())
}

/// What a container of ours said when it failed: the end of its log, which the kubelet keeps as
/// its message. After a colon, or nothing.
pub(super) fn last_words(container: &ContainerStatus) -> String {
    let message = endings(container).find_map(|ended| ended.message.as_deref());
    let mut lines = message.unwrap_or_default().lines().map(str::trim);
    match lines.rfind(|line| !line.is_empty()) {
        Some(line) => format!(": {}", line.chars().take(WORDS_MAX).collect::<String>()),
        None => String::new(),
    }
}
