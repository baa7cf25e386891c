//! The values a real API server fills in when it decodes an object.

mod pod;

use serde_json::{Value, json};

use super::{object::Object as _, resources::Resource};

/// Fills in what `object` leaves out. Doing it twice changes nothing.
pub(crate) fn apply(resource: &Resource, object: &mut Value) {
    match resource.id() {
        ("", "pods") => {
            pod::spec(object.entry("/spec"));
            object.default_to("/status", json!({}));
        }
        ("", "services") => service(object),
        ("", "namespaces") => {
            object.default_to("/spec", json!({}));
            object.default_to("/status", json!({}));
            let name = object.name().to_owned();
            if !name.is_empty() {
                object.set("/metadata/labels/kubernetes.io~1metadata.name", name);
            }
        }
        ("", "nodes") => {
            object.default_to("/spec", json!({}));
            object.default_to("/status", json!({}));
        }
        ("", "secrets") => secret(object),
        ("", "endpoints") => {
            for subset in object.each("/subsets") {
                protocols(subset, "/ports");
            }
        }
        ("apps", plural) => workload(plural, object),
        ("batch", "jobs") => job(object),
        ("batch", "cronjobs") => cron_job(object),
        ("admissionregistration.k8s.io", _) => webhooks(object),
        ("discovery.k8s.io", _) => {
            for port in object.each("/ports") {
                port.default_to("/name", "");
            }
            protocols(object, "/ports");
        }
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => binding(object),
        _ => {}
    }
}

fn service(object: &mut Value) {
    object.default_to("/spec/type", "ClusterIP");
    object.default_to("/spec/sessionAffinity", "None");
    object.default_to("/status/loadBalancer", json!({}));
    if object.text("/spec/sessionAffinity") == "ClientIP" {
        object.default_to(
            "/spec/sessionAffinityConfig/clientIP/timeoutSeconds",
            10_800,
        );
    }
    for port in object.each("/spec/ports") {
        port.default_to("/protocol", "TCP");
        let number = port["port"].clone();
        port.default_to("/targetPort", number);
    }
    let kind = object.text("/spec/type").to_owned();
    if kind != "ExternalName" {
        object.default_to("/spec/internalTrafficPolicy", "Cluster");
    }
    if kind == "NodePort" || kind == "LoadBalancer" {
        object.default_to("/spec/externalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        object.default_to("/spec/allocateLoadBalancerNodePorts", true);
    }
}

fn secret(object: &mut Value) {
    object.default_to("/type", "Opaque");
    let Some(Value::Object(plain)) = object.take_out("/stringData") else {
        return;
    };
    for (key, value) in plain {
        let encoded = super::base64(value.as_str().unwrap_or("").as_bytes());
        let key = key.replace('~', "~0").replace('/', "~1");
        object.set(&format!("/data/{key}"), encoded);
    }
}

fn protocols(object: &mut Value, ports: &str) {
    for port in object.each(ports) {
        port.default_to("/protocol", "TCP");
    }
}

fn workload(plural: &str, object: &mut Value) {
    object.default_to("/status", json!({}));
    object.default_to("/spec/replicas", 1);
    if plural == "deployments" {
        object.default_to("/spec/progressDeadlineSeconds", 600);
        object.default_to("/spec/revisionHistoryLimit", 10);
        object.default_to("/spec/strategy/type", "RollingUpdate");
        if object.text("/spec/strategy/type") == "RollingUpdate" {
            object.default_to("/spec/strategy/rollingUpdate/maxSurge", "25%");
            object.default_to("/spec/strategy/rollingUpdate/maxUnavailable", "25%");
        }
    }
    template(object.entry("/spec"), "Always");
}

fn job(object: &mut Value) {
    object.default_to("/status", json!({}));
    for (field, value) in [
        ("/spec/backoffLimit", json!(6)),
        ("/spec/completionMode", json!("NonIndexed")),
        ("/spec/completions", json!(1)),
        ("/spec/manualSelector", json!(false)),
        ("/spec/parallelism", json!(1)),
        ("/spec/podReplacementPolicy", json!("TerminatingOrFailed")),
        ("/spec/suspend", json!(false)),
    ] {
        object.default_to(field, value);
    }
    template(object.entry("/spec"), "");
}

fn cron_job(object: &mut Value) {
    object.default_to("/status", json!({}));
    for (field, value) in [
        ("/spec/concurrencyPolicy", json!("Allow")),
        ("/spec/failedJobsHistoryLimit", json!(1)),
        ("/spec/successfulJobsHistoryLimit", json!(3)),
        ("/spec/suspend", json!(false)),
        ("/spec/jobTemplate/metadata", json!({})),
    ] {
        object.default_to(field, value);
    }
    // The others of a Job come when it is made.
    template(object.entry("/spec/jobTemplate/spec"), "");
}

/// Defaults of `spec.template`; `restart_policy` is the default of its pods, "" for none.
fn template(spec: &mut Value, restart_policy: &str) {
    spec.default_to("/template/metadata", json!({}));
    let pod = spec.entry("/template/spec");
    if restart_policy.is_empty() && pod["restartPolicy"].is_null() {
        // A Job's pods have no default: validation asks for one.
        pod::spec(pod);
        pod.take_out("/restartPolicy");
    } else {
        pod::spec(pod);
    }
}

fn webhooks(object: &mut Value) {
    for webhook in object.each("/webhooks") {
        for (field, value) in [
            ("/failurePolicy", json!("Fail")),
            ("/matchPolicy", json!("Equivalent")),
            ("/namespaceSelector", json!({})),
            ("/objectSelector", json!({})),
            ("/reinvocationPolicy", json!("Never")),
            ("/timeoutSeconds", json!(10)),
        ] {
            webhook.default_to(field, value);
        }
        if !webhook["clientConfig"]["service"].is_null() {
            webhook.default_to("/clientConfig/service/port", 443);
        }
        for rule in webhook.each("/rules") {
            rule.default_to("/scope", "*");
        }
    }
}

fn binding(object: &mut Value) {
    object.default_to("/roleRef/apiGroup", "rbac.authorization.k8s.io");
    for subject in object.each("/subjects") {
        if matches!(subject.text("/kind"), "User" | "Group") {
            subject.default_to("/apiGroup", "rbac.authorization.k8s.io");
        }
    }
}
