//! The kinds that are questions: nothing is stored, the answer is in `status`.

use serde_json::{Value, json};

use super::{
    Cluster,
    access::{
        User,
        rbac::{self, Action},
        tokens::{Bound, ISSUER},
    },
    call::Call,
    fields,
    object::{self, Object as _},
    resources,
    status::{FieldError, Status},
    store::Key,
};

/// Whether POSTs of this kind are answered here.
pub(crate) fn is_review(call: &Call) -> bool {
    matches!(
        call.target.resource.group,
        "authentication.k8s.io" | "authorization.k8s.io"
    )
}

/// POST of a review.
pub(crate) fn create(cluster: &Cluster, call: &Call) -> Result<Value, Status> {
    let resource = call.target.resource;
    let version = resource.api_version();
    let mut review = call.decode()?;
    review.set("/apiVersion", version.as_str());
    review.set("/kind", resource.kind);
    review.default_to("/metadata", json!({}));
    fields::record(
        resource.kind,
        &Value::Null,
        &mut review,
        call.author(&version),
    );
    let status = match resource.kind {
        "TokenReview" => token_review(cluster, &review),
        "SelfSubjectReview" => json!({"userInfo": call.user.info()}),
        "SelfSubjectAccessReview" => access_review(cluster, &call.user, &review["spec"], ""),
        _ => {
            let groups = review.items("/spec/groups").iter();
            let user = User {
                name: review.text("/spec/user").to_owned(),
                groups: groups
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect(),
                ..User::default()
            };
            access_review(cluster, &user, &review["spec"], &call.target.namespace)
        }
    };
    review["status"] = status;
    Ok(review)
}

fn token_review(cluster: &Cluster, review: &Value) -> Value {
    let mut audiences = strings(review.items("/spec/audiences"));
    if audiences.is_empty() {
        audiences.push(ISSUER.to_owned());
    }
    match cluster
        .tokens
        .check(&cluster.store, review.text("/spec/token"), &audiences)
    {
        Ok((user, audiences)) => {
            json!({"authenticated": true, "user": user.info(), "audiences": audiences})
        }
        Err(error) => json!({"user": {}, "error": error}),
    }
}

fn access_review(cluster: &Cluster, user: &User, spec: &Value, namespace: &str) -> Value {
    let asked = &spec["resourceAttributes"];
    if asked.is_null() {
        return json!({"allowed": user.is_master()});
    }
    let action = Action {
        verb: asked.text("/verb"),
        group: asked.text("/group"),
        resource: asked.text("/resource"),
        subresource: asked.text("/subresource"),
        namespace: if namespace.is_empty() {
            asked.text("/namespace")
        } else {
            namespace
        },
        name: asked.text("/name"),
    };
    json!({"allowed": rbac::allows(&cluster.store, user, action)})
}

/// POST to `serviceaccounts/<name>/token`.
pub(crate) fn token_request(cluster: &Cluster, call: &Call) -> Result<Value, Status> {
    const VERSION: &str = "authentication.k8s.io/v1";
    let key = call.target.key();
    let account = cluster
        .store
        .get(&key)
        .ok_or_else(|| Status::not_found(key.resource, &key.name))?;
    let mut request = call.decode()?;
    request.set("/apiVersion", VERSION);
    request.set("/kind", "TokenRequest");
    request.default_to("/spec/expirationSeconds", 3600);
    if request.items("/spec/audiences").is_empty() {
        request.set("/spec/audiences", json!([ISSUER]));
    }
    let seconds = request["spec"]["expirationSeconds"].as_i64().unwrap_or(0);
    if seconds < 600 {
        let error = FieldError::invalid(
            "spec.expirationSeconds",
            &request["spec"]["expirationSeconds"],
            "may not specify a duration less than 10 minutes",
        );
        return Err(Status::invalid(key.resource, &key.name, &[error]));
    }
    let bound = bound(cluster, call, &request["spec"]["boundObjectRef"])?;
    fields::record(
        "TokenRequest",
        &Value::Null,
        &mut request,
        call.author(VERSION),
    );
    request.default_to("/spec/boundObjectRef", Value::Null);
    request.set("/metadata/name", account.name());
    request.set("/metadata/namespace", account.namespace());
    request.set("/metadata/uid", account.uid());
    request.set("/metadata/creationTimestamp", object::now());
    let audiences = strings(request.items("/spec/audiences"));
    let (token, expires) = cluster.tokens.issue(&account, &audiences, seconds, &bound);
    request["status"] = json!({"token": token, "expirationTimestamp": object::at(expires)});
    Ok(request)
}

fn bound(cluster: &Cluster, call: &Call, reference: &Value) -> Result<Bound, Status> {
    if reference.is_null() {
        return Ok(Bound::default());
    }
    let (kind, name) = (reference.text("/kind"), reference.text("/name"));
    if kind != "Pod" {
        return Err(Status::bad_request(format!(
            "cannot bind token to object of kind \"{kind}\": only to Pod"
        )));
    }
    let pods = resources::core("pods");
    let pod = cluster
        .store
        .get(&Key::new(pods, &call.target.namespace, name))
        .ok_or_else(|| Status::not_found(pods, name))?;
    if !reference.text("/uid").is_empty() && reference.text("/uid") != pod.uid() {
        let why = format!(
            "the UID in the bound object reference ({}) does not match the UID in record ({})",
            reference.text("/uid"),
            pod.uid()
        );
        return Err(Status::conflict(pods, name, &why));
    }
    if pod.text("/spec/serviceAccountName") != call.target.name {
        let why = format!(
            "cannot bind token for serviceaccount \"{}\" to pod running with different serviceaccount name",
            call.target.name
        );
        return Err(Status::bad_request(why));
    }
    let node = Key::new(resources::core("nodes"), "", pod.text("/spec/nodeName"));
    let node = cluster
        .store
        .get(&node)
        .map(|node| (node.name().to_owned(), node.uid().to_owned()));
    Ok(Bound {
        pod: Some((name.to_owned(), pod.uid().to_owned())),
        node,
    })
}

fn strings(items: &[Value]) -> Vec<String> {
    items
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}
