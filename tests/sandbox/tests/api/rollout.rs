//! The recorded life of a Deployment behind Services of every kind, lived again: each object must
//! go through the same states.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    harness::{Harness, normalised},
    recorded::{apply_recorded_services, watch_recording},
};

const SHOP: &str = "/api/v1/namespaces/shop";

/// The states that each object goes through, by the name it was given or generated from.
type Lives = BTreeMap<String, Vec<Value>>;

#[tokio::test]
async fn every_object_lives_the_recorded_life() {
    let harness = Harness::with_controllers(&["replicaset-controller"]).await;
    let mut found: BTreeMap<&str, Lives> = BTreeMap::new();
    let streams = live(&harness).await;
    for (name, events) in streams {
        found.insert(name, lives(name, &events));
    }
    for name in ["services", "endpoints", "endpointslices", "pods"] {
        let expected = lives(name, &watch_recording(name));
        let found = &found[name];
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            expected.keys().collect::<Vec<_>>(),
            "{name}"
        );
        for (object, states) in &expected {
            for (index, state) in states.iter().enumerate() {
                assert_eq!(
                    found[object].get(index),
                    Some(state),
                    "{name}: state {index} of {object}"
                );
            }
            assert_eq!(found[object].len(), states.len(), "{name}: {object}");
        }
    }
}

/// Does what was done when the recording was made, waiting after each step for what follows.
async fn live(harness: &Harness) -> Vec<(&'static str, Vec<Value>)> {
    let node = json!({"metadata": {"name": "node-a", "labels":
        {"topology.kubernetes.io/zone": "zone-a", "topology.kubernetes.io/region": "r1"}}});
    harness.post("/api/v1/nodes", node).await;
    harness.namespace("shop").await;
    apply_recorded_services(harness).await;
    apply_recorded_endpoints(harness).await;
    settled(harness, "cart", &[]).await;
    let pods = deploy(harness).await;
    for (index, pod) in pods.iter().enumerate() {
        bind(harness, pod).await;
        become_ready(harness, pod, index, "True").await;
        settled(harness, "cart", &[(true, false), (true, false)][..=index]).await;
    }
    become_ready(harness, &pods[0], 0, "False").await;
    settled(harness, "cart", &[(false, false), (true, false)]).await;
    become_ready(harness, &pods[0], 0, "True").await;
    settled(harness, "cart", &[(true, false), (true, false)]).await;
    harness.delete(&format!("{SHOP}/pods/{}", pods[0])).await;
    settled(harness, "cart", &[(false, true), (true, false)]).await;
    harness
        .patch(
            &format!("{SHOP}/services/cart?fieldManager=kubectl-annotate"),
            json!({"metadata": {"annotations": {"a": "b"}}}),
        )
        .await;
    harness.delete(&format!("{SHOP}/services/edge")).await;
    gone(harness, "edge").await;
    harness.delete(&format!("{SHOP}/pods/{}", pods[1])).await;
    settled(harness, "cart", &[(false, true), (false, true)]).await;
    harness
        .delete(&format!("{SHOP}/pods/{}?gracePeriodSeconds=0", pods[0]))
        .await;
    settled(harness, "cart", &[(false, true)]).await;
    harness
        .delete(&format!("{SHOP}/pods/{}?gracePeriodSeconds=0", pods[1]))
        .await;
    settled(harness, "cart", &[]).await;
    let mut streams = Vec::new();
    for (name, root) in [
        ("services", SHOP),
        ("pods", SHOP),
        ("endpoints", SHOP),
        (
            "endpointslices",
            "/apis/discovery.k8s.io/v1/namespaces/shop",
        ),
    ] {
        let path = format!("{root}/{name}?watch=1&resourceVersion=2&timeoutSeconds=1");
        streams.push((name, harness.watch(&path).await.all().await));
    }
    streams
}

/// The Endpoints that somebody wrote, for a Service without a selector.
async fn apply_recorded_endpoints(harness: &Harness) {
    let recorded = watch_recording("endpoints");
    let mut manual = recorded.iter().map(|event| &event["object"]);
    let manual = manual.find(|endpoints| endpoints["metadata"]["name"] == "manual");
    let annotations = &manual.expect("it was recorded")["metadata"]["annotations"];
    let applied = &annotations["kubectl.kubernetes.io/last-applied-configuration"];
    let applied = applied.as_str().expect("kubectl made it");
    let mut manual: Value = serde_json::from_str(applied).expect("kubectl wrote JSON");
    manual["metadata"]["annotations"] = annotations.clone();
    let made = harness.post(&format!("{SHOP}/endpoints"), manual).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let mirrored = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?watch=1&labelSelector=kubernetes.io/service-name=manual&timeoutSeconds=60";
    let mut events = harness.watch(mirrored).await;
    events.until(|event| event["type"] == "ADDED").await;
}

/// Makes the pods as their ReplicaSet did, whose decisions are not part of the recording.
async fn deploy(harness: &Harness) -> Vec<String> {
    let container = json!({"name": "cart", "image": "registry.example/cart:1",
        "ports": [{"name": "web", "containerPort": 8080}, {"containerPort": 9000}]});
    let labels = json!({"app": "cart", "pod-template-hash": "86cfc9948c"});
    let spec = json!({"containers": [container]});
    let set = json!({"metadata": {"name": "cart-86cfc9948c"}, "spec": {"replicas": 2, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": spec}}});
    let set = harness
        .post("/apis/apps/v1/namespaces/shop/replicasets", set)
        .await;
    assert_eq!(set.status, 201, "{}", set.body);
    let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "cart-86cfc9948c",
        "uid": set.body["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true});
    let metadata =
        json!({"generateName": "cart-86cfc9948c-", "labels": labels, "ownerReferences": [owner]});
    let mut names = Vec::new();
    for _ in 0..2 {
        let path = format!("{SHOP}/pods?fieldManager=kube-controller-manager");
        let pod = harness
            .post(&path, json!({"metadata": metadata, "spec": spec}))
            .await;
        names.push(
            pod.body["metadata"]["name"]
                .as_str()
                .expect("it was made")
                .to_owned(),
        );
    }
    names.sort();
    names
}

async fn bind(harness: &Harness, pod: &str) {
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}, "target": {"kind": "Node", "name": "node-a"}});
    let answer = harness
        .post(&format!("{SHOP}/pods/{pod}/binding"), binding)
        .await;
    assert_eq!(answer.status, 201, "{}", answer.body);
}

async fn become_ready(harness: &Harness, pod: &str, index: usize, ready: &str) {
    let ip = format!("10.244.0.{}", index + 1);
    let condition = json!({"type": "Ready", "status": ready, "lastProbeTime": null, "lastTransitionTime": "2026-11-22T00:00:00Z"});
    let status = json!({"status": {"phase": "Running", "hostIP": "10.0.0.1", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [condition]}});
    let answer = harness
        .patch(
            &format!("{SHOP}/pods/{pod}/status?fieldManager=kubectl-patch"),
            status,
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// Waits until the slices of all Services show endpoints that are (ready, terminating).
async fn settled(harness: &Harness, service: &str, endpoints: &[(bool, bool)]) {
    let expected: Vec<Value> = endpoints
        .iter()
        .map(|(_, terminating)| json!(terminating))
        .collect();
    let is_settled = |object: &Value, exact: bool| {
        let found: Vec<&Value> = object["endpoints"]
            .as_array()
            .into_iter()
            .flatten()
            .collect();
        let terminating: Vec<Value> = found
            .iter()
            .map(|one| one["conditions"]["terminating"].clone())
            .collect();
        let ready: Vec<Value> = found
            .iter()
            .map(|one| one["conditions"]["ready"].clone())
            .collect();
        let wanted: Vec<Value> = endpoints.iter().map(|(ready, _)| json!(ready)).collect();
        terminating == expected && (!exact || ready == wanted)
    };
    for name in [service, "cart-headless"] {
        let path = format!(
            "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?watch=1&labelSelector=kubernetes.io/service-name={name}&timeoutSeconds=60"
        );
        harness
            .watch(&path)
            .await
            .until(|event| is_settled(&event["object"], name == service))
            .await;
    }
    for service in harness.get(&format!("{SHOP}/services")).await.body["items"]
        .as_array()
        .expect("a list")
    {
        let name = service["metadata"]["name"].as_str().expect("a name");
        if service["spec"]["selector"].is_null() {
            continue;
        }
        let publishes = service["spec"]["publishNotReadyAddresses"] == true;
        let path = format!(
            "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?watch=1&labelSelector=kubernetes.io/service-name={name}&timeoutSeconds=60"
        );
        harness
            .watch(&path)
            .await
            .until(|event| is_settled(&event["object"], !publishes))
            .await;
        endpoints_settled(harness, name, publishes, endpoints).await;
    }
}

/// Waits until the Endpoints of a Service show the same: those that end only if it publishes all.
async fn endpoints_settled(
    harness: &Harness,
    service: &str,
    publishes: bool,
    endpoints: &[(bool, bool)],
) {
    let count = |wanted: &dyn Fn(bool, bool) -> bool| {
        let wanted = |(ready, terminating): &&(bool, bool)| wanted(*ready, *terminating);
        endpoints.iter().filter(wanted).count()
    };
    let ready = count(&|ready, terminating| publishes || (ready && !terminating));
    let unready = count(&|ready, terminating| !publishes && !ready && !terminating);
    let path =
        format!("{SHOP}/endpoints?watch=1&fieldSelector=metadata.name={service}&timeoutSeconds=60");
    let mut events = harness.watch(&path).await;
    let has = |event: &Value, list: &str, count: usize| {
        let list = event["object"]["subsets"][0][list].as_array();
        list.map_or(0, Vec::len) == count
    };
    events
        .until(|event| has(event, "addresses", ready) && has(event, "notReadyAddresses", unready))
        .await;
}

async fn gone(harness: &Harness, service: &str) {
    let path = format!(
        "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?watch=1&resourceVersion=2&labelSelector=kubernetes.io/service-name={service}&timeoutSeconds=60"
    );
    let mut events = harness.watch(&path).await;
    events.until(|event| event["type"] == "DELETED").await;
    let path = format!(
        "{SHOP}/endpoints?watch=1&resourceVersion=2&fieldSelector=metadata.name={service}&timeoutSeconds=60"
    );
    let mut events = harness.watch(&path).await;
    events.until(|event| event["type"] == "DELETED").await;
}

/// The states by object: without what differs each time, with pods known by their order.
fn lives(kind: &str, events: &[Value]) -> Lives {
    let mut lives = Lives::new();
    let mut text = serde_json::to_string(events).expect("JSON");
    for (index, pod) in pod_names(events).iter().enumerate() {
        text = text.replace(pod, &format!("cart-86cfc9948c-{index}"));
    }
    let events: Vec<Value> = serde_json::from_str(&text).expect("still JSON");
    for event in &events {
        let metadata = &event["object"]["metadata"];
        let name = match kind {
            "endpointslices" => metadata["generateName"].as_str(),
            _ => metadata["name"].as_str(),
        };
        lives
            .entry(name.unwrap_or_default().to_owned())
            .or_default()
            .push(state(event));
    }
    lives
}

/// The names of all pods that are mentioned, in alphabetical order.
fn pod_names(events: &[Value]) -> Vec<String> {
    let text = serde_json::to_string(events).expect("JSON");
    let mut names: Vec<String> = text
        .match_indices("cart-86cfc9948c-")
        .filter_map(|(at, prefix)| {
            let suffix: String = text[at + prefix.len()..]
                .chars()
                .take_while(char::is_ascii_alphanumeric)
                .collect();
            (!suffix.is_empty()).then(|| format!("{prefix}{suffix}"))
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

fn state(event: &Value) -> Value {
    let mut state = normalised(event);
    let object = &mut state["object"];
    if event["object"]["kind"] == "EndpointSlice" {
        let metadata = object["metadata"].as_object_mut().expect("metadata");
        metadata.insert("name".to_owned(), "<generated>".into());
        // Which change of a pod brought it about.
        metadata.remove("annotations");
    }
    if event["object"]["kind"] == "Endpoints" {
        let metadata = object["metadata"].as_object_mut().expect("metadata");
        if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.remove("endpoints.kubernetes.io/last-change-trigger-time");
        }
        metadata.retain(|key, value| key != "annotations" || *value != json!({}));
    }
    // A distribution's own addition to the volume with the token.
    if let Some(sources) = object
        .pointer_mut("/spec/volumes/0/projected/sources")
        .and_then(Value::as_array_mut)
    {
        sources.retain(|source| source["configMap"]["name"] != "openshift-service-ca.crt");
    }
    let text = object.to_string();
    if let Some(volume) = text
        .split('"')
        .find(|part| part.starts_with("kube-api-access-"))
    {
        *object = serde_json::from_str(&text.replace(volume, "kube-api-access-<generated>"))
            .expect("still JSON");
    }
    // Their order is that of a hash.
    for list in ["ports", "endpoints"] {
        if let Some(list) = object[list].as_array_mut() {
            list.sort_by_key(Value::to_string);
        }
    }
    state
}
