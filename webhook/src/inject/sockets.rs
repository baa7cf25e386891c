//! The application's volumes that telemetry is sent through.

use std::path::{Component, Path};

use serde_json::{Value, json};

use crate::{names, options::PodOptions, pod::Pod, warnings::Warnings};

/// Mounts for the directories of the exporters' unix sockets, where the application has
/// them. A socket whose place in the sidecar is taken already is told of, as is one that
/// no container mounts.
pub(super) fn mounts(pod: &Pod<'_>, chosen: &PodOptions, warnings: &mut Warnings) -> Vec<Value> {
    let mut mounts: Vec<Value> = Vec::new();
    for socket in chosen.telemetry.sockets() {
        let mount = pod.mount_of(socket).map(copied);
        let Some(mount) = mount.and_then(|mount| beside_the_token(mount, socket)) else {
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

/// The mount, or only the socket's directory of it, so that the sidecar's token is
/// neither below it nor above: the runtime can't make a directory for the one in a
/// volume that is read-only, and must not in one that isn't the pod's own.
fn beside_the_token(mut mount: Value, socket: &Path) -> Option<Value> {
    let token = Path::new(names::TOKEN_DIR);
    let is_beside = |path: &Path| !path.starts_with(token) && !token.starts_with(path);
    if is_beside(at(&mount)) {
        return Some(mount);
    }
    let directory = socket.parent().filter(|directory| is_beside(directory))?;
    let below = directory.strip_prefix(at(&mount)).ok()?;
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    if !below.components().all(is_plain) {
        return None;
    }
    let outer = mount["subPath"].as_str().unwrap_or_default();
    let sub_path = Path::new(outer).join(below);
    mount["subPath"] = json!(sub_path.to_str()?);
    mount["mountPath"] = json!(directory.to_str()?);
    Some(mount)
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

    #[test]
    fn of_a_mount_around_the_token_only_the_sockets_directory_is_mounted() {
        for (outer, sub_path, expected) in [
            ("/var/run", json!(null), "datadog"),
            ("/var/", json!("a/b"), "a/b/run/datadog"),
            ("/", json!(""), "var/run/datadog"),
        ] {
            let mount = |path: &str, sub_path: Value| json!([{"name": "run", "mountPath": path, "subPath": sub_path, "readOnly": true}]);
            let expected = mount("/var/run/datadog", json!(expected));
            let mounts = mount(outer, sub_path);
            let socket = "/var/run/datadog/dsd.socket";
            assert_eq!(mounted(&mounts, &[socket]), (expected, 0), "{outer}");
        }
        // Whose directory is around it, too, or in it.
        for socket in [
            "/var/run/dsd.socket",
            "/var/run/secrets/dsd.socket",
            "/var/run/secrets/netting/dsd.socket",
            "/var/run/secrets/netting/a/dsd.socket",
        ] {
            let mounts = json!([{"name": "run", "mountPath": "/var/run"}]);
            assert_eq!(mounted(&mounts, &[socket]), (json!([]), 1), "{socket}");
        }
    }
}
