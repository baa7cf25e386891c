//! The application's volumes that telemetry is sent through.

use std::path::Path;

use serde_json::{Value, json};

use crate::{names, options::PodOptions, pod::Pod, warnings::Warnings};

/// Mounts for the directories of the exporters' unix sockets, where the application has
/// them. A socket whose place in the sidecar is taken already is told of, as is one that
/// no container mounts.
pub(super) fn mounts(pod: &Pod<'_>, chosen: &PodOptions, warnings: &mut Warnings) -> Vec<Value> {
    let mut mounts: Vec<Value> = Vec::new();
    for socket in chosen.telemetry.sockets() {
        let mount = pod.mount_of(socket).map(copied);
        let Some(mount) = mount.filter(|mount| !at(mount).starts_with(names::TOKEN_DIR)) else {
            warnings.unmounted(&socket.to_string_lossy());
            continue;
        };
        // The API server refuses a second mount at one path.
        match mounts.iter().find(|other| at(other) == at(&mount)) {
            None => mounts.push(mount),
            Some(same) if *same == mount => {}
            Some(_) => warnings.unmounted(&socket.to_string_lossy()),
        }
    }
    mounts
}

/// What is mounted where. The rest is the application's: mounts are propagated from
/// privileged containers only.
fn copied(mount: &Value) -> Value {
    const FIELDS: [&str; 4] = ["name", "mountPath", "subPath", "readOnly"];
    let mut copy = json!({});
    for (field, value) in FIELDS.map(|field| (field, &mount[field])) {
        if !value.is_null() {
            copy[field] = value.clone();
        }
    }
    copy
}

fn at(mount: &Value) -> &Path {
    Path::new(mount["mountPath"].as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sidecar's mounts for these sockets, and how many warnings there are.
    fn mounted(mounts: &Value, sockets: &[&str]) -> (Value, usize) {
        let raw = json!({"spec": {"containers": [{"name": "app", "volumeMounts": mounts}]}});
        let pod = Pod::read(&raw).expect("it is a pod");
        let mut chosen = crate::test_options().pod_defaults;
        let exporters: Vec<_> = sockets
            .iter()
            .map(|socket| format!("statsd=unix://{socket}"))
            .collect();
        let exporters = exporters.join(",").parse();
        chosen.telemetry = exporters.expect("they are exporters");
        let mut warnings = Warnings::default();
        let mounts = super::mounts(&pod, &chosen, &mut warnings);
        (json!(mounts), warnings.into_lines().len())
    }

    #[test]
    fn what_only_a_privileged_container_may_say_is_not_repeated() {
        let mounts = json!([{"name": "a", "mountPath": "/run/a", "subPath": "x", "readOnly": true,
            "mountPropagation": "Bidirectional", "recursiveReadOnly": "Disabled"}]);
        let expected =
            json!([{"name": "a", "mountPath": "/run/a", "subPath": "x", "readOnly": true}]);
        assert_eq!(mounted(&mounts, &["/run/a/s"]), (expected, 0));
    }

    #[test]
    fn a_directory_is_mounted_once_however_many_sockets_are_in_it() {
        let mounts = json!([
            {"name": "a", "mountPath": "/run/a"},
            {"name": "b", "mountPath": "/run/b"},
        ]);
        let sockets = ["/run/a/1", "/run/b/1", "/run/a/2"];
        assert_eq!(mounted(&mounts, &sockets), (mounts.clone(), 0));
    }

    #[test]
    fn a_mount_in_the_place_of_the_token_is_told_of() {
        for path in [names::TOKEN_DIR, "/var/run/secrets/netting/agent/"] {
            let mounts = json!([{"name": "a", "mountPath": path}]);
            let socket = format!("{}/agent/socket", names::TOKEN_DIR);
            assert_eq!(mounted(&mounts, &[&socket]), (json!([]), 1), "{path}");
        }
    }
}
