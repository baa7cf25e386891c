//! GET: one object, a list, or a page of a list.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{Cluster, call::Call, object::Object as _, status::Status, watch::Selection};

/// The object that `call` names, in the form it asks for.
pub(crate) fn get(cluster: &Cluster, call: &Call) -> Result<Value, Status> {
    let target = &call.target;
    let object = cluster
        .store
        .get(&target.key())
        .ok_or_else(|| Status::not_found(target.resource, &target.name))?;
    Ok(call.format.object(target.resource, &object))
}

/// The objects that `call` selects, or the page of them that it asks for.
pub(crate) fn list(cluster: &Cluster, call: &Call) -> Result<Value, Status> {
    let resource = call.target.resource;
    let selection = Selection::of(call)?;
    let (latest, objects) = cluster.store.list(resource, call.target.scope());
    check_version(call, latest)?;
    let page = Page::parse(call.query.get("continue"))?;
    let revision = page.as_ref().map_or(latest, |page| page.revision);
    let selected: Vec<&Value> = objects
        .iter()
        .map(|object| &**object)
        .filter(|object| {
            page.as_ref()
                .is_none_or(|page| position(call, object) > page.after)
        })
        .filter(|object| selection.selects(object))
        .collect();
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    let limit = call.query.number::<usize>("limit")?.unwrap_or(0);
    let shown = if limit == 0 {
        selected.len()
    } else {
        limit.min(selected.len())
    };
    if let Some(last) = selected[..shown].last().filter(|_| shown < selected.len()) {
        let next = Page {
            revision,
            after: position(call, last),
        };
        metadata["continue"] = next.encode().into();
        // With a selector, a real server doesn't know how many are left.
        if call.query.get("labelSelector").is_empty() && call.query.get("fieldSelector").is_empty()
        {
            metadata["remainingItemCount"] = (selected.len() - shown).into();
        }
    }
    Ok(call.format.list(resource, &selected[..shown], metadata))
}

/// What `resourceVersion` and `resourceVersionMatch` ask for must be what we have.
fn check_version(call: &Call, latest: u64) -> Result<(), Status> {
    let wanted = call.query.number::<u64>("resourceVersion")?.unwrap_or(0);
    if wanted > latest {
        return Err(Status::new(
            504,
            "Timeout",
            format!("Timeout: Too large resource version: {wanted}, current: {latest}"),
        ));
    }
    if call.query.get("resourceVersionMatch") == "Exact" && wanted != latest {
        return Err(Status::expired(wanted, latest));
    }
    Ok(())
}

/// An object's place in the order of its list.
fn position(call: &Call, object: &Value) -> String {
    if call.target.namespace.is_empty() && call.target.resource.namespaced {
        format!("{}\0{}", object.namespace(), object.name())
    } else {
        object.name().to_owned()
    }
}

/// Where the next page starts: the content of a `continue` token.
struct Page {
    revision: u64,
    after: String,
}

impl Page {
    fn parse(token: &str) -> Result<Option<Self>, Status> {
        if token.is_empty() {
            return Ok(None);
        }
        let invalid = || {
            Status::bad_request("continue key is not valid: it must be one that a list returned")
        };
        let json = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
        let json: Value = serde_json::from_slice(&json).map_err(|_| invalid())?;
        let after = json
            .text("/start")
            .strip_suffix('\0')
            .ok_or_else(invalid)?
            .to_owned();
        let revision = json["rv"].as_u64().ok_or_else(invalid)?;
        Ok(Some(Self { revision, after }))
    }

    fn encode(&self) -> String {
        // The field order is the real server's.
        let start = Value::from(format!("{}\0", self.after));
        URL_SAFE_NO_PAD.encode(format!(
            "{{\"v\":\"meta.k8s.io/v1\",\"rv\":{},\"start\":{start}}}",
            self.revision
        ))
    }
}
