//! The application's probes and hooks, handed to the sidecar.
//!
//! The sidecar accepts whatever is redirected to it, so a `tcpSocket` probe would
//! always pass, and a `grpc` probe would tell of the sidecar. They become `httpGet`
//! probes of the sidecar's admin port, which puts the original question to the
//! application; so do `httpGet` probes and hooks where the pod asks for it. Nothing
//! but the handler changes: how often, how long and how many times are the author's.
//!
//! The originals travel in the sidecar's environment (`netting-sidecar`'s
//! `probe::written` has the format), from which they can also be put back.

use serde_json::{Map, Value};

use crate::{
    names::SidecarMode,
    options::PodOptions,
    pod::{Container, Pod},
    warnings::Warnings,
};

use super::draft::Draft;

mod handler;
mod place;
mod redirect;
#[cfg(test)]
mod tests;
mod variable;

use handler::{Left, Question};
use place::{List, Place};
use redirect::redirect;
use variable::Written;

pub use redirect::restore;

/// Rewrites what the sidecar can ask, and returns the variable that tells it what
/// that is; nothing if there is nothing to ask. What is left as it is although it
/// would not work is warned about.
pub(super) fn rewrite(
    draft: &mut Draft,
    pod: &Pod<'_>,
    chosen: &PodOptions,
    warnings: &mut Warnings,
) -> Option<Value> {
    let mut written = Written::default();
    take_over(&mut written, draft, pod, chosen, warnings);
    written.into_variable()
}

/// The same for a pod that is injected already, to which containers have been added
/// since: what the sidecar is to ask for them joins what it was told before.
pub(super) fn rewrite_more(draft: &mut Draft, pod: &Pod<'_>, chosen: &PodOptions) {
    let Some(place) = variable::place_of(pod) else {
        return;
    };
    let mut written = Written::of(pod.raw());
    let before = written.len();
    // What was left as it is was warned about the first time.
    let mut warned = Warnings::default();
    take_over(&mut written, draft, pod, chosen, &mut warned);
    if written.len() > before
        && let Some(variable) = written.into_variable()
    {
        draft.put(place, variable);
    }
}

/// Has the sidecar asked in the kubelet's place wherever it can be.
fn take_over(
    written: &mut Written,
    draft: &mut Draft,
    pod: &Pod<'_>,
    chosen: &PodOptions,
    warnings: &mut Warnings,
) {
    let init = pod.init_containers().iter().map(|c| (List::Init, c));
    let regular = pod.containers().iter().map(|c| (List::Regular, c));
    let numbered = init.enumerate().chain(regular.enumerate());
    for (index, (list, &container)) in numbered {
        for place in Place::ALL {
            let Some(handler) = place.of(container) else {
                continue;
            };
            let question = question(container, list, place, handler, chosen)
                .and_then(|question| written.add(container, place, question));
            match question {
                Ok((question, path)) => {
                    let at = place.pointer(list, index);
                    redirect(draft, &at, &question, &path);
                }
                Err(left) => {
                    if let Some(why) = left.warning() {
                        warnings.left(container.name(), &place.fields().join("."), why);
                    }
                }
            }
        }
    }
}

/// # Errors
/// If the handler stays as it is.
fn question<'a>(
    container: Container<'a>,
    list: List,
    place: Place,
    handler: &'a Map<String, Value>,
    chosen: &PodOptions,
) -> Result<Question<'a>, Left> {
    let question = Question::read(container, place, handler, chosen.rewrite_http_probes)?;
    // These ports are not redirected: the kubelet reaches the application itself.
    if chosen
        .skip_inbound_ports
        .iter()
        .any(|ports| ports.contains(question.port))
    {
        return Err(Left::Direct);
    }
    // Classic sidecars start when init containers have ended or, if they are sidecars
    // themselves, have started. Until then nobody would answer for them.
    let too_early = list == List::Init && place != Place::Readiness;
    if chosen.mode == SidecarMode::Classic && too_early {
        return Err(Left::BeforeTheSidecar);
    }
    Ok(question)
}
