//! Names, labels and annotations.

use serde_json::Value;

use crate::api::{object::Object as _, resources::Resource, status::FieldError};

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
/// Of all annotations of an object together, keys and values.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

/// RFC 1123 label, at most 63 characters.
pub(super) fn is_label(name: &str) -> bool {
    let bytes = name.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    bytes.len() <= 63
        && bytes.first().is_some_and(plain)
        && bytes.last().is_some_and(plain)
        && bytes.iter().all(|byte| plain(byte) || *byte == b'-')
}

/// RFC 1123 subdomain, at most 253 characters.
pub(super) fn is_subdomain(name: &str) -> bool {
    name.len() <= 253
        && name
            .split('.')
            .all(|label| is_label(label) || (label.len() > 63 && is_long_label(label)))
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
            errors.push(FieldError::required(
                "metadata.name",
                "name or generateName is required",
            ));
        }
        ("", "services" | "namespaces") if !is_label(name) => {
            errors.push(not_a_label("metadata.name", value));
        }
        ("rbac.authorization.k8s.io", _)
            if name.contains(['/', '%']) || name == "." || name == ".." =>
        {
            errors.push(FieldError::invalid(
                "metadata.name",
                value,
                "may not contain '/' or '%'",
            ));
        }
        ("rbac.authorization.k8s.io", _) => {}
        _ if !is_subdomain(name) => {
            errors.push(FieldError::invalid("metadata.name", value, SUBDOMAIN));
        }
        _ => {}
    }
    let labels = object["metadata"]["labels"].as_object();
    for (key, value) in labels.into_iter().flatten() {
        if !is_qualified(key) {
            errors.push(FieldError::invalid(
                "metadata.labels",
                &key.as_str().into(),
                QUALIFIED,
            ));
        }
        if !is_label_value(value.as_str().unwrap_or("")) {
            errors.push(FieldError::invalid("metadata.labels", value, LABEL_VALUE));
        }
    }
    let annotations = object["metadata"]["annotations"].as_object();
    let mut bytes = 0;
    for (key, value) in annotations.into_iter().flatten() {
        bytes += key.len() + value.as_str().map_or(0, str::len);
        if !is_qualified(&key.to_lowercase()) {
            errors.push(FieldError::invalid(
                "metadata.annotations",
                &key.as_str().into(),
                QUALIFIED,
            ));
        }
    }
    if bytes > ANNOTATIONS_BYTES_MAX {
        let why = format!("may not be more than {ANNOTATIONS_BYTES_MAX} bytes");
        errors.push(FieldError::forbidden("metadata.annotations", &why));
    }
    errors
}

fn is_long_label(label: &str) -> bool {
    label
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn is_label_value(value: &str) -> bool {
    value.is_empty() || (value.len() <= 63 && is_name_part(value))
}

fn is_qualified(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && name.len() <= 63 && is_name_part(name),
        None => key.len() <= 63 && is_name_part(key),
    }
}

fn is_name_part(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}
