//! `scale`: the number of replicas of a workload, whatever its kind.

use serde_json::{Value, json};

use super::{
    Cluster,
    call::Call,
    object::Object as _,
    patch::{self, PatchKind},
    status::Status,
    write::{self, Wish},
};

/// PUT and PATCH of `scale`, and GET with neither.
pub(crate) async fn handle(cluster: &Cluster, call: &Call) -> Result<Value, Status> {
    let body = if call.body.is_empty() {
        Value::Null
    } else {
        call.decode()?
    };
    let object = if call.verb() == "get" {
        let key = call.target.key();
        let object = cluster
            .store
            .get(&key)
            .ok_or_else(|| Status::not_found(key.resource, &key.name))?;
        Value::clone(&object)
    } else {
        let patching = (call.verb() == "patch")
            .then(|| PatchKind::parse(&call.content_type))
            .transpose()?;
        write::write(cluster, call, |old| {
            let scale = match patching {
                Some(how) => patch::apply(how, "Scale", &scale_of(old), &body)?,
                None => body.clone(),
            };
            let mut new = old.clone();
            new.set(
                "/spec/replicas",
                scale["spec"]["replicas"].as_i64().unwrap_or(0),
            );
            new.set("/metadata/resourceVersion", scale.revision());
            Ok(Wish::Update(new))
        })
        .await?
    };
    Ok(scale_of(&object))
}

fn scale_of(object: &Value) -> Value {
    let mut metadata = json!({});
    for field in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        metadata[field] = object["metadata"][field].clone();
    }
    let labels = object["spec"]["selector"]["matchLabels"]
        .as_object()
        .into_iter()
        .flatten();
    let labels: Vec<String> = labels
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or("")))
        .collect();
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {"replicas": object["spec"]["replicas"]},
        "status": {"replicas": object["status"]["replicas"].as_i64().unwrap_or(0), "selector": labels.join(",")}})
}
