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
    if user.is_master() || may_everybody(action) {
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

/// `system:basic-user`: everybody may ask what they may do.
fn may_everybody(action: Action<'_>) -> bool {
    action.verb == "create"
        && matches!(
            (action.group, action.resource),
            (
                "authorization.k8s.io",
                "selfsubjectaccessreviews" | "selfsubjectrulesreviews"
            ) | ("authentication.k8s.io", "selfsubjectreviews")
        )
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn action<'a>(
        verb: &'a str,
        resource: &'a str,
        namespace: &'a str,
        name: &'a str,
    ) -> Action<'a> {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Action {
            verb,
            group: "",
            resource,
            subresource,
            namespace,
            name,
        }
    }

    fn robot() -> User {
        User {
            name: "system:serviceaccount:shop:robot".into(),
            groups: vec!["system:serviceaccounts".into()],
            ..User::default()
        }
    }

    fn store_with(rule: Value, binding: &str) -> Store {
        let store = Store::new(8);
        let (role, kind, namespace) = match binding {
            "clusterrolebindings" => ("clusterroles", "ClusterRole", ""),
            _ => ("roles", "Role", "shop"),
        };
        let meta = json!({"name": "r", "namespace": namespace});
        store
            .create(
                &Key::new(rbac(role), namespace, "r"),
                json!({"metadata": meta, "rules": [rule]}),
            )
            .expect("new");
        let subjects = json!([{"kind": "ServiceAccount", "name": "robot", "namespace": "shop"}]);
        let bound =
            json!({"metadata": meta, "subjects": subjects, "roleRef": {"kind": kind, "name": "r"}});
        store
            .create(&Key::new(rbac(binding), namespace, "r"), bound)
            .expect("new");
        store
    }

    #[test]
    fn denies_what_no_role_says() {
        let rule = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]});
        let store = store_with(rule, "rolebindings");
        for (verb, resource, namespace) in [
            ("delete", "pods", "shop"),
            ("get", "pods/log", "shop"),
            ("get", "secrets", "shop"),
            ("get", "pods", "other"),
            ("list", "pods", ""),
        ] {
            assert!(
                !allows(&store, &robot(), action(verb, resource, namespace, "")),
                "{verb} {resource} {namespace}"
            );
        }
        assert!(allows(&store, &robot(), action("get", "pods", "shop", "x")));
        assert!(!allows(
            &store,
            &User::default(),
            action("get", "pods", "shop", "x")
        ));
    }

    #[test]
    fn names_subresources_and_wildcards_are_honoured() {
        let named = json!({"apiGroups": ["*"], "resources": ["secrets"], "resourceNames": ["ca"], "verbs": ["*"]});
        let store = store_with(named, "clusterrolebindings");
        assert!(allows(
            &store,
            &robot(),
            action("update", "secrets", "any", "ca")
        ));
        assert!(!allows(
            &store,
            &robot(),
            action("update", "secrets", "any", "other")
        ));
        assert!(!allows(
            &store,
            &robot(),
            action("create", "secrets", "any", "")
        ));
        let store = store_with(
            json!({"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]}),
            "rolebindings",
        );
        assert!(allows(
            &store,
            &robot(),
            action("get", "pods/log", "shop", "x")
        ));
        assert!(!allows(
            &store,
            &robot(),
            action("get", "pods", "shop", "x")
        ));
    }

    #[test]
    fn masters_may_everything() {
        let store = Store::new(8);
        assert!(allows(
            &store,
            &User::new("admin", &[super::super::MASTERS]),
            action("delete", "nodes", "", "")
        ));
    }
}
