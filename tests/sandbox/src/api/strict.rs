//! Checks a body against the Go type it would be decoded into: types always, unknown fields as
//! `fieldValidation` asks.

use serde_json::Value;

use super::{call::Call, resources::Resource, status::Status};

/// Refuses an object whose fields have the wrong types. Unknown fields are refused, warned of (the
/// default) or ignored.
pub(crate) fn check(call: &Call, resource: &Resource, object: &Value) -> Result<(), Status> {
    let refuse = |why: String| {
        Status::bad_request(format!(
            "{} in version \"{}\" cannot be handled as a {}: {why}",
            resource.kind, resource.version, resource.kind
        ))
    };
    let known = (resource.round_trip)(object).map_err(|error| refuse(error.to_string()))?;
    let mut unknown = Vec::new();
    compare(object, &known, &mut String::new(), &mut unknown);
    if unknown.is_empty() {
        return Ok(());
    }
    match call.query.get("fieldValidation") {
        "Ignore" => {}
        "Strict" => {
            return Err(refuse(format!(
                "strict decoding error: {}",
                unknown.join(", ")
            )));
        }
        _ => unknown.into_iter().for_each(|one| call.warn(one)),
    }
    Ok(())
}

/// Collects the fields of `given` that `known` lacks. Empty values may be left out of `known`.
fn compare(given: &Value, known: &Value, path: &mut String, unknown: &mut Vec<String>) {
    let length = path.len();
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            for (key, value) in given {
                if length > 0 {
                    path.push('.');
                }
                path.push_str(key);
                match known.get(key) {
                    Some(known) => compare(value, known, path, unknown),
                    None if is_empty(value) => {}
                    None => unknown.push(format!("unknown field \"{path}\"")),
                }
                path.truncate(length);
            }
        }
        (Value::Array(given), Value::Array(known)) => {
            for (index, (given, known)) in given.iter().zip(known).enumerate() {
                path.push_str(&format!("[{index}]"));
                compare(given, known, path, unknown);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}
