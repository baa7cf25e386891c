//! The annotation `netting.dev/status`: what was added to a pod, for people, for
//! the second pass, and for taking it out again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    names::{self, SidecarMode},
    pod::Pod,
};

/// Where it is in a pod.
pub(crate) const POINTER: &str = "/metadata/annotations/netting.dev~1status";

/// What was added, in the words of the pod's own fields.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    /// The version of Netting that added it.
    pub(crate) version: String,
    /// `native` or `classic`.
    pub(crate) mode: String,
    pub(crate) init_containers: Vec<String>,
    pub(crate) containers: Vec<String>,
    pub(crate) volumes: Vec<String>,
    /// Annotations besides Netting's own.
    pub(crate) annotations: Vec<String>,
    /// What was there before and is not any more, by its JSON pointer: empty lists
    /// that were added to, stale values of Netting's own label and annotation.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) before: BTreeMap<String, Value>,
}

impl Status {
    /// The status of a pod that is injected by this build.
    pub(crate) fn new(mode: SidecarMode) -> Self {
        let (init, sidecar) = (names::INIT_CONTAINER, names::SIDECAR_CONTAINER);
        let (init_containers, containers) = match mode {
            SidecarMode::Native => (vec![init.to_owned(), sidecar.to_owned()], Vec::new()),
            SidecarMode::Classic => (vec![init.to_owned()], vec![sidecar.to_owned()]),
        };
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: mode.as_str().to_owned(),
            init_containers,
            containers,
            volumes: vec![names::TOKEN_VOLUME.to_owned()],
            ..Self::default()
        }
    }

    /// That of an injected pod, if its annotation can be read.
    pub(crate) fn of(pod: &Pod<'_>) -> Option<Self> {
        let text = pod.annotation(names::STATUS)?;
        serde_json::from_str(text).ok()
    }

    /// As compact JSON.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a struct of strings is JSON")
    }
}

/// Whether the pod's status annotation lists Netting's containers where they are.
pub(crate) fn lists_containers_of(pod: &Pod<'_>) -> bool {
    let Some(status) = Status::of(pod) else {
        return false;
    };
    let in_place = |name: &str| {
        let init = pod.init_containers().iter().any(|c| c.name() == name);
        let listed = if init {
            &status.init_containers
        } else {
            &status.containers
        };
        listed.iter().any(|listed| listed == name)
    };
    in_place(names::INIT_CONTAINER) && in_place(names::SIDECAR_CONTAINER)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_pointer_leads_to_the_annotation() {
        let pod = json!({"metadata": {"annotations": {names::STATUS: "here"}}});
        assert_eq!(pod.pointer(POINTER), Some(&json!("here")));
    }
}
