//! The kinds of patch: JSON patch (RFC 6902), merge patch (RFC 7396), Kubernetes' strategic merge
//! patch, and server-side apply.

pub(crate) mod apply;
mod strategic;

use serde_json::Value;

use super::status::Status;

/// What `Content-Type` says the body of a PATCH is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatchKind {
    Json,
    Merge,
    Strategic,
    Apply,
}

/// The content types of patches, for the refusal of others.
const KNOWN: &str = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";

impl PatchKind {
    /// Parses a `Content-Type`, parameters and all.
    pub(crate) fn parse(content_type: &str) -> Result<Self, Status> {
        match content_type.split(';').next().unwrap_or("").trim() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic),
            "application/apply-patch+yaml" => Ok(Self::Apply),
            _ => Err(Status::unsupported_media_type(KNOWN)),
        }
    }
}

/// `object`, which is of `kind`, after `patch`. Server-side apply is not done here.
pub(crate) fn patched(
    how: PatchKind,
    kind: &str,
    object: &Value,
    patch: &Value,
) -> Result<Value, Status> {
    let mut patched = object.clone();
    match how {
        PatchKind::Json => {
            let operations: json_patch::Patch = serde_json::from_value(patch.clone())
                .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
            json_patch::patch(&mut patched, &operations)
                .map_err(|_| Status::patch_does_not_apply())?;
        }
        PatchKind::Merge => json_patch::merge(&mut patched, patch),
        PatchKind::Strategic => strategic::merge(kind, &mut patched, patch)?,
        PatchKind::Apply => unreachable!("the caller applies server-side"),
    }
    if !patched.is_object() {
        return Err(Status::patch_does_not_apply());
    }
    Ok(patched)
}
