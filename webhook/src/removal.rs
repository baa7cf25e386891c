//! Takes out of a pod what injection put in, and puts back what it was put over.

use serde_json::{Map, Value};

use crate::{
    inject, names,
    pod::Pod,
    status::{self, Status},
};

/// The lists and objects that injection makes where they are missing, innermost
/// first.
const PARENTS: [&str; 5] = [
    "/spec/initContainers",
    "/spec/volumes",
    "/metadata/annotations",
    "/metadata/labels",
    "/metadata",
];

/// The annotations of a container's confinement go on with its name. API servers from
/// 1.30 on write them beside what a container says of itself, and refuse a pod that has
/// them without the container.
const PROFILES: [&str; 2] = [
    "container.apparmor.security.beta.kubernetes.io/",
    "container.seccomp.security.alpha.kubernetes.io/",
];

/// What the pod (or a template of one) was before it was injected, by what its
/// status says was added; `None` if it was not injected, or can't be read.
#[must_use]
pub fn restored(pod: &Value) -> Option<Value> {
    let added = {
        let pod = Pod::read(pod).ok()?;
        Status::of(&pod).filter(|_| status::lists_containers_of(&pod))?
    };
    let mut pod = pod.clone();
    crate::inject::restore_probes(&mut pod);
    let containers = [names::INIT_CONTAINER, names::SIDECAR_CONTAINER];
    retain_others(&mut pod, "/spec/initContainers", &containers);
    retain_others(&mut pod, "/spec/containers", &containers);
    retain_others(&mut pod, "/spec/volumes", &[names::TOKEN_VOLUME]);
    remove(&mut pod, "/metadata/labels", names::INJECTED);
    remove(&mut pod, "/metadata/annotations", names::STATUS);
    // The annotation is text that anybody may have changed: no other key of it is
    // taken at its word.
    for key in [names::DEFAULT_CONTAINER, inject::SCRAPE, inject::PORT] {
        if added.annotations.iter().any(|added| added == key) {
            remove(&mut pod, "/metadata/annotations", key);
        }
    }
    for profile in PROFILES {
        for container in containers {
            let key = format!("{profile}{container}");
            remove(&mut pod, "/metadata/annotations", &key);
        }
    }
    for parent in PARENTS {
        remove_if_empty(&mut pod, parent);
    }
    let own = [
        json_pointer("/metadata/labels", names::INJECTED),
        status::POINTER.to_owned(),
        json_pointer("/metadata/annotations", names::DEFAULT_CONTAINER),
        json_pointer("/metadata/annotations", inject::PORT),
        json_pointer("/metadata/annotations", inject::PATH),
    ];
    for (pointer, value) in added.before {
        if PARENTS.contains(&pointer.as_str()) || own.contains(&pointer) {
            put_back(&mut pod, &pointer, value);
        }
    }
    Some(pod)
}

fn retain_others(pod: &mut Value, list: &str, names: &[&str]) {
    if let Some(Value::Array(items)) = pod.pointer_mut(list) {
        items.retain(|item| !names.iter().any(|name| item["name"] == *name));
    }
}

fn remove(pod: &mut Value, object: &str, key: &str) {
    if let Some(Value::Object(object)) = pod.pointer_mut(object) {
        object.remove(key);
    }
}

fn remove_if_empty(pod: &mut Value, pointer: &str) {
    let is_empty = match pod.pointer(pointer) {
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Object(object)) => object.is_empty(),
        _ => false,
    };
    if let (true, Some((parent, key))) = (is_empty, pointer.rsplit_once('/')) {
        remove(pod, parent, key);
    }
}

fn json_pointer(object: &str, key: &str) -> String {
    format!("{object}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Parents that are gone by now are made again: they had nothing else in them.
fn put_back(pod: &mut Value, pointer: &str, value: Value) {
    let mut place = pod;
    for token in pointer.split('/').skip(1) {
        let key = token.replace("~1", "/").replace("~0", "~");
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
        let Value::Object(object) = place else {
            return;
        };
        place = object.entry(key).or_insert(Value::Null);
    }
    *place = value;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Decision, Namespace, decide};

    #[test]
    fn profiles_of_containers_that_are_gone_go_too() {
        for mode in ["native", "classic"] {
            let annotations = json!({
                "netting.dev/sidecar-mode": mode,
                "container.apparmor.security.beta.kubernetes.io/app": "runtime/default",
            });
            let pod = json!({
                "metadata": {"annotations": annotations},
                "spec": {"containers": [{"name": "app"}]},
            });
            let verdict = decide(&pod, &Namespace::named("shop"), &crate::test_options());
            let Decision::Inject(patch) = verdict.decision else {
                panic!("nothing keeps this pod from being injected");
            };
            let mut injected = pod.clone();
            json_patch::patch(&mut injected, &patch).expect("the patch fits");
            for kind in ["apparmor.security.beta", "seccomp.security.alpha"] {
                for container in ["netting-init", "netting-sidecar"] {
                    let key = format!("container.{kind}.kubernetes.io/{container}");
                    injected["metadata"]["annotations"][key] = json!("runtime/default");
                }
            }
            assert_eq!(restored(&injected), Some(pod), "{mode}");
        }
    }
}
