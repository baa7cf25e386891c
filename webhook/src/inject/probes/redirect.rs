//! A handler, put aside for one that asks the sidecar, and put back.

use json_patch::jsonptr::{PointerBuf, Token};
use serde_json::{Value, json};

use crate::{inject::draft::Draft, names};

use super::{
    handler::{self, Kind, Question},
    place::{List, Place},
    variable,
};

/// Has the kubelet ask at the admin port: in the place of the handler, or, where that
/// is `httpGet` already, member by member.
pub(super) fn redirect(draft: &mut Draft, at: &PointerBuf, question: &Question<'_>, path: &str) {
    let below = |member: &str| {
        let mut below = at.clone();
        below.push_back(Token::from(member));
        below
    };
    if question.kind != Kind::Http {
        draft.remove(below(question.kind.field()));
        let get = json!({"path": path, "port": names::ADMIN_PORT});
        draft.put(below("httpGet"), get);
        return;
    }
    let member = |member: &str| {
        let mut member_at = below("httpGet");
        member_at.push_back(Token::from(member));
        member_at
    };
    draft.put(member("path"), json!(path));
    draft.put(member("port"), json!(names::ADMIN_PORT));
    if question.original.contains_key("scheme") {
        draft.put(member("scheme"), json!("HTTP"));
    }
    for only_ours in ["host", "httpHeaders"] {
        if question.original.contains_key(only_ours) {
            draft.remove(member(only_ours));
        }
    }
}

/// Puts the handlers back that a pod had before it was injected, by what its sidecar
/// was told. A handler that somebody changed since is left as it is.
pub fn restore(pod: &mut Value) {
    let Some(probes) = variable::told(pod) else {
        return;
    };
    for list in [List::Init, List::Regular] {
        let containers = pod.pointer_mut(&format!("/spec/{}", list.field()));
        for container in containers
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            for place in Place::ALL {
                let name = container["name"].as_str().unwrap_or_default();
                let path = place.path(name);
                let Some(original) = probes.get(&path).and_then(handler::original) else {
                    continue;
                };
                let at = format!("/{}", place.fields().join("/"));
                let handler = container.pointer_mut(&at).and_then(Value::as_object_mut);
                let Some(handler) = handler else { continue };
                let ours = handler.get("httpGet").and_then(|get| get.get("path"));
                if ours.and_then(Value::as_str) == Some(&path) {
                    handler.remove("httpGet");
                    let (field, original) = original;
                    handler.insert(field.to_owned(), original.clone());
                }
            }
        }
    }
}
