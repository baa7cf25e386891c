//! What people call the things that pods belong to.

use std::fmt;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use netting_telemetry::resource::{self, TEMPLATE_HASH};
use serde::Serialize;

/// A Deployment, StatefulSet, DaemonSet, Job or whatever else makes pods; a pod that
/// nobody made is its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Workload {
    /// Its namespace.
    pub namespace: String,
    /// `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl Workload {
    /// What a pod belongs to.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        let namespace = pod.namespace().unwrap_or_default();
        let owners = pod.owner_references().iter();
        let mut owners = owners.filter(|owner| owner.controller == Some(true));
        let Some(owner) = owners.next() else {
            return Self {
                namespace,
                kind: "Pod".to_owned(),
                name: pod.name_any(),
            };
        };
        let hash = pod.labels().get(TEMPLATE_HASH).map(String::as_str);
        let (kind, name) = resource::workload(&owner.kind, &owner.name, hash);
        Self {
            namespace,
            kind: kind.to_owned(),
            name: name.to_owned(),
        }
    }

    /// What makes its pods anew, so that they are admitted again.
    #[must_use]
    pub fn how_to_restart(&self) -> String {
        let Self {
            namespace,
            kind,
            name,
        } = self;
        match kind.as_str() {
            "Deployment" | "StatefulSet" | "DaemonSet" => {
                let kind = kind.to_lowercase();
                format!("kubectl -n {namespace} rollout restart {kind}/{name}")
            }
            "Pod" => format!("delete pod {namespace}/{name} and create it again"),
            _ => format!("delete the pods of {self}, so that they are made again"),
        }
    }
}

/// What makes the pods of a namespace anew, but for those that nobody makes, or who makes
/// them ends with them.
#[must_use]
pub fn how_to_restart_all(namespace: &str) -> String {
    format!("kubectl -n {namespace} rollout restart deployment,statefulset,daemonset")
}

/// `deployment/web`.
impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.to_lowercase(), self.name)
    }
}

/// Whether all of a pod's containers have ended for good.
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase>
#[must_use]
pub fn has_ended(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(labels: Value, owners: Value) -> String {
        let pod = json!({"metadata": {"namespace": "shop", "name": "web-5d-x", "labels": labels, "ownerReferences": owners}});
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        Workload::of(&pod).to_string()
    }

    fn owner(kind: &str, name: &str) -> Value {
        json!([{"apiVersion": "v1", "kind": kind, "name": name, "uid": "", "controller": true}])
    }

    #[test]
    fn all_that_makes_pods_anew_by_itself_can_be_restarted_at_once() {
        let how = how_to_restart_all("shop");
        for kind in ["Deployment", "StatefulSet", "DaemonSet"] {
            let owner = owner(kind, "web");
            let pod = json!({"metadata": {"namespace": "shop", "ownerReferences": owner}});
            let pod: Pod = serde_json::from_value(pod).expect("a pod");
            let one = Workload::of(&pod).how_to_restart();
            let (begin, one) = one.rsplit_once(' ').expect("a command");
            let (all_begin, all) = how.rsplit_once(' ').expect("a command");
            assert_eq!(begin, all_begin);
            assert!(
                all.split(',').any(|kind| one == format!("{kind}/web")),
                "{all}"
            );
        }
    }

    #[test]
    fn pods_are_named_by_what_people_applied() {
        for (labels, owners, expected) in [
            (json!({}), json!([]), "pod/web-5d-x"),
            (
                json!({"pod-template-hash": "5d"}),
                owner("ReplicaSet", "web-5d"),
                "deployment/web",
            ),
            (
                json!({}),
                owner("ReplicaSet", "web-5d"),
                "replicaset/web-5d",
            ),
            (json!({}), owner("StatefulSet", "db"), "statefulset/db"),
            (json!({}), owner("Rollout", "web"), "rollout/web"),
        ] {
            assert_eq!(of(labels, owners), expected);
        }
    }
}
