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

/// The controllers, by the names of their service accounts in `kube-system`.
pub(crate) const CONTROLLERS: &[&str] = &[
    "deployment-controller",
    "endpoint-controller",
    "endpointslice-controller",
    "endpointslicemirroring-controller",
    "generic-garbage-collector",
    "job-controller",
    "namespace-controller",
    "replicaset-controller",
    "scheduler",
];

/// Fills an empty store. `advertised` is where pods reach the API behind the `kubernetes` Service.
pub(super) fn fill(cluster: &Cluster, advertised: Option<SocketAddr>) {
    for namespace in ["default", "kube-node-lease", "kube-public", "kube-system"] {
        put(
            cluster,
            "v1",
            "Namespace",
            json!({"metadata": {"name": namespace},
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}),
        );
    }
    for controller in CONTROLLERS {
        put(
            cluster,
            "v1",
            "ServiceAccount",
            json!({"metadata": {"name": controller, "namespace": "kube-system"}}),
        );
    }
    roles(cluster);
    if let Some(advertised) = advertised {
        own_service(cluster, advertised);
    }
}

/// What comes with every namespace: an account for its pods, and the CA that they are to trust.
pub(super) fn fill_namespace(cluster: &Cluster, namespace: &str) {
    put(
        cluster,
        "v1",
        "ServiceAccount",
        json!({"metadata": {"name": "default", "namespace": namespace}}),
    );
    let about = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";
    let metadata = json!({"name": "kube-root-ca.crt", "namespace": namespace,
        "annotations": {"kubernetes.io/description": about}});
    put(
        cluster,
        "v1",
        "ConfigMap",
        json!({"metadata": metadata, "data": {"ca.crt": cluster.authority.pem}}),
    );
}

fn roles(cluster: &Cluster) {
    let everything = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}]);
    let reviews = json!([
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
        {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]}]);
    let node = json!([
        {"apiGroups": [""], "resources": ["nodes", "nodes/status", "events", "pods", "pods/status"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["configmaps", "secrets", "services", "endpoints", "namespaces", "serviceaccounts"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch", "update"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]}]);
    for (name, rules) in [
        ("cluster-admin", everything),
        ("system:auth-delegator", reviews),
        ("system:node", node),
    ] {
        put(
            cluster,
            "rbac.authorization.k8s.io/v1",
            "ClusterRole",
            json!({"metadata": {"name": name}, "rules": rules}),
        );
    }
    let accounts: Vec<Value> = CONTROLLERS
        .iter()
        .map(|name| json!({"kind": "ServiceAccount", "name": name, "namespace": "kube-system"}))
        .collect();
    for (name, role, subjects) in [
        (
            "cluster-admin",
            "cluster-admin",
            json!([{"kind": "Group", "name": MASTERS}]),
        ),
        (
            "system:node",
            "system:node",
            json!([{"kind": "Group", "name": "system:nodes"}]),
        ),
        ("system:controllers", "cluster-admin", json!(accounts)),
    ] {
        let role = json!({"kind": "ClusterRole", "name": role});
        put(
            cluster,
            "rbac.authorization.k8s.io/v1",
            "ClusterRoleBinding",
            json!({"metadata": {"name": name}, "subjects": subjects, "roleRef": role}),
        );
    }
}

/// The `kubernetes` Service, which has no selector: the server itself says where it is.
fn own_service(cluster: &Cluster, advertised: SocketAddr) {
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let metadata = json!({"name": "kubernetes", "namespace": "default", "labels": labels});
    let (ip, port) = (advertised.ip().to_string(), advertised.port());
    put(
        cluster,
        "v1",
        "Service",
        json!({"metadata": metadata, "spec": {
        "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
        "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}]}}),
    );
    let named = json!([{"name": "https", "port": port, "protocol": "TCP"}]);
    let mut labelled = metadata.clone();
    labelled["labels"] = json!({"endpointslice.kubernetes.io/skip-mirror": "true"});
    put(
        cluster,
        "v1",
        "Endpoints",
        json!({"metadata": labelled, "subsets": [{"addresses": [{"ip": ip}], "ports": named}]}),
    );
    labelled["labels"] = json!({"kubernetes.io/service-name": "kubernetes"});
    put(
        cluster,
        "discovery.k8s.io/v1",
        "EndpointSlice",
        json!({"metadata": labelled, "addressType": "IPv4",
        "endpoints": [{"addresses": [ip], "conditions": {"ready": true}}], "ports": named}),
    );
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
