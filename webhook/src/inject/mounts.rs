//! The application's volumes that telemetry is sent through, and that the access log is
//! written to.

use std::path::{Component, Path};

use serde_json::{Value, json};

use crate::{names, options::PodOptions, pod::Pod, warnings::Warnings};

/// Volumes that nothing can be written to, however they are mounted.
const READ_ONLY: [&str; 5] = ["configMap", "downwardAPI", "image", "projected", "secret"];

/// Mounts for the directories of the access log's file and of the exporters' unix sockets,
/// where the application has them. What no container mounts is told of, as is what would
/// be in a place of the sidecar that is taken already.
pub(super) fn mounts(pod: &Pod<'_>, chosen: &PodOptions, warnings: &mut Warnings) -> Vec<Value> {
    let mut mounts: Vec<Value> = Vec::new();
    // First, since it has to be written to: a socket does with the same mount.
    if let Some(log) = chosen.access_log.file() {
        let mount = pod.mount_of(log, |mount| is_writable(pod, mount));
        match mount.and_then(|mount| beside_the_token(copied(mount), log)) {
            Some(mount) => mounts.push(mount),
            None => warnings.unwritable(&log.to_string_lossy()),
        }
    }
    for socket in chosen.telemetry.sockets() {
        let mount = pod.mount_of(socket, |_| true).map(copied);
        let Some(mount) = mount.and_then(|mount| beside_the_token(mount, socket)) else {
            warnings.unmounted(&socket.to_string_lossy());
            continue;
        };
        // The API server refuses a second mount at one path.
        match mounts.iter().find(|other| at(other) == at(&mount)) {
            None => mounts.push(mount),
            Some(same) if is_of_the_same(same, &mount) => {}
            Some(_) => warnings.unmounted(&socket.to_string_lossy()),
        }
    }
    mounts
}

/// Whether a container that has this mount can write to its volume.
fn is_writable(pod: &Pod<'_>, mount: &Value) -> bool {
    let volume = pod.volumes().iter();
    let volume = volume.filter(|volume| volume["name"] == mount["name"]);
    let is_read_only = |volume: &Value| READ_ONLY.iter().any(|kind| !volume[*kind].is_null());
    mount["readOnly"] != true && !volume.into_iter().any(is_read_only)
}

/// Whether both have the same files.
fn is_of_the_same(one: &Value, other: &Value) -> bool {
    ["name", "subPath"]
        .iter()
        .all(|field| one[*field] == other[*field])
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

/// The mount, or only the file's directory of it, so that the sidecar's token is
/// neither below it nor above: the runtime can't make a directory for the one in a
/// volume that is read-only, and must not in one that isn't the pod's own.
fn beside_the_token(mut mount: Value, file: &Path) -> Option<Value> {
    let token = Path::new(names::TOKEN_DIR);
    let is_beside = |path: &Path| !path.starts_with(token) && !token.starts_with(path);
    if is_beside(at(&mount)) {
        return Some(mount);
    }
    let directory = file.parent().filter(|directory| is_beside(directory))?;
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

    /// The same of an access log in a pod with these volumes.
    fn logged(volumes: &Value, mounts: &[Value], log: &str) -> (Value, Vec<String>) {
        let container = |mount| json!({"name": "app", "volumeMounts": [mount]});
        let containers: Vec<_> = mounts.iter().map(container).collect();
        let raw = json!({"spec": {"containers": containers, "volumes": volumes}});
        let pod = Pod::read(&raw).expect("it is a pod");
        let mut chosen = crate::test_options().pod_defaults;
        chosen.access_log = log.parse().expect("it is an access log");
        let mut warnings = Warnings::default();
        let mounts = super::mounts(&pod, &chosen, &mut warnings);
        (json!(mounts), warnings.into_lines())
    }

    #[test]
    fn an_access_log_that_no_container_could_write_is_told_of() {
        let log = "all;to=/var/log/app/access.log";
        let warning =
            "netting: no container can write to /var/log/app/access.log, so there is no access log";
        let mount = |read_only: bool| json!({"name": "logs", "mountPath": "/var/log/app", "readOnly": read_only});
        for (volumes, mounts) in [
            (
                json!([]),
                vec![json!({"name": "a", "mountPath": "/var/log/apps"})],
            ),
            (json!([{"name": "logs", "emptyDir": {}}]), vec![mount(true)]),
            (
                json!([{"name": "logs", "configMap": {"name": "a"}}]),
                vec![mount(false)],
            ),
            (
                json!([{"name": "logs", "projected": {"sources": []}}]),
                vec![mount(false)],
            ),
        ] {
            let expected = (json!([]), vec![warning.to_owned()]);
            assert_eq!(logged(&volumes, &mounts, log), expected, "{volumes}");
        }
        for nowhere in [
            "off;to=/var/log/app/access.log",
            "all",
            "all;to=stderr",
            "errors;to=none",
        ] {
            assert_eq!(
                logged(&json!([]), &[mount(true)], nowhere),
                (json!([]), Vec::new()),
                "{nowhere}"
            );
        }
    }

    #[test]
    fn the_directory_of_the_access_log_is_mounted_as_whoever_writes_there_has_it() {
        let reads = json!({"name": "logs", "mountPath": "/var/log/app", "readOnly": true});
        let writes = json!({"name": "logs", "mountPath": "/var/log", "subPath": "web"});
        let volumes = json!([{"name": "logs", "emptyDir": {}}]);
        let log = "errors;slow=1s;to=/var/log/app/access.log";
        let mounts = [reads, writes.clone()];
        assert_eq!(
            logged(&volumes, &mounts, log),
            (json!([writes]), Vec::new())
        );
    }

    #[test]
    fn a_socket_beside_the_access_log_needs_no_mount_of_its_own() {
        let at = |read_only: Value| json!({"name": "run", "mountPath": "/run/app", "readOnly": read_only});
        let raw = json!({"spec": {"containers": [
            {"name": "writes", "volumeMounts": [at(json!(null))]},
            {"name": "reads", "volumeMounts": [at(json!(true))]},
        ]}});
        let pod = Pod::read(&raw).expect("it is a pod");
        let mut chosen = crate::test_options().pod_defaults;
        chosen.access_log = "all;to=/run/app/log".parse().expect("it is an access log");
        let exporter = "statsd=unix:///run/app/statsd".parse();
        chosen.telemetry = exporter.expect("it is an exporter");
        let mut warnings = Warnings::default();
        let mounts = super::mounts(&pod, &chosen, &mut warnings);
        assert_eq!(mounts, [json!({"name": "run", "mountPath": "/run/app"})]);
        assert_eq!(warnings.into_lines(), [""; 0]);
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
