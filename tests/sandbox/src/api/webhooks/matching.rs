//! Whether a webhook is asked about a write: rules, selectors and CEL match conditions.

use std::sync::{Arc, LazyLock};

use cel::{Env, Program, extensions};
use serde_json::Value;

use super::Attributes;
use crate::api::{Cluster, object::Object as _, resources, selector::LabelSelector, store::Key};

/// What expressions may use: the standard library, optional values and string functions.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    env.add_extension(extensions::strings)
        .expect("nothing of that name is defined yet");
    Arc::new(env)
});

/// Parses a CEL expression; the error says where it is wrong.
pub(crate) fn compile(expression: &str) -> Result<Program, String> {
    ENVIRONMENT
        .compile(expression)
        .map_err(|error| error.to_string())
}

/// Whether `hook` wants to see the write of `object`; an error if its conditions can't be told.
pub(super) fn matches(
    cluster: &Cluster,
    attributes: &Attributes<'_>,
    hook: &Value,
    object: &Value,
) -> Result<bool, String> {
    let by_rule = hook
        .items("/rules")
        .iter()
        .any(|rule| rule_matches(rule, attributes));
    let object_selector = LabelSelector::from_object(&hook["objectSelector"]);
    let by_object = object_selector.matches(object)
        || (attributes.old.is_object() && object_selector.matches(attributes.old));
    if !by_rule || !by_object || !namespace_matches(cluster, attributes, hook, object) {
        return Ok(false);
    }
    conditions_match(attributes, hook, object)
}

fn rule_matches(rule: &Value, attributes: &Attributes<'_>) -> bool {
    let target = &attributes.call.target;
    let has = |field: &str, wanted: &str| {
        rule.items(field)
            .iter()
            .any(|one| one == "*" || one == wanted)
    };
    let scope = match rule.text("/scope") {
        "Namespaced" => target.resource.namespaced,
        "Cluster" => !target.resource.namespaced,
        _ => true,
    };
    scope
        && has("/operations", attributes.operation)
        && has("/apiGroups", target.resource.group)
        && has("/apiVersions", target.resource.version)
        && rule
            .items("/resources")
            .iter()
            .filter_map(Value::as_str)
            .any(|pattern| {
                let (resource, subresource) = pattern.split_once('/').unwrap_or((pattern, ""));
                (resource == "*" || resource == target.resource.plural)
                    && (subresource == target.subresource || subresource == "*")
            })
}

/// Objects in no namespace are not held to the namespace selector, namespaces by their own labels.
fn namespace_matches(
    cluster: &Cluster,
    attributes: &Attributes<'_>,
    hook: &Value,
    object: &Value,
) -> bool {
    let selector = LabelSelector::from_object(&hook["namespaceSelector"]);
    let target = &attributes.call.target;
    if target.resource.id() == ("", "namespaces") {
        return selector.matches(object);
    }
    if !target.resource.namespaced {
        return true;
    }
    let key = Key::new(resources::core("namespaces"), "", &target.namespace);
    cluster
        .store
        .get(&key)
        .is_some_and(|namespace| selector.matches(&namespace))
}

fn conditions_match(
    attributes: &Attributes<'_>,
    hook: &Value,
    object: &Value,
) -> Result<bool, String> {
    let conditions = hook.items("/matchConditions");
    if conditions.is_empty() {
        return Ok(true);
    }
    let mut review = attributes.review("", object);
    let mut request = review["request"].take();
    request.take_out("/object");
    request.take_out("/oldObject");
    let mut context = cel::Context::with_env(Arc::clone(&ENVIRONMENT));
    for (name, value) in [
        ("object", object),
        ("oldObject", attributes.old),
        ("request", &request),
    ] {
        context
            .add_variable(name, value)
            .map_err(|error| format!("match conditions: {name} is no CEL value: {error}"))?;
    }
    let mut errors = Vec::new();
    for condition in conditions {
        let name = condition.text("/name");
        let result = compile(condition.text("/expression"))
            .and_then(|program| program.execute(&context).map_err(|error| error.to_string()));
        match result {
            // One that doesn't hold outweighs any that fail.
            Ok(cel::Value::Bool(false)) => return Ok(false),
            Ok(cel::Value::Bool(true)) => {}
            Ok(other) => errors.push(format!(
                "match condition \"{name}\" is {other:?}, not true or false"
            )),
            Err(error) => errors.push(format!("match condition \"{name}\": {error}")),
        }
    }
    if errors.is_empty() {
        Ok(true)
    } else {
        Err(errors.join(", "))
    }
}
