//! The second look at an injected pod. The API server asks again when another webhook
//! has changed it (`reinvocationPolicy: IfNeeded`), and by then it may have containers
//! that were not there the first time, or other probes.

use json_patch::{
    Patch,
    jsonptr::{PointerBuf, Token},
};

use crate::{
    names::{self, SidecarMode},
    options::PodOptions,
    pod::{Container, Pod},
    status::Status,
    warnings::Warnings,
};

use super::{draft::Draft, probes};

#[cfg(test)]
mod tests;

/// What makes an injected pod right again; `None` if it is.
///
/// - Probes that were added or changed are put to the application as all are, unless
///   the kubelet asks before the sidecar is there; then netting-init leaves their port
///   to it, if they are `tcpSocket` probes.
/// - What starts between netting-init and the sidecar has its connections redirected to
///   where nobody listens yet. So netting-init becomes the one directly before a native
///   sidecar, and the last one of a classic pod, whose sidecar becomes the first of its
///   containers.
pub(crate) fn mend(pod: &Pod<'_>, chosen: &PodOptions, warnings: &mut Warnings) -> Option<Patch> {
    let mode = SidecarMode::from_name(&Status::of(pod)?.mode)?;
    let chosen = PodOptions {
        mode,
        ..chosen.clone()
    };
    let chosen = probes::with_direct_ports(pod, &chosen);
    let mut draft = Draft::of(pod.raw());
    probes::rewrite_more(&mut draft, pod, &chosen, warnings);
    put_in_order(&mut draft, pod, mode);
    probes::skip_more(&mut draft, mode);
    let patch = draft.into_patch();
    (!patch.0.is_empty()).then_some(patch)
}

/// By then the draft has other handlers and another sidecar in it, but no container at
/// another place.
fn put_in_order(draft: &mut Draft, pod: &Pod<'_>, mode: SidecarMode) {
    let inits = pod.init_containers();
    if let Some(index) = position(inits, names::INIT_CONTAINER) {
        // Where it is once it has been taken out.
        let place = match mode {
            SidecarMode::Native => match position(inits, names::SIDECAR_CONTAINER) {
                Some(sidecar) if sidecar > index => sidecar - 1,
                Some(sidecar) => sidecar,
                None => index,
            },
            SidecarMode::Classic => inits.len() - 1,
        };
        relocate(draft, "initContainers", index, place);
    }
    if mode == SidecarMode::Classic
        && let Some(index) = position(pod.containers(), names::SIDECAR_CONTAINER)
    {
        // The kubelet starts the next one when this one's hook has ended.
        relocate(draft, "containers", index, 0);
    }
}

fn position(containers: &[Container<'_>], name: &str) -> Option<usize> {
    let mut names = containers.iter().map(Container::name);
    names.position(|other| other == name)
}

fn relocate(draft: &mut Draft, list: &str, index: usize, place: usize) {
    if index == place {
        return;
    }
    let path = ["spec", list];
    let mut at = PointerBuf::from_tokens(path);
    at.push_back(Token::from(index));
    let container = draft.document()["spec"][list][index].clone();
    draft.remove(at);
    draft.insert(&path, place, vec![container]);
}
