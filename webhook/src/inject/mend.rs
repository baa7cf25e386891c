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
///   sidecar, and the last one of a classic pod.
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

/// By then the draft has other handlers in it, but no container at another place.
fn put_in_order(draft: &mut Draft, pod: &Pod<'_>, mode: SidecarMode) {
    let containers = pod.init_containers();
    let position = |name: &str| {
        containers
            .iter()
            .map(Container::name)
            .position(|n| n == name)
    };
    let Some(index) = position(names::INIT_CONTAINER) else {
        return;
    };
    // Where it is once it has been taken out.
    let place = match mode {
        SidecarMode::Native => match position(names::SIDECAR_CONTAINER) {
            Some(sidecar) if sidecar > index => sidecar - 1,
            Some(sidecar) => sidecar,
            None => return,
        },
        SidecarMode::Classic => containers.len() - 1,
    };
    if index == place {
        return;
    }
    let list = ["spec", "initContainers"];
    let mut at = PointerBuf::from_tokens(list);
    at.push_back(Token::from(index));
    let container = pod.raw()["spec"]["initContainers"][index].clone();
    draft.remove(at);
    draft.insert(&list, place, vec![container]);
}
