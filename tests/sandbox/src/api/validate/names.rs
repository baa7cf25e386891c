//! Names, labels and annotations.

use serde_json::Value;

use crate::api::{object::Object as _, resources::Resource, status::FieldError};

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

/// RFC 1123 label, at most 63 characters.
pub(super) fn is_label(name: &str) -> bool {
    name.len() <= 63
        && is_made_of(
            name,
            |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit(),
            b"-",
        )
}

/// RFC 1123 subdomain, at most 253 characters.
pub(super) fn is_subdomain(name: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= 253 && name.split('.').all(|label| is_made_of(label, plain, b"-"))
}

/// The refusal of a name that isn't a label.
pub(super) fn not_a_label(field: impl Into<String>, name: &Value) -> FieldError {
    FieldError::invalid(field, name, LABEL)
}

/// Everything that is wrong with `metadata`.
pub(super) fn metadata(resource: &Resource, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = object.name();
    let value = &object["metadata"]["name"];
    match resource.id() {
        _ if name.is_empty() => {
            let why = "name or generateName is required";
            errors.push(FieldError::required("metadata.name", why));
        }
        ("", "services" | "namespaces") if !is_label(name) => {
            errors.push(not_a_label("metadata.name", value));
        }
        // Their names may hold colons, such as `system:node`.
        ("rbac.authorization.k8s.io", _) => {}
        _ if !is_subdomain(name) => {
            errors.push(FieldError::invalid("metadata.name", value, SUBDOMAIN));
        }
        _ => {}
    }
    for (key, value) in object["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten()
    {
        let text = value.as_str().unwrap_or("");
        if !is_qualified(key) {
            errors.push(FieldError::invalid(
                "metadata.labels",
                &key.as_str().into(),
                QUALIFIED,
            ));
        }
        if !text.is_empty() && !is_name_part(text) {
            errors.push(FieldError::invalid("metadata.labels", value, LABEL_VALUE));
        }
    }
    for (key, _) in object["metadata"]["annotations"]
        .as_object()
        .into_iter()
        .flatten()
    {
        if !is_qualified(&key.to_lowercase()) {
            errors.push(FieldError::invalid(
                "metadata.annotations",
                &key.as_str().into(),
                QUALIFIED,
            ));
        }
    }
    errors
}

fn is_qualified(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_name_part(name),
        None => is_name_part(key),
    }
}

fn is_name_part(name: &str) -> bool {
    name.len() <= 63 && is_made_of(name, u8::is_ascii_alphanumeric, b"-_.")
}

/// Whether `name` consists of `plain` bytes, with some of `inner` between the first and the last.
fn is_made_of(name: &str, plain: impl Fn(&u8) -> bool, inner: &[u8]) -> bool {
    let bytes = name.as_bytes();
    bytes.first().is_some_and(&plain)
        && bytes.last().is_some_and(&plain)
        && bytes.iter().all(|byte| plain(byte) || inner.contains(byte))
}
