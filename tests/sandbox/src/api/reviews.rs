//! Questions that the server answers and stores nothing of: TokenRequest makes tokens of service
//! accounts, TokenReview says whose they are, SelfSubjectAccessReview what whoever asks may do.

use serde_json::{Value, json};

use super::{
    Cluster,
    access::{
        rbac::{self, Action},
        tokens::{Bound, ISSUER},
    },
    call::Call,
    object::{self, Object as _},
    resources,
    status::{FieldError, Status},
    store::Key,
};

/// POST of a TokenReview: nothing is stored, the answer is in `status`.
pub(crate) fn token_review(cluster: &Cluster, call: &Call) -> Result<Value, Status> {
    let mut review = call.decode()?;
    review.set("/apiVersion", call.target.resource.api_version());
    review.set("/kind", call.target.resource.kind);
    review.default_to("/metadata", json!({}));
    let mut audiences = strings(review.items("/spec/audiences"));
    if audiences.is_empty() {
        audiences.push(ISSUER.to_owned());
    }
    let checked = cluster
        .tokens
        .check(&cluster.store, review.text("/spec/token"), &audiences);
    review["status"] = match checked {
        Ok((user, audiences)) => {
            json!({"authenticated": true, "user": user.info(), "audiences": audiences})
        }
        Err(error) => json!({"user": {}, "error": error}),
    };
    Ok(review)
}

/// POST of a SelfSubjectAccessReview: what the server would say to that request.
pub(crate) fn access_review(cluster: &Cluster, call: &Call) -> Result<Value, Status> {
    let mut review = call.decode()?;
    review.set("/apiVersion", call.target.resource.api_version());
    review.set("/kind", call.target.resource.kind);
    review.default_to("/metadata", json!({}));
    let asked = |field: &str| review.text(&format!("/spec/resourceAttributes/{field}"));
    let allowed = rbac::allows(
        &cluster.store,
        &call.user,
        Action {
            verb: asked("verb"),
            group: asked("group"),
            resource: asked("resource"),
            subresource: asked("subresource"),
            namespace: asked("namespace"),
            name: asked("name"),
        },
    );
    review["status"] = json!({"allowed": allowed});
    Ok(review)
}

/// POST to `serviceaccounts/<name>/token`.
pub(crate) fn token_request(cluster: &Cluster, call: &Call) -> Result<Value, Status> {
    let key = call.target.key();
    let account = cluster.store.get(&key);
    let account = account.ok_or_else(|| Status::not_found(key.resource, &key.name))?;
    let mut request = call.decode()?;
    request.set("/apiVersion", "authentication.k8s.io/v1");
    request.set("/kind", "TokenRequest");
    request.default_to("/spec/expirationSeconds", 3600);
    if request.items("/spec/audiences").is_empty() {
        request.set("/spec/audiences", json!([ISSUER]));
    }
    let seconds = request.integer("/spec/expirationSeconds").unwrap_or(0);
    if seconds < 600 {
        let why = "may not specify a duration less than 10 minutes";
        let value = &request["spec"]["expirationSeconds"];
        let error = FieldError::invalid("spec.expirationSeconds", value, why);
        return Err(Status::invalid(key.resource, &key.name, &[error]));
    }
    let bound = bound(cluster, call, &request["spec"]["boundObjectRef"])?;
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
        .get(&Key::new(pods, &call.target.namespace, name));
    let pod = pod.ok_or_else(|| Status::not_found(pods, name))?;
    let uid = reference.text("/uid");
    if !uid.is_empty() && uid != pod.uid() {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record ({})",
            pod.uid()
        );
        return Err(Status::conflict(pods, name, &why));
    }
    if pod.text("/spec/serviceAccountName") != call.target.name {
        return Err(Status::bad_request(format!(
            "cannot bind token for serviceaccount \"{}\" to pod running with different serviceaccount name",
            call.target.name
        )));
    }
    let node = Key::new(resources::core("nodes"), "", pod.text("/spec/nodeName"));
    let node = cluster.store.get(&node);
    Ok(Bound {
        pod: Some((name.to_owned(), pod.uid().to_owned())),
        node: node.map(|node| (node.name().to_owned(), node.uid().to_owned())),
    })
}

fn strings(items: &[Value]) -> Vec<String> {
    let items = items.iter().filter_map(Value::as_str);
    items.map(str::to_owned).collect()
}
