//! Label selectors and field selectors: as strings in a query, and as objects in a specification.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as Specified;
use kube::core::{Expression, Selector, SelectorExt as _};
use serde::Deserialize as _;
use serde_json::Value;

use super::{object::Object as _, resources::Resource, status::Status};

/// All conditions on an object's labels; none of them means every object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LabelSelector(Selector);

/// All conditions on an object's fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FieldSelector(Vec<FieldIs>);

/// That the field at this JSON pointer has this value, or has it not.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldIs {
    pointer: String,
    value: String,
    negated: bool,
}

impl LabelSelector {
    /// Parses `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    pub(crate) fn parse(text: &str) -> Result<Self, Status> {
        let unparsable = |part: &str| {
            Status::bad_request(format!(
                "unable to parse requirement: found '{part}', expected: label, !label, =, ==, !=, in (…) or notin (…)"
            ))
        };
        let parts = split_outside_parentheses(text);
        let expressions = parts.into_iter().filter(|part| !part.is_empty());
        expressions
            .map(|part| expression(part).ok_or_else(|| unparsable(part)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// A `metav1.LabelSelector`: null and `{}` select everything, what is none selects nothing.
    pub(crate) fn from_object(selector: &Value) -> Self {
        if selector.is_null() {
            return Self::default();
        }
        let selector = Specified::deserialize(selector).ok();
        let selector = selector.and_then(|specified| specified.try_into().ok());
        let nothing = || Expression::In(String::new(), BTreeSet::new()).into();
        Self(selector.unwrap_or_else(nothing))
    }

    /// Whether `object`'s `metadata.labels` meet every condition.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.matches_labels(object.pointer("/metadata/labels").unwrap_or(&Value::Null))
    }

    /// Whether a map of labels meets every condition.
    pub(crate) fn matches_labels(&self, labels: &Value) -> bool {
        let labels = BTreeMap::deserialize(labels).unwrap_or_default();
        self.0.matches(&labels)
    }
}

impl FieldSelector {
    /// Parses `metadata.name=a,status.phase!=Running` for objects of `resource`.
    pub(crate) fn parse(resource: &Resource, text: &str) -> Result<Self, Status> {
        let mut conditions = Vec::new();
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
            conditions.push(FieldIs {
                pointer: format!("/{}", key.replace('.', "/")),
                value: value.to_owned(),
                negated,
            });
        }
        Ok(Self(conditions))
    }

    /// Whether `object`'s fields meet every condition; a missing field is "".
    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|one| {
            // All fields that are known are strings.
            let is = object.text(&one.pointer) == one.value;
            is != one.negated
        })
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

fn expression(part: &str) -> Option<Expression> {
    if let Some((key, value, negated)) = equation(part) {
        let (key, value) = (label(key)?, value.to_owned());
        return Some(if negated {
            Expression::NotEqual(key, value)
        } else {
            Expression::Equal(key, value)
        });
    }
    if let Some(list) = part.strip_suffix(')') {
        let (head, list) = list.split_once('(')?;
        let (key, word) = head.trim().rsplit_once(char::is_whitespace)?;
        let values = list.split(',').map(|value| value.trim().to_owned());
        return match word {
            "in" => Some(Expression::In(label(key)?, values.collect())),
            "notin" => Some(Expression::NotIn(label(key)?, values.collect())),
            _ => None,
        };
    }
    match part.strip_prefix('!') {
        Some(key) => label(key).map(Expression::DoesNotExist),
        None => label(part).map(Expression::Exists),
    }
}

/// The name of a label, if it can be one.
fn label(key: &str) -> Option<String> {
    let key = key.trim();
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    (!key.is_empty() && key.chars().all(is_part)).then(|| key.to_owned())
}

#[cfg(test)]
mod tests;
