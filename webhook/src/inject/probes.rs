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

use crate::{options::PodOptions, pod::Pod, warnings::Warnings};

use super::draft::Draft;

mod again;
mod direct;
mod handler;
mod place;
mod redirect;
#[cfg(test)]
mod tests;
mod variable;

use handler::{Left, Question};
use place::Site;
use redirect::redirect;
use variable::Written;

pub(super) use again::rewrite_more;
pub(super) use direct::{skip_more, with_direct_ports};
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
    for site in Site::all(pod, chosen.mode) {
        if let Some(handler) = site.handler() {
            take_over(&mut written, draft, site, handler, chosen, warnings);
        }
    }
    written.into_variable()
}

/// Has the sidecar asked in the kubelet's place, if it can be.
fn take_over(
    written: &mut Written,
    draft: &mut Draft,
    site: Site<'_>,
    handler: &Map<String, Value>,
    chosen: &PodOptions,
    warnings: &mut Warnings,
) {
    let question = question(site, handler, chosen).and_then(|question| written.add(site, question));
    match question {
        Ok(question) => redirect(draft, &site.pointer(), &question, &site.path()),
        Err(left) => warn(site, left, warnings),
    }
}

fn warn(site: Site<'_>, left: Left, warnings: &mut Warnings) {
    if let Some(why) = left.warning() {
        warnings.left(site.container.name(), &site.name(), why);
    }
}

/// # Errors
/// If the handler stays as it is.
fn question<'a>(
    site: Site<'a>,
    handler: &'a Map<String, Value>,
    chosen: &PodOptions,
) -> Result<Question<'a>, Left> {
    let http = chosen.rewrite_http_probes;
    let question = Question::read(site.container, site.place, handler, http)?;
    // These ports are not redirected: the kubelet reaches the application itself.
    if chosen
        .skip_inbound_ports
        .iter()
        .any(|ports| ports.contains(question.port))
    {
        return Err(Left::Direct);
    }
    // Nobody would answer. A startup probe or a postStart hook would even keep the
    // kubelet from ever starting the sidecar that it asks.
    if site.without_sidecar {
        return Err(Left::BeforeTheSidecar);
    }
    Ok(question)
}
