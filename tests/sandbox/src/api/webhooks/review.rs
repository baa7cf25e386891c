//! What a webhook's answer says: a pure function of it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{Attributes, Verdict};
use crate::api::{object::Object as _, status::Status};

/// Reads the answer of the webhook `name` to the review `uid` about `object`.
pub(super) fn verdict(
    attributes: &Attributes<'_>,
    name: &str,
    uid: &str,
    answer: &Value,
    object: &Value,
) -> Verdict {
    let unusable = |why: &str| Verdict::Failed(format!("received invalid webhook response: {why}"));
    if answer["kind"] != "AdmissionReview" || answer["apiVersion"] != "admission.k8s.io/v1" {
        return unusable("expected response of kind admission.k8s.io/v1, Kind=AdmissionReview");
    }
    let response = &answer["response"];
    if response.text("/uid") != uid {
        return unusable(&format!(
            "expected response.uid=\"{uid}\", got \"{}\"",
            response.text("/uid")
        ));
    }
    for warning in response.items("/warnings").iter().filter_map(Value::as_str) {
        attributes.call.warn(warning);
    }
    for (key, value) in response["auditAnnotations"]
        .as_object()
        .into_iter()
        .flatten()
    {
        tracing::info!(webhook = name, key, %value, "audit annotation");
    }
    if response["allowed"] != true {
        return Verdict::Deny(denial(name, &response["status"]));
    }
    let patch = response.text("/patch");
    if patch.is_empty() {
        return Verdict::Admit(object.clone());
    }
    if response.text("/patchType") != "JSONPatch" {
        return unusable("response.patchType must be JSONPatch if response.patch is set");
    }
    // A patch that can't be used refuses the object, whatever the failure policy is.
    match patched(attributes, patch, object) {
        Ok(object) => Verdict::Admit(object),
        Err(why) => Verdict::Deny(Status::internal(format!("webhook \"{name}\": {why}"))),
    }
}

fn patched(attributes: &Attributes<'_>, patch: &str, object: &Value) -> Result<Value, String> {
    let patch = STANDARD
        .decode(patch)
        .map_err(|error| format!("its patch is not base64: {error}"))?;
    let patch: json_patch::Patch = serde_json::from_slice(&patch)
        .map_err(|error| format!("its patch is no JSON patch: {error}"))?;
    let mut patched = object.clone();
    json_patch::patch(&mut patched, &patch)
        .map_err(|error| format!("its patch does not apply: {error}"))?;
    (attributes.call.target.resource.round_trip)(&patched)
        .map_err(|error| format!("its patch breaks the object: {error}"))?;
    Ok(patched)
}

fn denial(name: &str, status: &Value) -> Status {
    let why = match (status.text("/message"), status.text("/reason")) {
        ("", "") => "the request without explanation".to_owned(),
        ("", reason) => format!("the request: {reason}"),
        (message, _) => format!("the request: {message}"),
    };
    let code = status["code"]
        .as_u64()
        .and_then(|code| u16::try_from(code).ok());
    let code = code.filter(|code| (400..600).contains(code)).unwrap_or(403);
    let reason = if code == 403 { "Forbidden" } else { "" };
    Status::new(
        code,
        reason,
        format!("admission webhook \"{name}\" denied {why}"),
    )
}
