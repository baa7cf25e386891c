//! Mutating admission webhooks: which of them an object is sent to, in which order, and what
//! becomes of their answers.
//! <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/>

mod client;
mod matching;
mod review;

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Cluster, admission, call::Call, object::Object as _, resources, status::Status};

pub(crate) use matching::compile;

/// A write on its way through admission.
struct Attributes<'a> {
    call: &'a Call,
    /// `CREATE` or `UPDATE`.
    operation: &'static str,
    old: &'a Value,
}

/// What came of asking one webhook.
enum Verdict {
    /// The object, changed or not.
    Admit(Value),
    Deny(Status),
    /// No usable answer: `failurePolicy` decides.
    Failed(String),
}

/// The object after every webhook that is configured for it has seen it.
pub(crate) async fn mutate(
    cluster: &Cluster,
    call: &Call,
    operation: &'static str,
    old: &Value,
    object: Value,
) -> Result<Value, Status> {
    // Configurations of webhooks are never sent to webhooks: nobody could mend them otherwise.
    if call.target.resource.group == "admissionregistration.k8s.io" {
        return Ok(object);
    }
    let attributes = Attributes {
        call,
        operation,
        old,
    };
    let given = object.clone();
    let mut object = object;
    // The webhooks that may be asked again, and the object as each left it.
    let mut again: Vec<(Value, Value)> = Vec::new();
    for configuration in configurations(cluster) {
        for hook in configuration.items("/webhooks") {
            let Some(answer) = invoke(cluster, &attributes, hook, &object).await? else {
                continue;
            };
            object = answer;
            if hook["reinvocationPolicy"] == "IfNeeded" {
                again.push((hook.clone(), object.clone()));
            }
        }
    }
    // The server's own plugins see what webhooks add: new containers get the token mounted, too.
    if operation == "CREATE" && object != given {
        admission::admit(cluster, call.target.resource, &mut object)?;
    }
    for (hook, left) in again {
        if left != object
            && let Some(answer) = invoke(cluster, &attributes, &hook, &object).await?
        {
            object = answer;
        }
    }
    Ok(object)
}

/// In the order of their names, as a real server calls them.
fn configurations(cluster: &Cluster) -> Vec<Arc<Value>> {
    let kind = resources::find(
        "admissionregistration.k8s.io",
        "v1",
        "mutatingwebhookconfigurations",
    )
    .expect("webhook configurations are in the table");
    cluster.store.list(kind, None).1
}

/// The object as one webhook returns it, or `None` if it isn't asked, or failed and may.
async fn invoke(
    cluster: &Cluster,
    attributes: &Attributes<'_>,
    hook: &Value,
    object: &Value,
) -> Result<Option<Value>, Status> {
    let name = hook.text("/name");
    let ignores_failures = hook.text("/failurePolicy") == "Ignore";
    match matching::matches(cluster, attributes, hook, object) {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(error) if ignores_failures => {
            tracing::warn!(
                webhook = name,
                error,
                "match conditions failed, webhook skipped"
            );
            return Ok(None);
        }
        Err(error) => {
            return Err(Status::forbidden(
                attributes.call.target.resource,
                object.name(),
                &error,
            ));
        }
    }
    let verdict = match client::call(cluster, attributes, hook, object).await {
        Ok((uid, answer)) => review::verdict(attributes, name, &uid, &answer, object),
        Err(why) => Verdict::Failed(format!("failed to call webhook: {why}")),
    };
    match verdict {
        Verdict::Admit(object) => Ok(Some(object)),
        Verdict::Deny(status) => Err(status),
        Verdict::Failed(why) if ignores_failures => {
            tracing::warn!(
                webhook = name,
                error = why,
                "webhook failed, and its policy is to go on without it"
            );
            Ok(None)
        }
        Verdict::Failed(why) => Err(Status::internal(format!(
            "failed calling webhook \"{name}\": {why}"
        ))),
    }
}

impl Attributes<'_> {
    /// The `AdmissionReview` to send about `object`, under the identity `uid`.
    fn review(&self, uid: &str, object: &Value) -> Value {
        let target = &self.call.target;
        let resource = target.resource;
        let kind =
            json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
        let plural = json!({"group": resource.group, "version": resource.version, "resource": resource.plural});
        let mut request = json!({
            "uid": uid, "kind": kind, "resource": plural, "requestKind": kind, "requestResource": plural,
            "operation": self.operation, "userInfo": self.call.user.info(),
            "object": object, "oldObject": self.old, "dryRun": self.call.is_dry_run(),
            "options": self.options(),
        });
        for (field, value) in [
            ("name", object.name()),
            ("namespace", target.namespace.as_str()),
            ("subResource", target.subresource.as_str()),
            ("requestSubResource", target.subresource.as_str()),
        ] {
            if !value.is_empty() {
                request[field] = value.into();
            }
        }
        json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request})
    }

    fn options(&self) -> Value {
        let verb = match (self.operation, self.call.verb()) {
            ("CREATE", _) => "Create",
            (_, "patch") => "Patch",
            _ => "Update",
        };
        let mut options = json!({"kind": format!("{verb}Options"), "apiVersion": "meta.k8s.io/v1"});
        for key in ["fieldManager", "fieldValidation"] {
            let value = self.call.query.get(key);
            if !value.is_empty() {
                options[key] = value.into();
            }
        }
        if self.call.is_dry_run() {
            options["dryRun"] = json!(["All"]);
        }
        options
    }
}
