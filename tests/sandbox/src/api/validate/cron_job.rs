//! CronJobs.

use serde_json::Value;

use super::pod;
use crate::api::{object::Object as _, schedule::Schedule, status::FieldError};

/// A Job's name has a dash and ten digits more at most, and must do as a label's value.
const NAME_MAX: usize = 52;

/// Everything that is wrong with a CronJob.
pub(super) fn check(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = &object["spec"];
    if object.name().len() > NAME_MAX {
        let why = format!("must be no more than {NAME_MAX} characters");
        errors.push(FieldError::invalid(
            "metadata.name",
            &object["metadata"]["name"],
            &why,
        ));
    }
    match spec.text("/schedule") {
        "" => errors.push(FieldError::required("spec.schedule", "")),
        text => {
            if let Err(why) = Schedule::parse(text) {
                errors.push(FieldError::invalid(
                    "spec.schedule",
                    &spec["schedule"],
                    &why,
                ));
            }
        }
    }
    if !matches!(spec.text("/timeZone"), "" | "UTC" | "Etc/UTC") {
        let why = "unknown time zone; a sandbox knows UTC alone";
        errors.push(FieldError::invalid("spec.timeZone", &spec["timeZone"], why));
    }
    let (policy, policies) = (
        spec.text("/concurrencyPolicy"),
        ["Allow", "Forbid", "Replace"],
    );
    if !policies.contains(&policy) {
        errors.push(FieldError::unsupported(
            "spec.concurrencyPolicy",
            policy,
            &policies,
        ));
    }
    for field in [
        "startingDeadlineSeconds",
        "successfulJobsHistoryLimit",
        "failedJobsHistoryLimit",
    ] {
        if spec[field].as_i64().is_some_and(|number| number < 0) {
            let why = "must be greater than or equal to 0";
            errors.push(FieldError::invalid(
                format!("spec.{field}"),
                &spec[field],
                why,
            ));
        }
    }
    let at = "spec.jobTemplate.spec.template.spec";
    let pod = &spec["jobTemplate"]["spec"]["template"]["spec"];
    errors.extend(pod::spec(at, pod));
    if pod["restartPolicy"] == "Always" {
        let field = format!("{at}.restartPolicy");
        errors.push(FieldError::unsupported(
            field,
            "Always",
            &["OnFailure", "Never"],
        ));
    }
    errors
}
