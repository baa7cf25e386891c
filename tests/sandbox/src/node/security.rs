//! Who a container's process is and what it may do, from the security contexts of the pod and the
//! container. Seccomp, AppArmor and SELinux settings are not applied on this node.

use k8s_openapi::api::core::v1::{Capabilities, Container, PodSecurityContext, PodSpec};

use super::launcher::Credentials;

/// What containerd gives a container that asks for nothing.
const DEFAULT_CAPABILITIES: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// A container's user, groups and capabilities. An image here has no user of its own, which is
/// root.
///
/// # Errors
/// A message for the pod's status when it forbids root and names no other user.
pub(crate) fn credentials(pod: &PodSpec, container: &Container) -> Result<Credentials, String> {
    let for_pod = pod.security_context.as_ref();
    let own = container.security_context.as_ref();
    let uid = own
        .and_then(|own| own.run_as_user)
        .or(for_pod.and_then(|pod| pod.run_as_user));
    let gid = own
        .and_then(|own| own.run_as_group)
        .or(for_pod.and_then(|pod| pod.run_as_group));
    let non_root = own
        .and_then(|own| own.run_as_non_root)
        .or(for_pod.and_then(|pod| pod.run_as_non_root));
    let uid = id("runAsUser", uid)?.unwrap_or(0);
    if non_root == Some(true) && uid == 0 {
        return Err(format!(
            "container has runAsNonRoot and image will run as root (container: {}); set runAsUser",
            container.name
        ));
    }
    let privileged = own.and_then(|own| own.privileged).unwrap_or(false);
    let capabilities = own.and_then(|own| own.capabilities.as_ref());
    Ok(Credentials {
        uid,
        gid: id("runAsGroup", gid)?.unwrap_or(0),
        groups: groups(for_pod)?,
        capabilities: if privileged {
            None
        } else {
            bounding_set(capabilities)
        },
        no_new_privileges: own.and_then(|own| own.allow_privilege_escalation) == Some(false),
    })
}

fn id(field: &str, value: Option<i64>) -> Result<Option<u32>, String> {
    value
        .map(|id| u32::try_from(id).map_err(|_| format!("{field} {id} is out of range")))
        .transpose()
}

fn groups(pod: Option<&PodSecurityContext>) -> Result<Vec<u32>, String> {
    let Some(pod) = pod else {
        return Ok(Vec::new());
    };
    let all = pod
        .supplemental_groups
        .iter()
        .flatten()
        .chain(pod.fs_group.as_ref());
    let mut groups = Vec::new();
    for group in all {
        groups.extend(id("supplementalGroups", Some(*group))?);
    }
    Ok(groups)
}

/// `ALL` first, wherever it stands, then single capabilities; `None` is all there are.
fn bounding_set(wanted: Option<&Capabilities>) -> Option<Vec<String>> {
    let list = |list: Option<&Vec<String>>| -> Vec<String> {
        let names = list
            .into_iter()
            .flatten()
            .map(|name| name.to_ascii_uppercase());
        names
            .map(|name| name.trim_start_matches("CAP_").to_owned())
            .collect()
    };
    let add = list(wanted.and_then(|wanted| wanted.add.as_ref()));
    let drop = list(wanted.and_then(|wanted| wanted.drop.as_ref()));
    let all = |list: &[String]| list.iter().any(|name| name == "ALL");
    if all(&add) && !all(&drop) && drop.is_empty() {
        return None;
    }
    let mut set: Vec<String> = if all(&add) && !all(&drop) {
        caps::all()
            .iter()
            .map(|cap| cap.to_string().trim_start_matches("CAP_").to_owned())
            .collect()
    } else if all(&drop) {
        Vec::new()
    } else {
        DEFAULT_CAPABILITIES.map(str::to_owned).into()
    };
    set.extend(add.into_iter().filter(|name| name != "ALL"));
    set.retain(|name| !drop.contains(name));
    set.sort();
    set.dedup();
    Some(set.into_iter().map(|name| format!("CAP_{name}")).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(pod: Value, container: Value) -> Result<Credentials, String> {
        let spec = serde_json::from_value(json!({"containers": [], "securityContext": pod}));
        let container = serde_json::from_value(json!({"name": "c", "securityContext": container}));
        credentials(&spec.expect("a pod"), &container.expect("a container"))
    }

    #[test]
    fn refuses_root_where_the_pod_forbids_it() {
        let root = json!({"runAsNonRoot": true, "runAsUser": 0});
        for (pod, container) in [
            (json!({"runAsNonRoot": true}), json!({})),
            (json!({"runAsUser": 1000}), root),
        ] {
            let refused = of(pod, container).expect_err("root");
            assert!(refused.contains("runAsNonRoot"), "{refused}");
        }
        let refused = of(json!({"runAsUser": -1}), json!({})).expect_err("no uid");
        assert!(refused.contains("runAsUser"), "{refused}");
    }

    #[test]
    fn capabilities_are_those_the_pod_says() {
        let caps = |context: Value| of(json!({}), context).expect("credentials").capabilities;
        let of_caps = |capabilities: Value| caps(json!({"capabilities": capabilities}));
        let net = ["CAP_NET_ADMIN", "CAP_NET_RAW"].map(str::to_owned).to_vec();
        assert_eq!(
            of_caps(json!({"drop": ["ALL"], "add": ["NET_RAW", "NET_ADMIN"]})),
            Some(net)
        );
        assert_eq!(of_caps(json!({"drop": ["all"]})), Some(vec![]));
        assert_eq!(caps(json!({"privileged": true})), None);
        assert_eq!(of_caps(json!({"add": ["ALL"]})), None);
        let fewer = of_caps(json!({"drop": ["CHOWN"]})).expect("a set");
        assert_eq!(fewer.len(), DEFAULT_CAPABILITIES.len() - 1);
        let most = of_caps(json!({"add": ["ALL"], "drop": ["SYS_ADMIN"]})).expect("a set");
        assert!(!most.contains(&"CAP_SYS_ADMIN".to_owned()));
    }
}
