//! What a new cluster holds before anybody asks for anything.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{
    Cluster,
    access::MASTERS,
    defaults,
    object::{new_uid, now},
    resources,
    store::Key,
};

/// Fills an empty store. `advertised` is where pods reach the API behind the `kubernetes` Service.
pub(super) fn fill(cluster: &Cluster, advertised: Option<SocketAddr>) {
    for namespace in ["default", "kube-system"] {
        let object = json!({"metadata": {"name": namespace},
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}});
        put(cluster, "v1", "Namespace", object);
    }
    roles(cluster);
    if let Some(advertised) = advertised {
        own_service(cluster, advertised);
    }
}

/// What comes with every namespace: an account for its pods, and the CA that they are to trust.
pub(super) fn fill_namespace(cluster: &Cluster, namespace: &str) {
    let account = json!({"metadata": {"name": "default", "namespace": namespace}});
    put(cluster, "v1", "ServiceAccount", account);
    let metadata = json!({"name": "kube-root-ca.crt", "namespace": namespace});
    let ca = json!({"metadata": metadata, "data": {"ca.crt": cluster.authority.pem}});
    put(cluster, "v1", "ConfigMap", ca);
}

/// The administrator may do everything, a node agent what it needs: it binds pods too, because
/// there is no other scheduler. Everybody may ask what they may.
fn roles(cluster: &Cluster) {
    let read = ["get", "list", "watch"];
    let node = json!([
        {"apiGroups": [""], "resources": ["nodes", "nodes/status", "events", "pods", "pods/status"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["pods/binding", "serviceaccounts/token"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["configmaps", "secrets", "services"], "verbs": read},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read}]);
    let ask = json!([{"apiGroups": ["authorization.k8s.io"],
        "resources": ["selfsubjectaccessreviews"], "verbs": ["create"]}]);
    let everything = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
    let version = "rbac.authorization.k8s.io/v1";
    for (name, rules, group) in [
        ("cluster-admin", everything, MASTERS),
        ("system:basic-user", ask, "system:authenticated"),
        ("system:node", node, "system:nodes"),
    ] {
        let role = json!({"metadata": {"name": name}, "rules": rules});
        put(cluster, version, "ClusterRole", role);
        let binding = json!({"metadata": {"name": name}, "subjects": [{"kind": "Group", "name": group}],
            "roleRef": {"kind": "ClusterRole", "name": name}});
        put(cluster, version, "ClusterRoleBinding", binding);
    }
}

/// The `kubernetes` Service, which has no selector: the server itself says where it is.
fn own_service(cluster: &Cluster, advertised: SocketAddr) {
    let metadata = json!({"name": "kubernetes", "namespace": "default"});
    let (ip, port) = (advertised.ip().to_string(), advertised.port());
    let spec = json!({"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"],
        "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
        "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}]});
    let service = json!({"metadata": metadata, "spec": spec});
    put(cluster, "v1", "Service", service);
    let mut labelled = metadata;
    labelled["labels"] = json!({"kubernetes.io/service-name": "kubernetes"});
    let slice = json!({"metadata": labelled, "addressType": "IPv4",
        "endpoints": [{"addresses": [ip], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}]});
    put(cluster, "discovery.k8s.io/v1", "EndpointSlice", slice);
}

/// Puts an object in the store, past admission; one that is there already stays.
fn put(cluster: &Cluster, api_version: &str, kind: &str, mut object: Value) {
    let resource =
        resources::of_kind(api_version, kind).expect("the kinds named here are in the table");
    object["apiVersion"] = api_version.into();
    object["kind"] = kind.into();
    object["metadata"]["uid"] = new_uid().into();
    object["metadata"]["creationTimestamp"] = now().into();
    if resource.has_generation {
        object["metadata"]["generation"] = 1.into();
    }
    defaults::apply(resource, &mut object);
    let key = Key::of(resource, &object);
    if cluster.store.create(&key, object).is_ok() {
        cluster.created(&key);
    }
}
