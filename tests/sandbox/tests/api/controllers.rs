//! What the controllers make of Deployments, Jobs and namespaces, seen through the API.

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};

use crate::harness::{Harness, send, watch};

const APPS: &str = "/apis/apps/v1/namespaces/shop";
const SHOP: &str = "/api/v1/namespaces/shop";

/// A cluster with a node whose agent does everything at once. Pods of the image `fails` fail.
async fn cluster() -> Harness {
    let harness = Harness::with_controllers(&[]).await;
    harness.namespace("shop").await;
    tokio::spawn(kubelet(harness.admin.clone()));
    harness
}

async fn kubelet(client: Client) {
    let mut events = watch(&client, "/api/v1/pods?watch=1").await;
    while let Some(event) = events.next().await {
        let pod = &event["object"];
        let text = |pointer: &str| {
            pod.pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}",
            text("/metadata/namespace"),
            text("/metadata/name")
        );
        if event["type"] == "DELETED" {
            continue;
        }
        if text("/spec/nodeName").is_empty() {
            let binding = json!({"target": {"kind": "Node", "name": "n"}});
            let path = format!("{path}/binding");
            send(&client, "POST", &path, "application/json", &binding).await;
            continue;
        }
        if !text("/metadata/deletionTimestamp").is_empty() {
            send(
                &client,
                "DELETE",
                &format!("{path}?gracePeriodSeconds=0"),
                "",
                &Value::Null,
            )
            .await;
        } else if text("/status/phase") == "Pending" {
            let phase = match (
                text("/spec/restartPolicy"),
                text("/spec/containers/0/image"),
            ) {
                ("Never", "fails") => "Failed",
                ("Never", _) => "Succeeded",
                _ => "Running",
            };
            let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
            let status = json!({"status": {"phase": phase, "podIPs": [{"ip": "10.244.0.9"}], "conditions": [ready]}});
            send(
                &client,
                "PATCH",
                &format!("{path}/status"),
                "application/merge-patch+json",
                &status,
            )
            .await;
        }
    }
}

fn deployment(replicas: u32, image: &str) -> Value {
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": image}]}});
    json!({"metadata": {"name": "web"}, "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}})
}

/// What `kubectl rollout status` waits for.
fn is_rolled_out(deployment: &Value, replicas: u32) -> bool {
    let status = &deployment["status"];
    status["observedGeneration"] == deployment["metadata"]["generation"]
        && ["replicas", "updatedReplicas", "availableReplicas"]
            .iter()
            .all(|count| status[*count] == replicas)
}

async fn rolled_out(harness: &Harness, replicas: u32) -> Value {
    let mut events = harness
        .watch(&format!("{APPS}/deployments?watch=1&timeoutSeconds=60"))
        .await;
    let seen = events
        .until(|event| is_rolled_out(&event["object"], replicas))
        .await;
    seen.last().expect("the one that was waited for")["object"].clone()
}

async fn images(harness: &Harness) -> Vec<Value> {
    let pods = harness.get(&format!("{SHOP}/pods")).await.body;
    let pods = pods["items"].as_array().expect("a list").iter();
    let alive = pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    alive
        .map(|pod| pod["spec"]["containers"][0]["image"].clone())
        .collect()
}

#[tokio::test]
async fn a_deployment_is_rolled_out_updated_scaled_and_undone() {
    let harness = cluster().await;
    let made = harness
        .post(&format!("{APPS}/deployments"), deployment(3, "a:1"))
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
    let first = rolled_out(&harness, 3).await;
    let conditions: Vec<&Value> = first["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| &one["status"])
        .collect();
    assert_eq!(conditions, ["True"]);
    let update = |replicas, image| {
        let path = format!("{APPS}/deployments/web");
        let patch = deployment(replicas, image);
        let harness = &harness;
        async move { harness.patch(&path, patch).await }
    };
    update(3, "a:2").await;
    rolled_out(&harness, 3).await;
    assert_eq!(images(&harness).await, ["a:2", "a:2", "a:2"]);
    update(1, "a:2").await;
    rolled_out(&harness, 1).await;
    update(1, "a:1").await;
    rolled_out(&harness, 1).await;
    assert_eq!(images(&harness).await, ["a:1"]);
}

/// A real server knows no null maps; CEL's `has` would find one here.
#[tokio::test]
async fn pods_of_a_template_without_annotations_have_none() {
    let harness = cluster().await;
    let path = format!("{APPS}/deployments");
    harness.post(&path, deployment(1, "a:1")).await;
    rolled_out(&harness, 1).await;
    let pods = harness.get(&format!("{SHOP}/pods")).await.body;
    let metadata = pods["items"][0]["metadata"].as_object();
    let metadata = metadata.expect("there is a pod");
    assert!(!metadata.contains_key("annotations"), "{metadata:?}");
    assert_eq!(metadata["labels"]["app"], "web");
}

#[tokio::test]
async fn a_pod_that_is_lost_is_replaced() {
    let harness = cluster().await;
    harness
        .post(&format!("{APPS}/deployments"), deployment(2, "a:1"))
        .await;
    rolled_out(&harness, 2).await;
    let pods = harness.get(&format!("{SHOP}/pods")).await.body;
    let (name, version) = (
        &pods["items"][0]["metadata"]["name"],
        &pods["metadata"]["resourceVersion"],
    );
    let path = format!(
        "{SHOP}/pods?watch=1&resourceVersion={}&timeoutSeconds=60",
        version.as_str().expect("a version")
    );
    let mut events = harness.watch(&path).await;
    harness
        .delete(&format!("{SHOP}/pods/{}", name.as_str().expect("a name")))
        .await;
    events.until(|event| event["type"] == "ADDED").await;
    rolled_out(&harness, 2).await;
}

#[tokio::test]
async fn jobs_complete_or_give_up() {
    let harness = cluster().await;
    let jobs = "/apis/batch/v1/namespaces/shop/jobs";
    for (image, expected) in [("works", "Complete"), ("fails", "Failed")] {
        let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": image}]}});
        let job =
            json!({"metadata": {"name": image}, "spec": {"backoffLimit": 0, "template": template}});
        let made = harness.post(jobs, job).await;
        assert_eq!(made.status, 201, "{}", made.body);
        let mut events = harness
            .watch(&format!(
                "{jobs}?watch=1&fieldSelector=metadata.name={image}&timeoutSeconds=60"
            ))
            .await;
        let has_ended = |event: &Value| {
            let conditions = event["object"]["status"]["conditions"]
                .as_array()
                .into_iter()
                .flatten();
            conditions
                .into_iter()
                .any(|one| one["type"] == expected && one["status"] == "True")
        };
        events.until(has_ended).await;
    }
}

/// Its Jobs as a real cluster's: `edge-job-nightly-…` of the recorded admissions.
#[tokio::test]
async fn a_cron_job_makes_up_for_the_last_job_it_missed() {
    let harness = cluster().await;
    let batch = "/apis/batch/v1/namespaces/shop";
    let pod = json!({"restartPolicy": "Never", "containers": [{"name": "a", "image": "works"}]});
    let labels = json!({"tier": "night"});
    let job = json!({"metadata": {"labels": labels}, "spec": {"template": {"spec": pod}}});
    let spec = json!({"schedule": "@hourly", "jobTemplate": job});
    let cron_job = json!({"metadata": {"name": "nightly"}, "spec": spec});
    let made = harness.post(&format!("{batch}/cronjobs"), cron_job).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.body["spec"]["concurrencyPolicy"], "Allow");
    assert_eq!(made.body["spec"]["successfulJobsHistoryLimit"], 3);

    let status = json!({"status": {"lastScheduleTime": "2026-01-01T00:00:00Z"}});
    let path = format!("{batch}/cronjobs/nightly");
    harness.patch(&format!("{path}/status"), status).await;
    let mut events = harness
        .watch(&format!("{batch}/cronjobs?watch=1&timeoutSeconds=60"))
        .await;
    let seen = events
        .until(|event| event["object"]["status"]["lastSuccessfulTime"].is_string())
        .await;
    let status = &seen.last().expect("the one that was waited for")["object"]["status"];
    assert!(status["active"].is_null(), "{status}");
    let due = status["lastScheduleTime"].as_str().expect("it has run");
    assert!(due.ends_with(":00:00Z"), "{due}");

    let jobs = harness.get(&format!("{batch}/jobs")).await.body;
    let jobs = jobs["items"].as_array().expect("a list");
    let [job] = &jobs[..] else {
        panic!("one for all that were missed: {jobs:?}");
    };
    let metadata = &job["metadata"];
    let due: Timestamp = due.parse().expect("it is a moment");
    assert_eq!(
        metadata["name"],
        format!("nightly-{}", due.as_second() / 60)
    );
    assert_eq!(metadata["labels"], labels);
    assert_eq!(metadata["ownerReferences"][0]["kind"], "CronJob");
    let scheduled = &metadata["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"];
    assert_eq!(*scheduled, status["lastScheduleTime"]);

    // From before, so that what goes is seen to go.
    let mut events = harness
        .watch(&format!("{SHOP}/pods?watch=1&timeoutSeconds=60"))
        .await;
    harness.delete(&path).await;
    events.until(|event| event["type"] == "DELETED").await;
    let left = harness.get(&format!("{batch}/jobs")).await.body;
    assert_eq!(left["items"].as_array().map(Vec::len), Some(0));
}

#[tokio::test]
async fn a_namespace_goes_once_it_is_empty() {
    let harness = cluster().await;
    harness
        .post(&format!("{APPS}/deployments"), deployment(2, "a:1"))
        .await;
    rolled_out(&harness, 2).await;
    let mut events = harness
        .watch("/api/v1/namespaces?watch=1&fieldSelector=metadata.name=shop&timeoutSeconds=60")
        .await;
    let marked = harness.delete("/api/v1/namespaces/shop").await;
    assert_eq!(marked.body["status"]["phase"], "Terminating");
    events.until(|event| event["type"] == "DELETED").await;
    let left = harness.get("/api/v1/pods").await.body;
    assert_eq!(left["items"].as_array().map(Vec::len), Some(0));
}

#[tokio::test]
async fn endpoints_are_mirrored_where_no_selector_is_and_nobody_asks_not_to() {
    let harness = Harness::with_controllers(&[]).await;
    harness.namespace("shop").await;
    // From before there are any, so that they come in the order that they are made in.
    let slices = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";
    let by_mirroring = "labelSelector=endpointslice.kubernetes.io/managed-by=endpointslicemirroring-controller.k8s.io";
    let mut events = harness
        .watch(&format!("{slices}?watch=1&{by_mirroring}"))
        .await;
    let ports = json!([{"port": 80}]);
    let subsets = json!([{"addresses": [{"ip": "192.0.2.1"}, {"ip": "fd00::1"}],
        "notReadyAddresses": [{"ip": "192.0.2.2"}], "ports": ports}]);
    let skipped = json!({"endpointslice.kubernetes.io/skip-mirror": "true"});
    for (name, labels, selector) in [
        ("selecting", json!({}), json!({"app": "cart"})),
        ("skipped", skipped, Value::Null),
        ("mirrored", json!({}), Value::Null),
    ] {
        let metadata = json!({"name": name, "labels": labels});
        let spec = json!({"ports": ports, "selector": selector});
        let service = json!({"metadata": {"name": name}, "spec": spec});
        harness.post(&format!("{SHOP}/services"), service).await;
        let endpoints = json!({"metadata": metadata, "subsets": subsets});
        harness.post(&format!("{SHOP}/endpoints"), endpoints).await;
    }
    let is_of = |event: &Value, family: &str, endpoints: usize| {
        let slice = &event["object"];
        let listed = slice["endpoints"].as_array().map_or(0, Vec::len);
        slice["addressType"] == family && listed == endpoints
    };
    events.until(|event| is_of(event, "IPv4", 2)).await;
    events.until(|event| is_of(event, "IPv6", 1)).await;
    let fewer = json!({"subsets": [{"addresses": [{"ip": "192.0.2.1"}], "ports": ports}]});
    harness
        .patch(&format!("{SHOP}/endpoints/mirrored"), fewer)
        .await;
    events.until(|event| is_of(event, "IPv4", 1)).await;
    events.until(|event| event["type"] == "DELETED").await;
    let left = harness.get(&format!("{slices}?{by_mirroring}")).await.body;
    let services: Vec<_> = left["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|slice| &slice["metadata"]["labels"]["kubernetes.io/service-name"])
        .collect();
    assert_eq!(services, [&json!("mirrored")]);
    harness.delete(&format!("{SHOP}/services/mirrored")).await;
    events.until(|event| event["type"] == "DELETED").await;
}
