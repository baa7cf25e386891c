//! What is added to a pod, as a minimal, ordered JSON patch.

use json_patch::Patch;
use serde_json::{Value, json};

use crate::{
    decision::SkipReason,
    names::{self, SidecarMode},
    options::{Namespace, Options, PodOptions},
    pod::Pod,
    status::{self, Status},
    warnings::Warnings,
};

mod containers;
mod draft;
mod mend;
mod mounts;
mod probes;
mod resources;
mod scraping;

use draft::Draft;

pub(crate) use mend::mend;
pub(crate) use scraping::{PATH, PORT, SCRAPE};

pub use probes::restore as restore_probes;

/// What the API server takes of annotations.
const ANNOTATION_BYTES_MAX: usize = 256 * 1024;

/// The patch that injects a pod. What its author wrote stays as it is, except for
/// probes that the sidecar asks for the kubelet, annotations that have it scraped, and
/// stale values of Netting's own label and annotation.
///
/// # Errors
/// If the API server would refuse the pod for what is added: LimitRanges leave too little
/// for a sidecar, or there is no room for the annotations.
pub(crate) fn patch(
    pod: &Pod<'_>,
    namespace: Namespace<'_>,
    options: &Options,
    chosen: &PodOptions,
    warnings: &mut Warnings,
) -> Result<Patch, SkipReason> {
    let chosen = &probes::with_direct_ports(pod, chosen);
    let resources = resources::of(pod, namespace, chosen, warnings)?;
    let mounts = mounts::mounts(pod, chosen, warnings);
    let init = containers::init(pod, options, chosen, &resources);
    let mut sidecar = containers::sidecar(pod, options, chosen, mounts, &resources);
    let mut status = Status::new(chosen.mode);
    let mut draft = Draft::of(pod.raw());
    let told = [
        probes::rewrite(&mut draft, pod, chosen, warnings),
        scraping::redirect(&mut draft, pod, chosen, &mut status, warnings),
    ];
    if let Some(env) = sidecar["env"].as_array_mut() {
        env.extend(told.into_iter().flatten());
    }
    match chosen.mode {
        // Before the author's init containers, so that they have the mesh's network.
        SidecarMode::Native => {
            draft.insert(&["spec", "initContainers"], 0, vec![init, sidecar]);
        }
        // After them, since nothing would serve their redirected connections yet.
        SidecarMode::Classic => {
            let last = pod.init_containers().len();
            draft.insert(&["spec", "initContainers"], last, vec![init]);
            // First, since the kubelet starts containers in their order.
            draft.insert(&["spec", "containers"], 0, vec![sidecar]);
            if pod.annotation(names::DEFAULT_CONTAINER).is_none() {
                // kubectl would take the first container. (It never takes an init
                // container, so a native sidecar is not in the way.)
                let application = pod.containers()[0].name();
                let path = ["metadata", "annotations", names::DEFAULT_CONTAINER];
                draft.set(&path, json!(application));
                status.annotations.push(names::DEFAULT_CONTAINER.to_owned());
            }
        }
    }
    let last = pod.volumes().len();
    draft.insert(&["spec", "volumes"], last, vec![containers::token_volume()]);
    draft.set(&["metadata", "labels", names::INJECTED], json!("true"));

    let path = ["metadata", "annotations", names::STATUS];
    draft.remember(&path);
    status.before = draft.before().clone();
    let text = written(status, draft.document(), warnings);
    let text = text.ok_or(SkipReason::AnnotationsFull)?;
    draft.set(&path, json!(text));
    Ok(draft.into_patch())
}

/// The status as text, if there is room for it. Rather than leave a pod without a
/// sidecar for it, a status that was there before is given up.
fn written(mut status: Status, pod: &Value, warnings: &mut Warnings) -> Option<String> {
    let room = ANNOTATION_BYTES_MAX.checked_sub(other_annotation_bytes(pod))?;
    let text = status.to_json();
    if text.len() <= room {
        return Some(text);
    }
    status.before.remove(status::POINTER)?;
    let text = status.to_json();
    (text.len() <= room).then(|| {
        let key = names::STATUS;
        warnings.push(format!(
            "netting: the pod's own {key} is too long to be brought back by netting uninject"
        ));
        text
    })
}

/// All keys and values but the status, as the API server counts them
/// (k8s.io/apimachinery, `ValidateAnnotationsSize`).
fn other_annotation_bytes(pod: &Value) -> usize {
    let annotations = pod.pointer("/metadata/annotations");
    let annotations = annotations.and_then(Value::as_object).into_iter().flatten();
    let others = annotations.filter(|(key, _)| *key != names::STATUS);
    let bytes = others.map(|(key, value)| key.len() + value.as_str().map_or(0, str::len));
    names::STATUS.len() + bytes.sum::<usize>()
}
