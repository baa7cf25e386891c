//! What made a pod, so that its telemetry is named after that.

use netting_telemetry::resource::{self, TEMPLATE_HASH};
use serde_json::Value;

use crate::pod::{Named, Pod};

/// What people would say that a pod belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Workload<'p> {
    /// Such as `Deployment`.
    pub(crate) kind: &'p str,
    /// Its name.
    pub(crate) name: &'p str,
}

impl<'p> Workload<'p> {
    /// The pod's controller, or the Deployment or CronJob behind that.
    pub(crate) fn of(pod: &Pod<'p>) -> Option<Self> {
        let Named { kind, name } = controller(pod).or_else(|| pod.template_of())?;
        let (kind, name) = resource::workload(kind, name, pod.label(TEMPLATE_HASH));
        Some(Self { kind, name })
    }
}

fn controller<'p>(pod: &Pod<'p>) -> Option<Named<'p>> {
    let owners = pod.raw()["metadata"]["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    let text = |field: &str| owner.get(field).and_then(Value::as_str);
    Some(Named {
        kind: text("kind")?,
        name: text("name")?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn assert_made_by(metadata: Value, expected: Option<(&str, &str)>) {
        let pod = json!({"metadata": metadata, "spec": {"containers": [{"name": "app"}]}});
        let pod = Pod::read(&pod).expect("it is a pod");
        let workload = Workload::of(&pod).map(|workload| (workload.kind, workload.name));
        assert_eq!(workload, expected);
    }

    fn owned_by(kind: &str, name: &str) -> Value {
        json!([{"kind": "Lease", "name": "x"}, {"controller": true, "kind": kind, "name": name}])
    }

    #[test]
    fn a_pod_without_a_controller_belongs_to_nothing() {
        assert_made_by(json!({}), None);
        assert_made_by(json!({"ownerReferences": {}}), None);
        assert_made_by(
            json!({"ownerReferences": [{"kind": "Node", "name": "n1"}]}),
            None,
        );
        assert_made_by(
            json!({"ownerReferences": [{"controller": true, "kind": 1}]}),
            None,
        );
    }

    #[test]
    fn a_replica_set_is_its_deployments() {
        let owners = owned_by("ReplicaSet", "web-5d8f");
        let labelled = json!({"ownerReferences": owners, "labels": {"pod-template-hash": "5d8f"}});
        assert_made_by(labelled, Some(("Deployment", "web")));
        assert_made_by(
            json!({"ownerReferences": owners}),
            Some(("ReplicaSet", "web-5d8f")),
        );
    }
}
