//! What can be wrong with a field, in the words of a real server.

use serde_json::Value;

/// One thing that is wrong with a field of the object, as `details.causes` reports it.
#[derive(Debug, Clone)]
pub(crate) struct FieldError {
    pub(super) reason: &'static str,
    pub(super) field: String,
    pub(super) message: String,
}

impl FieldError {
    /// The field must be given.
    pub(crate) fn required(field: impl Into<String>, why: &str) -> Self {
        let colon = if why.is_empty() { "" } else { ": " };
        Self::new(
            "FieldValueRequired",
            field,
            format!("Required value{colon}{why}"),
        )
    }

    /// The field's value isn't one it may have.
    pub(crate) fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        Self::new(
            "FieldValueInvalid",
            field,
            format!("Invalid value: {value}: {why}"),
        )
    }

    /// The value occurs a second time where it must be unique.
    pub(crate) fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self::new(
            "FieldValueDuplicate",
            field,
            format!("Duplicate value: {value}"),
        )
    }

    /// The value names something that isn't there.
    pub(crate) fn not_found(field: impl Into<String>, value: &str) -> Self {
        Self::new(
            "FieldValueNotFound",
            field,
            format!("Not found: \"{value}\""),
        )
    }

    /// The value isn't one of a known few.
    pub(crate) fn unsupported(field: impl Into<String>, value: &str, known: &[&str]) -> Self {
        let known: Vec<String> = known.iter().map(|one| format!("\"{one}\"")).collect();
        let message = format!(
            "Unsupported value: \"{value}\": supported values: {}",
            known.join(", ")
        );
        Self::new("FieldValueNotSupported", field, message)
    }

    /// The field may not be set, or changed, here.
    pub(crate) fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self::new("FieldValueForbidden", field, format!("Forbidden: {why}"))
    }

    fn new(reason: &'static str, field: impl Into<String>, message: String) -> Self {
        let field = field.into();
        Self {
            reason,
            field,
            message,
        }
    }
}
