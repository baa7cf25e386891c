//! Asks which rights are missing, of those that installing needs, and those that
//! looking does.

use crate::{
    check::facts::Right,
    cluster::Cluster,
    installation::permissions::{self, Action},
    manifests::{self, Settings},
};

/// Verb, group and resource of what this command asks for, to say how the mesh is.
const ASKED: [(&str, &str, &str); 6] = [
    ("list", "", "pods"),
    ("list", "", "namespaces"),
    ("list", "apps", "deployments"),
    ("get", "", "pods/portforward"),
    // Of a GET that becomes a WebSocket newer API servers ask for this one.
    ("create", "", "pods/portforward"),
    ("list", "events.k8s.io", "events"),
];

/// Those of the rights that whoever asks lacks.
///
/// # Errors
/// If it can't be asked.
pub(super) async fn missing(cluster: &Cluster) -> anyhow::Result<Vec<Right>> {
    let objects = manifests::render(&Settings::default(), &cluster.system_namespace, None)?;
    let installing = permissions::needed(&["get", "create", "patch"], &objects);
    let asked = ASKED.iter();
    let looking = asked.map(|(verb, group, resource)| Action::of(verb, group, resource, None));
    let right = |purpose| {
        move |action: Action| Right {
            action: action.to_string(),
            purpose,
        }
    };
    let refused = permissions::refused(cluster, &installing).await?;
    let mut missing: Vec<Right> = refused.into_iter().map(right("installing")).collect();
    let refused = permissions::refused(cluster, &looking.collect()).await?;
    missing.extend(refused.into_iter().map(right("looking at pods")));
    Ok(missing)
}
