//! The `Status` bodies that answer a request which was refused.

mod field_error;

use serde_json::{Map, Value, json};

pub(crate) use self::field_error::FieldError;
use super::resources::Resource;

/// A refusal: the HTTP status, and the `metav1.Status` that explains it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Status {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    details: Option<Value>,
}

impl Status {
    /// A refusal without details.
    pub(crate) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            code,
            reason,
            message,
            details: None,
        }
    }

    /// 400: the request can't be understood.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401: who are you?
    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403: you may not.
    pub(crate) fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let named = if name.is_empty() {
            resource.qualified()
        } else {
            format!("{} \"{name}\"", resource.qualified())
        };
        Self::about(
            resource,
            name,
            403,
            "Forbidden",
            format!("{named} is forbidden: {why}"),
        )
    }

    /// 404: no such object.
    pub(crate) fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.qualified());
        Self::about(resource, name, 404, "NotFound", message)
    }

    /// 404: no such path, which is also what an unknown kind is.
    pub(crate) fn no_such_path() -> Self {
        let message = "the server could not find the requested resource";
        Self::new(404, "NotFound", message).with(json!({}))
    }

    /// 405: the resource doesn't do that.
    pub(crate) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message).with(json!({}))
    }

    /// 409: an object of that name exists.
    pub(crate) fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource.qualified());
        Self::about(resource, name, 409, "AlreadyExists", message)
    }

    /// 409: somebody else changed the object in between.
    pub(crate) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {why}",
            resource.qualified()
        );
        Self::about(resource, name, 409, "Conflict", message)
    }

    /// 409: the object isn't the one, or the version, that was meant.
    pub(crate) fn stale(resource: &Resource, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 409 of a server-side apply: another manager applied this field with another value.
    pub(crate) fn apply_conflict(manager: &str, field: &str) -> Self {
        let conflict = format!("conflict with \"{manager}\"");
        let message = format!("Apply failed with 1 conflict: {conflict}: {field}");
        let cause = json!({"reason": "FieldManagerConflict", "message": conflict, "field": field});
        Self::new(409, "Conflict", message).with(json!({"causes": [cause]}))
    }

    /// 410: that version is no longer remembered.
    pub(crate) fn expired(asked: u64, oldest: u64) -> Self {
        Self::new(
            410,
            "Expired",
            format!("too old resource version: {asked} ({oldest})"),
        )
    }

    /// 410: what there was when the list was begun is no longer remembered.
    pub(crate) fn expired_continue() -> Self {
        let message = "The provided continue parameter is too old to display a consistent list \
            result. You can start a new list without the continue parameter.";
        Self::new(410, "Expired", message)
    }

    /// 415: the body is in a format that isn't understood.
    pub(crate) fn unsupported_media_type(known: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {known}"
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 422: the object is well-formed but breaks a rule.
    pub(crate) fn invalid(resource: &Resource, name: &str, errors: &[FieldError]) -> Self {
        let list: Vec<String> = errors
            .iter()
            .map(|error| format!("{}: {}", error.field, error.message))
            .collect();
        let list = if let [one] = list.as_slice() {
            one.clone()
        } else {
            format!("[{}]", list.join(", "))
        };
        let kind = if resource.group.is_empty() {
            resource.kind.to_owned()
        } else {
            format!("{}.{}", resource.kind, resource.group)
        };
        let causes: Vec<Value> = errors
            .iter()
            .map(|error| json!({"reason": error.reason, "message": error.message, "field": error.field}))
            .collect();
        let mut status = Self::about(
            resource,
            name,
            422,
            "Invalid",
            format!("{kind} \"{name}\" is invalid: {list}"),
        );
        let details = status.details.get_or_insert_default();
        details["kind"] = resource.kind.into();
        details["causes"] = causes.into();
        status
    }

    /// 422: a patch that doesn't apply.
    pub(crate) fn patch_does_not_apply() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self::new(422, "Invalid", message).with(json!({}))
    }

    /// 500.
    pub(crate) fn internal(message: impl std::fmt::Display) -> Self {
        let details = json!({"causes": [{"message": message.to_string()}]});
        let message = format!("Internal error occurred: {message}");
        Self::new(500, "InternalError", message).with(details)
    }

    /// 502 or 503: what the request is passed on to doesn't answer.
    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    /// The `metav1.Status` to send.
    pub(crate) fn body(&self) -> Value {
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if let Some(details) = &self.details {
            body["details"] = details.clone();
        }
        body
    }

    fn about(
        resource: &Resource,
        name: &str,
        code: u16,
        reason: &'static str,
        message: String,
    ) -> Self {
        Self::new(code, reason, message).with(details(resource, name))
    }

    fn with(self, details: Value) -> Self {
        Self {
            details: Some(details),
            ..self
        }
    }
}

/// `details` naming an object: empty parts are left out.
pub(crate) fn details(resource: &Resource, name: &str) -> Value {
    let mut details = Map::new();
    for (key, value) in [
        ("name", name),
        ("group", resource.group),
        ("kind", resource.plural),
    ] {
        if !value.is_empty() {
            details.insert(key.into(), value.into());
        }
    }
    details.into()
}
