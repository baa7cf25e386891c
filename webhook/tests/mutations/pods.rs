//! Pods to begin with: recorded ones, the same as `kubectl` would have sent them, and
//! odd ones.

use std::{fs, path::Path};

use serde_json::{Value, json};

fn files(folder: &str) -> Vec<Value> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let entries = fs::read_dir(dir.join(folder)).expect("the fixtures are there");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("it is listed").path())
        .collect();
    paths.sort();
    let read = |path| {
        let text = fs::read(path).expect("a fixture can be read");
        serde_json::from_slice(&text).expect("a fixture is JSON")
    };
    paths.into_iter().map(read).collect()
}

/// Reviews, as an API server sends them.
pub(crate) fn reviews() -> Vec<Value> {
    let recorded: Vec<_> = files("admission")
        .into_iter()
        .map(|mut file| file["review"].take())
        .collect();
    let as_written = recorded.iter().map(|review| {
        let mut review = review.clone();
        take_defaults_out(&mut review["request"]["object"]);
        review
    });
    let as_written: Vec<_> = as_written.collect();
    let odd = files("pods").into_iter().map(|pod| review_of(&pod));
    let odd: Vec<_> = odd.collect();
    assert!(odd.len() > 15, "the odd pods are there");
    [recorded, as_written, odd].concat()
}

fn review_of(pod: &Value) -> Value {
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "1",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "edge",
            "operation": "CREATE",
            "object": pod,
        },
    })
}

/// What the API server fills in where nothing is said.
fn is_default(key: &str, value: &Value) -> bool {
    let default = match key {
        "dnsPolicy" => json!("ClusterFirst"),
        "restartPolicy" => json!("Always"),
        "schedulerName" => json!("default-scheduler"),
        "terminationMessagePath" => json!("/dev/termination-log"),
        "terminationMessagePolicy" => json!("File"),
        "protocol" => json!("TCP"),
        "scheme" => json!("HTTP"),
        "preemptionPolicy" => json!("PreemptLowerPriority"),
        "terminationGracePeriodSeconds" => json!(30),
        "periodSeconds" => json!(10),
        "failureThreshold" => json!(3),
        "timeoutSeconds" | "successThreshold" => json!(1),
        "enableServiceLinks" => json!(true),
        "priority" => json!(0),
        "securityContext" | "resources" | "status" => json!({}),
        "creationTimestamp" => Value::Null,
        "imagePullPolicy" | "managedFields" | "uid" | "tolerations" | "serviceAccount" => {
            return true;
        }
        _ => return false,
    };
    *value == default
}

fn take_defaults_out(value: &mut Value) {
    match value {
        Value::Object(object) => {
            // A native sidecar's policy is none.
            let is_container = object.contains_key("image");
            object.retain(|key, value| {
                (is_container && key == "restartPolicy") || !is_default(key, value)
            });
            object.values_mut().for_each(take_defaults_out);
        }
        Value::Array(list) => {
            let is_token = |item: &Value| {
                let name = item["name"].as_str();
                name.is_some_and(|name| name.starts_with("kube-api-access-"))
            };
            list.retain(|item| !is_token(item));
            list.iter_mut().for_each(take_defaults_out);
        }
        _ => {}
    }
}
