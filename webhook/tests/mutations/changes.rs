//! Changes to a pod that leave it a valid one.

use fastrand::Rng;
use serde_json::{Map, Value, json};

/// Makes one of them, at random.
pub(crate) fn change(pod: &mut Value, random: &mut Rng) {
    match random.u8(..14) {
        0 => spec(pod, "hostUsers", json!(false)),
        1 => spec(
            pod,
            "resources",
            json!({"limits": {"cpu": "1", "memory": 1 << 30}}),
        ),
        2 => spec(pod, "terminationGracePeriodSeconds", json!(random.u32(..4))),
        3 => spec(pod, "shareProcessNamespace", json!(true)),
        4 => spec(pod, "restartPolicy", json!("Never")),
        5 => {
            let debugger = json!([{"name": "debug", "image": "i", "targetContainerName": "app"}]);
            spec(pod, "ephemeralContainers", debugger);
        }
        6 => spec(pod, "securityContext", security(random)),
        7 => empty(pod, random),
        8 => annotate(pod, random),
        9 => init_container(pod, random),
        10 => drop(pod.as_object_mut().and_then(|pod| pod.remove("metadata"))),
        _ => container(pod, random),
    }
}

fn spec(pod: &mut Value, field: &str, value: Value) {
    pod["spec"][field] = value;
}

fn security(random: &mut Rng) -> Value {
    let user = [0, 1, 4149, 4151, 65534, i64::from(i32::MAX)][random.usize(..6)];
    json!({"runAsUser": user, "runAsGroup": 4150, "fsGroup": 4150, "runAsNonRoot": user > 0})
}

/// A list or an object that has nothing in it, said in one of three ways.
fn empty(pod: &mut Value, random: &mut Rng) {
    let (list, nothing) = (json!([]), Value::Null);
    let (parent, key, empty) = match random.u8(..4) {
        0 => ("metadata", "labels", json!({})),
        1 => ("metadata", "annotations", json!({})),
        2 => ("spec", "volumes", list),
        _ => ("spec", "initContainers", list),
    };
    let Some(parent) = pod.get_mut(parent).and_then(Value::as_object_mut) else {
        return;
    };
    match random.u8(..3) {
        0 => drop(parent.insert(key.to_owned(), empty)),
        1 => drop(parent.insert(key.to_owned(), nothing)),
        _ => drop(parent.remove(key)),
    }
}

fn annotate(pod: &mut Value, random: &mut Rng) {
    let (key, value) = [
        ("netting.dev/skip-inbound-ports", "0x50, 80-70, 8080"),
        ("netting.dev/skip-outbound-ports", "1e3,007,3306"),
        ("netting.dev/drain-timeout", "10s"),
        ("netting.dev/sidecar-mode", "classic"),
        ("netting.dev/proxy-cpu-limit", "1e-3"),
        ("netting.dev/proxy-memory-request", "null"),
        ("netting.dev/injected", "true"),
        ("netting.dev/status", "{\"mode\":\"native\"}"),
        ("kubectl.kubernetes.io/default-container", "nobody"),
        ("example.com/note", "ü ~1 ~0 \u{2028} \" \\ 🦀"),
    ][random.usize(..10)];
    let place = ["labels", "annotations"][random.usize(..2)];
    pod["metadata"][place][key] = json!(value);
}

fn init_container(pod: &mut Value, random: &mut Rng) {
    let name = name(pod, random);
    let mut container = json!({"name": name, "image": "i"});
    if random.bool() {
        container["restartPolicy"] = json!("Always");
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            container[probe] = handler(random);
        }
    }
    let list = &mut pod["spec"]["initContainers"];
    if !list.is_array() {
        *list = json!([]);
    }
    let list = list.as_array_mut().expect("it is a list by now");
    let at = random.usize(..=list.len());
    list.insert(at, container);
}

/// Up to 63 characters, and no name of another one.
fn name(pod: &Value, random: &mut Rng) -> String {
    let count = |list: &str| pod["spec"][list].as_array().map_or(0, Vec::len);
    let number = count("initContainers") + count("containers");
    let long = "0-".repeat(random.usize(..20));
    format!("{number}-{long}9")
}

fn container(pod: &mut Value, random: &mut Rng) {
    let Some(containers) = pod["spec"]["containers"].as_array_mut() else {
        return;
    };
    let nth = random.usize(..containers.len());
    let container = &mut containers[nth];
    let amounts = [
        json!("1"),
        json!(0.5),
        json!("1e3"),
        json!("100m"),
        json!("0"),
    ];
    let amount = amounts[random.usize(..5)].clone();
    match random.u8(..6) {
        0 => container["livenessProbe"] = handler(random),
        1 => container["readinessProbe"] = handler(random),
        2 => container["startupProbe"] = handler(random),
        3 => {
            container["lifecycle"] =
                json!({"preStop": handler(random), "postStart": handler(random)})
        }
        4 => container["resources"] = json!({"limits": {"cpu": amount, "memory": "1Gi"}}),
        _ => {
            container["env"] = json!([{"name": "A", "value": "$(B) $$ 007"}]);
            container["ports"] = json!([{"name": "web", "containerPort": random.u16(1..)}]);
        }
    }
}

fn handler(random: &mut Rng) -> Value {
    let port = [json!("web"), json!(8080), json!(15020), json!(1)][random.usize(..4)].clone();
    let number = random.u16(1..);
    let (kind, question) = match random.u8(..6) {
        0 => ("exec", json!({"command": ["true"]})),
        1 => ("tcpSocket", json!({"port": port, "host": ""})),
        2 => ("grpc", json!({"port": number, "service": "grüße.🦀"})),
        3 => ("grpc", json!({"port": number, "service": null})),
        4 => ("httpGet", json!({"port": port})),
        _ => (
            "httpGet",
            json!({"port": port, "path": "/a?b=%20", "scheme": "HTTPS",
                "httpHeaders": [{"name": "Host", "value": "app.example"}]}),
        ),
    };
    let knobs = json!({"timeoutSeconds": random.u32(1..), "periodSeconds": 1});
    let mut handler: Map<_, _> = [(kind.to_owned(), question)].into_iter().collect();
    if random.bool() {
        handler.extend(knobs.as_object().cloned().unwrap_or_default());
    }
    Value::Object(handler)
}
