//! Reads and writes from within the process. Writes are checked as everybody's, but for RBAC.

use std::sync::Arc;

use http::Method;
use serde_json::Value;

use super::{
    Cluster, access::User, call::Call, delete, object::Object as _, resources::Resource,
    status::Status, store::Key, target::Target, write,
};

/// A controller, by the name of its service account in `kube-system`.
pub(crate) struct Insider {
    pub(crate) cluster: Arc<Cluster>,
    user: User,
}

impl Insider {
    /// The controller `name`.
    pub(crate) fn new(cluster: &Arc<Cluster>, name: &str) -> Self {
        let account = format!("system:serviceaccount:kube-system:{name}");
        let groups = [
            "system:serviceaccounts",
            "system:serviceaccounts:kube-system",
        ];
        Self {
            cluster: Arc::clone(cluster),
            user: User::new(&account, &groups),
        }
    }

    /// All objects of a kind, in one namespace or (`None`) in all.
    pub(crate) fn list(&self, kind: &'static Resource, namespace: Option<&str>) -> Vec<Arc<Value>> {
        self.cluster.store.list(kind, namespace).1
    }

    /// Makes an object.
    pub(crate) async fn create(
        &self,
        kind: &'static Resource,
        namespace: &str,
        object: &Value,
    ) -> Result<Value, Status> {
        let call = self.call(Method::POST, &Key::new(kind, namespace, ""), "", object);
        write::create(&self.cluster, &call).await
    }

    /// Applies a merge patch to the object, or to one of its parts ("" for itself).
    pub(crate) async fn patch(&self, key: &Key, part: &str, patch: &Value) -> Result<(), Status> {
        let call = self.call(Method::PATCH, key, part, patch);
        write::patch(&self.cluster, &call).await.map(drop)
    }

    /// Puts `object` in the place of the one that it was made from.
    pub(crate) async fn update(&self, key: &Key, object: &Value) -> Result<(), Status> {
        let call = self.call(Method::PUT, key, "", object);
        write::update(&self.cluster, &call).await.map(drop)
    }

    /// Deletes the object, unless it is another one by now or gone.
    pub(crate) fn delete(&self, kind: &'static Resource, object: &Value) -> Result<(), Status> {
        let only_this = serde_json::json!({"preconditions": {"uid": object.uid()}});
        let call = self.call(Method::DELETE, &Key::of(kind, object), "", &only_this);
        match delete::one(&self.cluster, &call) {
            Err(status) if ![404, 409].contains(&status.code) => Err(status),
            _ => Ok(()),
        }
    }

    fn call(&self, method: Method, key: &Key, part: &str, body: &Value) -> Call {
        let content_type = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let target = Target::of(key, part);
        Call::inside(method, target, self.user.clone(), content_type, body)
    }
}
