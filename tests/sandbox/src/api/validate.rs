//! The rules an object must keep; those of a real API server that clients run into.

mod names;
mod pod;
mod service;

use serde_json::Value;

use super::{
    object::Object as _,
    resources::Resource,
    status::{FieldError, Status},
};

/// Checks a new object, or one that is to take the place of `old`.
pub(crate) fn check(
    resource: &Resource,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let mut errors = names::metadata(resource, object);
    match resource.id() {
        ("", "pods") => {
            errors.extend(match old {
                None => pod::spec("spec", &object["spec"]),
                Some(old) => pod::update(&object["spec"], &old["spec"]),
            });
        }
        ("", "services") => errors.extend(service::check(object, old)),
        ("apps", _) => errors.extend(workload(object, old)),
        ("batch", "jobs") => errors.extend(job(object, old)),
        ("admissionregistration.k8s.io", _) => errors.extend(webhooks(object)),
        ("discovery.k8s.io", _) => errors.extend(service::slice(object, old)),
        ("", "endpoints") => errors.extend(service::endpoints(object)),
        ("rbac.authorization.k8s.io", _) => errors.extend(role_ref(object, old)),
        _ => {}
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(resource, object.name(), &errors))
}

fn workload(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let selector = &object["spec"]["selector"];
    if selector["matchLabels"].is_null() && selector["matchExpressions"].is_null() {
        errors.push(FieldError::required("spec.selector", ""));
    }
    let labels = super::selector::LabelSelector::from_object(selector);
    let template = &object["spec"]["template"];
    if !labels.matches(template) {
        errors.push(FieldError::invalid(
            "spec.template.metadata.labels",
            &template["metadata"]["labels"],
            "`selector` does not match template `labels`",
        ));
    }
    if object["spec"]["replicas"]
        .as_i64()
        .is_some_and(|replicas| replicas < 0)
    {
        errors.push(FieldError::invalid(
            "spec.replicas",
            &object["spec"]["replicas"],
            "must be greater than or equal to 0",
        ));
    }
    if old.is_some_and(|old| old["spec"]["selector"] != *selector) {
        errors.push(FieldError::invalid(
            "spec.selector",
            selector,
            "field is immutable",
        ));
    }
    let restart = template.text("/spec/restartPolicy");
    if restart != "Always" {
        errors.push(FieldError::unsupported(
            "spec.template.spec.restartPolicy",
            restart,
            &["Always"],
        ));
    }
    errors.extend(pod::spec("spec.template.spec", &template["spec"]));
    errors
}

fn job(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let template = &object["spec"]["template"];
    let spec = &template["spec"];
    let mut errors = pod::spec("spec.template.spec", spec);
    if old.is_some_and(|old| old["spec"]["template"] != *template) {
        errors.push(FieldError::invalid(
            "spec.template",
            template,
            "field is immutable",
        ));
    }
    let restart = spec.text("/restartPolicy");
    if !matches!(restart, "Never" | "OnFailure") {
        let field = "spec.template.spec.restartPolicy";
        errors.push(if restart.is_empty() {
            FieldError::required(field, "valid values: \"OnFailure\", \"Never\"")
        } else {
            FieldError::unsupported(field, restart, &["OnFailure", "Never"])
        });
    }
    errors
}

fn webhooks(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, webhook) in object.items("/webhooks").iter().enumerate() {
        let at = format!("webhooks[{index}]");
        if webhook
            .text("/name")
            .split('.')
            .filter(|part| !part.is_empty())
            .count()
            < 3
        {
            errors.push(FieldError::invalid(
                format!("{at}.name"),
                &webhook["name"],
                "should be a domain with at least three segments separated by dots",
            ));
        }
        if webhook
            .items("/admissionReviewVersions")
            .iter()
            .all(|version| version != "v1")
        {
            let why = "must specify at least one of v1, v1beta1";
            errors.push(FieldError::required(
                format!("{at}.admissionReviewVersions"),
                why,
            ));
        }
        let side_effects = webhook.text("/sideEffects");
        if !matches!(side_effects, "None" | "NoneOnDryRun") {
            errors.push(FieldError::unsupported(
                format!("{at}.sideEffects"),
                side_effects,
                &["None", "NoneOnDryRun"],
            ));
        }
        let client = &webhook["clientConfig"];
        if client["url"].is_null() == client["service"].is_null() {
            let why = "exactly one of url or service is required";
            errors.push(FieldError::required(format!("{at}.clientConfig"), why));
        }
        if !(1..=30).contains(&webhook["timeoutSeconds"].as_i64().unwrap_or(10)) {
            errors.push(FieldError::invalid(
                format!("{at}.timeoutSeconds"),
                &webhook["timeoutSeconds"],
                "the timeout value must be between 1 and 30 seconds",
            ));
        }
        for (position, condition) in webhook.items("/matchConditions").iter().enumerate() {
            if let Err(error) = super::webhooks::compile(condition.text("/expression")) {
                errors.push(FieldError::invalid(
                    format!("{at}.matchConditions[{position}].expression"),
                    &condition["expression"],
                    &format!("compilation failed: {error}"),
                ));
            }
        }
    }
    errors
}

fn role_ref(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    match old {
        Some(old) if old["roleRef"] != object["roleRef"] => {
            vec![FieldError::invalid(
                "roleRef",
                &object["roleRef"],
                "cannot change roleRef",
            )]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
