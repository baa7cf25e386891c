//! The second look at an injected pod. The API server asks again when another webhook
//! has changed it (`reinvocationPolicy: IfNeeded`), and by then it may have containers
//! that were not there the first time.

use json_patch::{
    Patch,
    jsonptr::{PointerBuf, Token},
};

use crate::{
    names::{self, SidecarMode},
    options::PodOptions,
    pod::Pod,
    status::Status,
};

use super::{draft::Draft, probes};

/// What makes an injected pod right again; `None` if it is.
///
/// - Probes of containers that were added are put to the application as all are.
/// - Classic pods: what comes after netting-init has its connections redirected to
///   a sidecar that starts later still, so netting-init becomes the last one again.
pub(crate) fn mend(pod: &Pod<'_>, chosen: &PodOptions) -> Option<Patch> {
    let mode = SidecarMode::from_name(&Status::of(pod)?.mode)?;
    let chosen = PodOptions {
        mode,
        ..chosen.clone()
    };
    let mut draft = Draft::of(pod.raw());
    probes::rewrite_more(&mut draft, pod, &chosen);
    if mode == SidecarMode::Classic {
        last_of_init(&mut draft, pod);
    }
    let patch = draft.into_patch();
    (!patch.0.is_empty()).then_some(patch)
}

/// By then the draft has other handlers in it, but no container at another place.
fn last_of_init(draft: &mut Draft, pod: &Pod<'_>) {
    let containers = pod.init_containers();
    let is_ours = |name: &str| name == names::INIT_CONTAINER;
    let Some(index) = containers.iter().position(|c| is_ours(c.name())) else {
        return;
    };
    let last = containers.len() - 1;
    if index == last {
        return;
    }
    let list = ["spec", "initContainers"];
    let mut place = PointerBuf::from_tokens(list);
    place.push_back(Token::from(index));
    let container = pod.raw()["spec"]["initContainers"][index].clone();
    draft.remove(place);
    draft.insert(&list, last, vec![container]);
}
