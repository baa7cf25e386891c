//! Role-based access control, evaluated from the Roles and bindings in the store.
//! <https://kubernetes.io/docs/reference/access-authn-authz/rbac/>

use std::sync::Arc;

use serde_json::Value;

use super::User;
use crate::api::{
    object::Object as _,
    resources::{self, Resource},
    status::Status,
    store::{Key, Store},
};

const GROUP: &str = "rbac.authorization.k8s.io";

/// What somebody wants to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Action<'a> {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    /// "" for all namespaces, and for what is in none.
    pub(crate) namespace: &'a str,
    /// "" for none in particular.
    pub(crate) name: &'a str,
}

/// Whether `user` may do `action`.
pub(crate) fn allows(store: &Store, user: &User, action: Action<'_>) -> bool {
    if user.is_master() {
        return true;
    }
    let cluster_wide = bound_rules(store, user, "clusterrolebindings", None);
    let in_namespace = (!action.namespace.is_empty())
        .then(|| bound_rules(store, user, "rolebindings", Some(action.namespace)));
    cluster_wide
        .into_iter()
        .chain(in_namespace.into_iter().flatten())
        .any(|role| role.items("/rules").iter().any(|rule| covers(rule, action)))
}

/// The refusal a user gets who may not.
pub(crate) fn refusal(resource: &Resource, user: &User, action: Action<'_>) -> Status {
    let scope = if action.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace \"{}\"", action.namespace)
    };
    let what = if action.subresource.is_empty() {
        action.resource.to_owned()
    } else {
        format!("{}/{}", action.resource, action.subresource)
    };
    let why = format!(
        "User \"{}\" cannot {} resource \"{what}\" in API group \"{}\" {scope}",
        user.name, action.verb, action.group
    );
    Status::forbidden(resource, action.name, &why)
}

/// The roles that bindings of one kind give the user.
fn bound_rules(
    store: &Store,
    user: &User,
    bindings: &str,
    namespace: Option<&str>,
) -> Vec<Arc<Value>> {
    let (_, bindings) = store.list(rbac(bindings), namespace);
    bindings
        .iter()
        .filter(|binding| {
            binding
                .items("/subjects")
                .iter()
                .any(|subject| is_subject(user, subject, binding.namespace()))
        })
        .filter_map(|binding| {
            let name = binding.text("/roleRef/name");
            let key = match binding.text("/roleRef/kind") {
                "Role" => Key::new(rbac("roles"), binding.namespace(), name),
                _ => Key::new(rbac("clusterroles"), "", name),
            };
            store.get(&key)
        })
        .collect()
}

fn rbac(plural: &str) -> &'static Resource {
    resources::find(GROUP, "v1", plural).expect("the kinds of RBAC are in the table")
}

fn is_subject(user: &User, subject: &Value, binding_namespace: &str) -> bool {
    let name = subject.text("/name");
    match subject.text("/kind") {
        "User" => user.name == name,
        "Group" => user.groups.iter().any(|group| group == name),
        "ServiceAccount" => {
            let namespace = match subject.text("/namespace") {
                "" => binding_namespace,
                given => given,
            };
            user.name == format!("system:serviceaccount:{namespace}:{name}")
        }
        _ => false,
    }
}

fn covers(rule: &Value, action: Action<'_>) -> bool {
    let has = |field: &str, wanted: &str| {
        rule.items(field)
            .iter()
            .filter_map(Value::as_str)
            .any(|one| one == "*" || one == wanted)
    };
    let resource = if action.subresource.is_empty() {
        has("/resources", action.resource)
    } else {
        has(
            "/resources",
            &format!("{}/{}", action.resource, action.subresource),
        ) || rule
            .items("/resources")
            .iter()
            .any(|one| *one == format!("*/{}", action.subresource))
    };
    let names = rule.items("/resourceNames");
    let named = names.is_empty() || names.iter().any(|name| *name == action.name);
    has("/verbs", action.verb) && has("/apiGroups", action.group) && resource && named
}
