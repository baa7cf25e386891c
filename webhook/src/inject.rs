//! What is added to a pod, as a minimal, ordered JSON patch.

use json_patch::Patch;
use serde_json::json;

use crate::{
    names::{self, SidecarMode},
    options::{Options, PodOptions},
    pod::Pod,
    status::Status,
};

mod containers;
mod draft;
mod resources;

use draft::Draft;

/// The patch that injects a pod. Everything in it adds; what its author wrote
/// stays as it is, except for stale values of Netting's own label and annotation.
pub(crate) fn patch(pod: &Pod<'_>, options: &Options, chosen: &PodOptions) -> Patch {
    let resources = resources::of(pod, chosen);
    let init = containers::init(options, chosen, &resources);
    let sidecar = containers::sidecar(pod, options, chosen, &resources);
    let mut draft = Draft::of(pod.raw());
    match chosen.mode {
        // Before the author's init containers, so that they have the mesh's network.
        SidecarMode::Native => {
            draft.insert(&["spec", "initContainers"], 0, vec![init, sidecar]);
        }
        // After them, since nothing would serve their redirected connections yet.
        SidecarMode::Classic => {
            let last = pod.init_containers().len();
            draft.insert(&["spec", "initContainers"], last, vec![init]);
            draft.insert(&["spec", "containers"], 0, vec![sidecar]);
        }
    }
    let mut status = Status::new(chosen.mode);
    if pod.annotation(names::DEFAULT_CONTAINER).is_none() {
        // The patched pod has several containers, of which kubectl would take the first.
        let application = pod.containers()[0].name();
        annotate(&mut draft, names::DEFAULT_CONTAINER, application);
        status.annotations.push(names::DEFAULT_CONTAINER.to_owned());
    }
    annotate(&mut draft, names::STATUS, &status.to_json());
    draft.set(&["metadata", "labels", names::INJECTED], json!("true"));
    draft.into_patch()
}

fn annotate(draft: &mut Draft, key: &str, value: &str) {
    draft.set(&["metadata", "annotations", key], json!(value));
}
