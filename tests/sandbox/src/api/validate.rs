//! The rules an object must keep: those of a real API server that refuse what Netting, or its
//! patches, could get wrong.

mod cron_job;
mod names;
mod pod;
mod service;

use serde_json::Value;

use super::{
    object::Object as _,
    resources::Resource,
    selector::LabelSelector,
    status::{FieldError, Status},
};

/// Checks a new object, or one that is to take the place of `old`.
pub(crate) fn check(
    resource: &Resource,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let mut errors = names::metadata(resource, object);
    errors.extend(match (resource.id(), old) {
        (("", "pods"), None) => pod::spec("spec", &object["spec"]),
        (("", "pods"), Some(old)) => pod::update(&object["spec"], &old["spec"]),
        (("", "services"), _) => service::check(object, old),
        (("discovery.k8s.io", _), _) => service::slice(object),
        (("apps", _), _) => workload(object, old),
        (("batch", "cronjobs"), _) => cron_job::check(object),
        (("batch", _), _) => pod::spec("spec.template.spec", &object["spec"]["template"]["spec"]),
        (("admissionregistration.k8s.io", _), _) => webhooks(object),
        _ => Vec::new(),
    });
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(resource, object.name(), &errors))
}

fn workload(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let selector = &object["spec"]["selector"];
    let template = &object["spec"]["template"];
    let mut errors = pod::spec("spec.template.spec", &template["spec"]);
    if selector["matchLabels"].is_null() && selector["matchExpressions"].is_null() {
        errors.push(FieldError::required("spec.selector", ""));
    }
    if !LabelSelector::from_object(selector).matches(template) {
        let labels = &template["metadata"]["labels"];
        let why = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid(
            "spec.template.metadata.labels",
            labels,
            why,
        ));
    }
    if old.is_some_and(|old| old["spec"]["selector"] != *selector) {
        errors.push(FieldError::invalid(
            "spec.selector",
            selector,
            "field is immutable",
        ));
    }
    errors
}

fn webhooks(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, webhook) in object.items("/webhooks").iter().enumerate() {
        let at = |field: &str| format!("webhooks[{index}].{field}");
        if webhook
            .text("/name")
            .split('.')
            .filter(|part| !part.is_empty())
            .count()
            < 3
        {
            let why = "should be a domain with at least three segments separated by dots";
            errors.push(FieldError::invalid(at("name"), &webhook["name"], why));
        }
        if !webhook
            .items("/admissionReviewVersions")
            .iter()
            .any(|version| version == "v1")
        {
            let why = "must specify at least one of v1, v1beta1";
            errors.push(FieldError::required(at("admissionReviewVersions"), why));
        }
        let (side_effects, known) = (webhook.text("/sideEffects"), ["None", "NoneOnDryRun"]);
        if !known.contains(&side_effects) {
            errors.push(FieldError::unsupported(
                at("sideEffects"),
                side_effects,
                &known,
            ));
        }
        let client = &webhook["clientConfig"];
        if client["url"].is_null() == client["service"].is_null() {
            let why = "exactly one of url or service is required";
            errors.push(FieldError::required(at("clientConfig"), why));
        }
        if !(1..=30).contains(&webhook.integer("/timeoutSeconds").unwrap_or(10)) {
            let why = "the timeout value must be between 1 and 30 seconds";
            errors.push(FieldError::invalid(
                at("timeoutSeconds"),
                &webhook["timeoutSeconds"],
                why,
            ));
        }
        for (position, condition) in webhook.items("/matchConditions").iter().enumerate() {
            if let Err(error) = super::webhooks::compile(condition.text("/expression")) {
                let field = at(&format!("matchConditions[{position}].expression"));
                let why = format!("compilation failed: {error}");
                errors.push(FieldError::invalid(field, &condition["expression"], &why));
            }
        }
    }
    errors
}

#[cfg(test)]
mod tests;
