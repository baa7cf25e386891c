//! Whether whoever installs may grant the control plane its rights. The API server lets
//! nobody grant what they don't hold (or may `escalate` and `bind`), which no review of
//! access tells, and a dry run does.
//! <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping>

use serde_json::{Value, json};

use super::{
    Installation,
    apply::{self, How},
};
use crate::{
    cluster::{CannotAsk, Cluster},
    manifests,
};

/// Tries to grant them, without a change.
///
/// # Errors
/// [`CannotAsk::Forbidden`] with the API server's reasons, if it refuses.
pub async fn check(
    cluster: &Cluster,
    objects: &[Value],
    found: &Installation,
) -> anyhow::Result<()> {
    let how = How {
        dry_run: true,
        force: true,
    };
    let is_there = found.system_namespace().is_some();
    let mut refusals = Vec::new();
    for object in objects {
        let Some(granting) = granting(object, is_there) else {
            continue;
        };
        let Err(error) = apply::one(cluster, &granting, how).await else {
            continue;
        };
        // Of a binding whose role is not there yet, the role itself has told. What else
        // goes wrong tells so when it is applied.
        if let Some(CannotAsk::Forbidden { message, .. }) = error.downcast_ref() {
            refusals.push(format!("{}: {message}", manifests::title(object)));
        }
    }
    if refusals.is_empty() {
        return Ok(());
    }
    Err(CannotAsk::Forbidden {
        doing: "grant the control plane its rights, so nothing was begun".to_owned(),
        message: refusals.join("; "),
    }
    .into())
}

/// What to try of an object, if it grants something. In a namespace that is not there
/// nothing can be tried: who may grant a Role's rights there, may in the whole cluster.
fn granting(object: &Value, is_there: bool) -> Option<Value> {
    match object["kind"].as_str()? {
        "ClusterRole" | "ClusterRoleBinding" => Some(object.clone()),
        "Role" | "RoleBinding" if is_there => Some(object.clone()),
        "Role" => Some(json!({
            "apiVersion": object["apiVersion"],
            "kind": "ClusterRole",
            "metadata": {"name": "netting-trial"},
            "rules": object["rules"],
        })),
        _ => None,
    }
}
