//! Handlers of a pod that is injected already, which somebody else has changed since.

use serde_json::{Map, Value, json};

use crate::{names, options::PodOptions, pod::Pod, warnings::Warnings};

use super::{
    Draft,
    handler::{self, Kind, Left},
    place::Site,
    take_over,
    variable::{self, Written},
    warn,
};

/// What the kubelet waits where a probe doesn't say.
const TIMEOUT_SECONDS_DEFAULT: u64 = 1;

/// Has the sidecar asked what was added or changed since it was told what to ask, and
/// tells it that too. What it could not answer any more is put back.
pub(in crate::inject) fn rewrite_more(
    draft: &mut Draft,
    pod: &Pod<'_>,
    chosen: &PodOptions,
    warnings: &mut Warnings,
) {
    let Some(place) = variable::place_of(pod) else {
        return;
    };
    let told = variable::told(pod.raw()).unwrap_or_default();
    let mut written = Written::of(told.clone());
    for site in Site::all(pod, chosen.mode) {
        let Some(handler) = site.handler() else {
            continue;
        };
        let path = site.path();
        let Some(told) = told.get(&path).filter(|_| is_ours(handler, &path)) else {
            take_over(&mut written, draft, site, handler, chosen, warnings);
            continue;
        };
        if has_another(handler) {
            // Set beside ours by somebody who didn't expect it: the API server takes one.
            draft.remove(site.member(Kind::Http.field()));
            let mut theirs = handler.clone();
            theirs.remove(Kind::Http.field());
            take_over(&mut written, draft, site, &theirs, chosen, warnings);
            continue;
        }
        written.keep(&path, changed_timeout(site, handler, told));
        if site.without_sidecar {
            put_back(draft, site, told);
            // Of those the kubelet gets the port to itself.
            if told.get(Kind::Tcp.field()).is_none() {
                warn(site, Left::BeforeTheSidecar, warnings);
            }
        }
    }
    if *written.probes() != told
        && let Some(variable) = written.into_variable()
    {
        draft.put(place, variable);
    }
}

fn is_ours(handler: &Map<String, Value>, path: &str) -> bool {
    let get = handler.get(Kind::Http.field());
    get.is_some_and(|get| get["path"] == path && get["port"] == json!(names::ADMIN_PORT))
}

fn has_another(handler: &Map<String, Value>) -> bool {
    let fields = ["exec", Kind::Tcp.field(), Kind::Grpc.field()];
    let mut others = fields.iter().filter_map(|field| handler.get(*field));
    others.any(|other| !other.is_null())
}

fn put_back(draft: &mut Draft, site: Site<'_>, told: &Value) {
    let Some((field, original)) = handler::original(told) else {
        return;
    };
    if field != Kind::Http.field() {
        draft.remove(site.member(Kind::Http.field()));
    }
    draft.put(site.member(field), original.clone());
}

/// The sidecar gives the application as long as the kubelet gives the sidecar.
fn changed_timeout<'a>(
    site: Site<'_>,
    handler: &'a Map<String, Value>,
    told: &Value,
) -> Option<&'a Value> {
    let seconds = handler::timeout(site.place, handler.get("timeoutSeconds")).ok()??;
    let before = told["timeoutSeconds"].as_u64();
    (seconds.as_u64() != before.or(Some(TIMEOUT_SECONDS_DEFAULT))).then_some(seconds)
}
