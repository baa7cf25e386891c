//! Label selectors and field selectors: as strings in a query, and as objects in a specification.

use serde_json::Value;

use super::{object::Object as _, resources::Resource, status::Status};

/// One condition on a label, or on a field read as a string.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

/// All conditions on an object's labels; none of them means every object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LabelSelector(Vec<Requirement>);

/// All conditions on an object's fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FieldSelector(Vec<Requirement>);

impl LabelSelector {
    /// Parses `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    pub(crate) fn parse(text: &str) -> Result<Self, Status> {
        let unparsable = |part: &str| {
            Status::bad_request(format!(
                "unable to parse requirement: found '{part}', expected: label, !label, =, ==, !=, in (…) or notin (…)"
            ))
        };
        let parts = split_outside_parentheses(text);
        let requirements = parts.into_iter().filter(|part| !part.is_empty());
        requirements
            .map(|part| requirement(part).ok_or_else(|| unparsable(part)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// A `metav1.LabelSelector`: null and `{}` select everything.
    pub(crate) fn from_object(selector: &Value) -> Self {
        let labels = selector["matchLabels"].as_object();
        let exact = labels
            .into_iter()
            .flatten()
            .map(|(key, value)| Requirement {
                key: key.clone(),
                operator: Operator::In(vec![value.as_str().unwrap_or("").to_owned()]),
            });
        let expressions = selector.items("/matchExpressions").iter().map(|one| {
            let values = one.items("/values").iter();
            let values = values
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect();
            Requirement {
                key: one.text("/key").to_owned(),
                operator: match one.text("/operator") {
                    "NotIn" => Operator::NotIn(values),
                    "Exists" => Operator::Exists,
                    "DoesNotExist" => Operator::DoesNotExist,
                    _ => Operator::In(values),
                },
            }
        });
        Self(exact.chain(expressions).collect())
    }

    /// Whether `object`'s `metadata.labels` meet every condition.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.matches_labels(object.pointer("/metadata/labels").unwrap_or(&Value::Null))
    }

    /// Whether a map of labels meets every condition.
    pub(crate) fn matches_labels(&self, labels: &Value) -> bool {
        self.0.iter().all(|one| {
            one.operator
                .holds(labels.get(&one.key).and_then(Value::as_str))
        })
    }
}

impl FieldSelector {
    /// Parses `metadata.name=a,status.phase!=Running` for objects of `resource`.
    pub(crate) fn parse(resource: &Resource, text: &str) -> Result<Self, Status> {
        let mut requirements = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let invalid = || {
                Status::bad_request(format!(
                    "invalid selector: '{text}'; can't understand '{part}'"
                ))
            };
            let (key, value, negated) = equation(part).ok_or_else(invalid)?;
            if !field_is_known(resource, key) {
                return Err(Status::bad_request(format!(
                    "Unable to find \"{}/{}, Resource={}\" that match label selector \"\", field selector \"{text}\": field label not supported: {key}",
                    resource.group, resource.version, resource.plural,
                )));
            }
            let values = vec![value.to_owned()];
            requirements.push(Requirement {
                key: format!("/{}", key.replace('.', "/")),
                operator: if negated {
                    Operator::NotIn(values)
                } else {
                    Operator::In(values)
                },
            });
        }
        Ok(Self(requirements))
    }

    /// Whether `object`'s fields meet every condition; a missing field is "".
    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|one| {
            let value = match object.pointer(&one.key) {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            };
            one.operator.holds(Some(&value))
        })
    }
}

impl Operator {
    fn holds(&self, value: Option<&str>) -> bool {
        match self {
            Self::In(values) => value.is_some_and(|value| values.iter().any(|one| one == value)),
            Self::NotIn(values) => value.is_none_or(|value| values.iter().all(|one| one != value)),
            Self::Exists => value.is_some(),
            Self::DoesNotExist => value.is_none(),
        }
    }
}

/// The fields a real server indexes, as far as somebody here selects by them, besides name and
/// namespace.
fn field_is_known(resource: &Resource, field: &str) -> bool {
    let known: &[&str] = match resource.id() {
        ("", "pods") => &["spec.nodeName", "status.phase", "status.podIP"],
        ("", "events") => &[
            "involvedObject.kind",
            "involvedObject.name",
            "involvedObject.uid",
            "reason",
            "type",
        ],
        ("", "secrets") => &["type"],
        _ => &[],
    };
    ["metadata.name", "metadata.namespace"].contains(&field) || known.contains(&field)
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut depth = 0;
    text.split(move |character| {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        character == ',' && depth == 0
    })
    .map(str::trim)
    .collect()
}

fn equation(part: &str) -> Option<(&str, &str, bool)> {
    let (key, value, negated) = if let Some((key, value)) = part.split_once("!=") {
        (key, value, true)
    } else if let Some((key, value)) = part.split_once("==") {
        (key, value, false)
    } else {
        let (key, value) = part.split_once('=')?;
        (key, value, false)
    };
    Some((key.trim(), value.trim(), negated))
}

fn requirement(part: &str) -> Option<Requirement> {
    let (key, operator) = if let Some((key, value, negated)) = equation(part) {
        let values = vec![value.to_owned()];
        let operator = if negated {
            Operator::NotIn(values)
        } else {
            Operator::In(values)
        };
        (key, operator)
    } else if let Some(list) = part.strip_suffix(')') {
        let (head, list) = list.split_once('(')?;
        let (key, word) = head.trim().rsplit_once(char::is_whitespace)?;
        let values = list
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect();
        let operator = match word {
            "in" => Operator::In(values),
            "notin" => Operator::NotIn(values),
            _ => return None,
        };
        (key.trim(), operator)
    } else if let Some(key) = part.strip_prefix('!') {
        (key.trim(), Operator::DoesNotExist)
    } else {
        (part, Operator::Exists)
    };
    let key_is_plain = !key.is_empty()
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    key_is_plain.then(|| Requirement {
        key: key.to_owned(),
        operator,
    })
}

#[cfg(test)]
mod tests;
