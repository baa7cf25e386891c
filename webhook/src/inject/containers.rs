//! The two containers, as JSON.

use serde_json::{Value, json};

use crate::{
    names::{self, SidecarMode},
    options::{Options, PodOptions, written_duration},
    pod::Pod,
    workload::Workload,
};

/// Where the image has them.
const INIT: &str = "/netting/netting-iptables-init";
const SIDECAR: &str = "/netting/netting-sidecar";

/// The init container's flag for ports that are not redirected.
pub(super) const SKIP_INBOUND_PORTS: &str = "skip-inbound-ports";

/// The init container: installs the redirection, checks that it works, and ends.
pub(super) fn init(
    pod: &Pod<'_>,
    options: &Options,
    chosen: &PodOptions,
    resources: &Value,
) -> Value {
    let mut container = common(options, names::INIT_CONTAINER, INIT);
    container["args"] = json!([ports_args(), init_args(chosen)].concat());
    // Capabilities are kept across exec by uid 0 only, and the pod may say that its
    // containers run as somebody else, or not as root.
    let capabilities = json!({"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]});
    container["securityContext"] = security_context(pod, 0, &capabilities);
    sized(container, resources)
}

/// The proxy. It has no liveness probe: to restart a proxy that is slow to answer
/// would break every connection through it. `mounts` come after that of its token.
pub(super) fn sidecar(
    pod: &Pod<'_>,
    options: &Options,
    chosen: &PodOptions,
    mounts: Vec<Value>,
    resources: &Value,
) -> Value {
    let mut container = common(options, names::SIDECAR_CONTAINER, SIDECAR);
    container["args"] = json!(ports_args());
    container["env"] = sidecar_env(pod, options, chosen);
    container["ports"] = json!([{"name": "netting-admin", "containerPort": names::ADMIN_PORT}]);
    let capabilities = json!({"drop": ["ALL"]});
    container["securityContext"] = security_context(pod, names::SIDECAR_UID, &capabilities);
    let token =
        json!({"name": names::TOKEN_VOLUME, "mountPath": names::TOKEN_DIR, "readOnly": true});
    container["volumeMounts"] = Value::Array([vec![token], mounts].concat());
    let ready = json!({"path": "/ready", "port": names::ADMIN_PORT});
    // The application waits for this one, so it is asked as often as can be.
    container["startupProbe"] =
        json!({"httpGet": ready, "periodSeconds": 1, "failureThreshold": 60});
    container["readinessProbe"] = json!({"httpGet": ready, "periodSeconds": 5});
    match chosen.mode {
        SidecarMode::Native => container["restartPolicy"] = json!("Always"),
        // The kubelet starts the next container once this hook has ended, so that the
        // application's first connection finds somebody to accept it.
        SidecarMode::Classic => {
            let admin_port = format!("--admin-port={}", names::ADMIN_PORT);
            let wait = json!({"command": [SIDECAR, admin_port, "wait"]});
            container["lifecycle"] = json!({"postStart": {"exec": wait}});
        }
    }
    sized(container, resources)
}

/// Kept ready for identity (`netting.v1.Identity`), which no release uses yet: until then
/// nothing reads it. It is there also where the pod mounts no token for the API server,
/// and its name is not one that the API server takes for such a token
/// (`kube-api-access-…`).
pub(super) fn token_volume() -> Value {
    let token = json!({"audience": names::TOKEN_AUDIENCE, "path": "token"});
    json!({"name": names::TOKEN_VOLUME, "projected": {"sources": [{"serviceAccountToken": token}]}})
}

fn common(options: &Options, name: &str, binary: &'static str) -> Value {
    let mut container = json!({
        "name": name,
        "image": options.image,
        "command": [binary],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    });
    if let Some(policy) = options.image_pull_policy {
        container["imagePullPolicy"] = json!(policy.as_str());
    }
    container
}

/// Nothing but what is added. It goes over what the pod says about its containers,
/// which was said of the application.
fn security_context(pod: &Pod<'_>, uid: i64, capabilities: &Value) -> Value {
    let mut context = json!({
        "allowPrivilegeEscalation": false,
        "capabilities": capabilities,
        "privileged": false,
        "readOnlyRootFilesystem": true,
        "runAsGroup": uid,
        "runAsNonRoot": uid != 0,
        "runAsUser": uid,
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    let profile = pod.spec("securityContext").and_then(|pod| {
        let profile = pod.get("appArmorProfile")?;
        profile.get("type")?.as_str()
    });
    if profile == Some("Localhost") {
        // A profile that knows the application only.
        context["appArmorProfile"] = json!({"type": "RuntimeDefault"});
    }
    context
}

fn sized(mut container: Value, resources: &Value) -> Value {
    if resources.as_object().is_some_and(|some| !some.is_empty()) {
        container["resources"] = resources.clone();
    }
    container
}

/// Told although they are the defaults: a Service named `netting-admin` would have
/// Kubernetes set `NETTING_ADMIN_PORT` to a URL, in every container of its namespace.
fn ports_args() -> Vec<String> {
    [
        ("outbound", names::OUTBOUND_PORT),
        ("inbound", names::INBOUND_PORT),
        ("admin", names::ADMIN_PORT),
    ]
    .map(|(name, port)| format!("--{name}-port={port}"))
    .to_vec()
}

fn init_args(chosen: &PodOptions) -> Vec<String> {
    let lists = [
        (SKIP_INBOUND_PORTS, list(&chosen.skip_inbound_ports)),
        ("skip-outbound-ports", list(&chosen.skip_outbound_ports)),
        ("skip-inbound-cidrs", list(&chosen.skip_inbound_cidrs)),
        ("skip-outbound-cidrs", list(&chosen.skip_outbound_cidrs)),
    ];
    let given = lists.into_iter().filter(|(_, items)| !items.is_empty());
    given
        .map(|(flag, items)| format!("--{flag}={items}"))
        .collect()
}

/// As flags and variables take it.
fn list<T: ToString>(items: &[T]) -> String {
    let items: Vec<_> = items.iter().map(ToString::to_string).collect();
    items.join(",")
}

fn sidecar_env(pod: &Pod<'_>, options: &Options, chosen: &PodOptions) -> Value {
    let drain = written_duration(chosen.drain(pod));
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let value = |name: &str, value: String| json!({"name": name, "value": value});
    let mut env = vec![
        field("NETTING_POD_NAME", "metadata.name"),
        field("NETTING_POD_NAMESPACE", "metadata.namespace"),
        field("NETTING_NODE_NAME", "spec.nodeName"),
        value("NETTING_CATALOG", options.catalog_for(pod).into_owned()),
        value("NETTING_LOG", chosen.log.to_string()),
        value("NETTING_DRAIN_TIMEOUT", drain),
    ];
    if let Some(workload) = Workload::of(pod) {
        env.push(value("NETTING_WORKLOAD_KIND", workload.kind.to_owned()));
        env.push(value("NETTING_WORKLOAD_NAME", workload.name.to_owned()));
    }
    // What is as the sidecar has it anyway is left out: the pod is read by people.
    if chosen.mode == SidecarMode::Classic {
        let mode = chosen.mode.as_str().to_owned();
        env.push(value("NETTING_SIDECAR_MODE", mode));
    }
    if !chosen.opaque_ports.is_empty() {
        env.push(value("NETTING_OPAQUE_PORTS", list(&chosen.opaque_ports)));
    }
    for (name, text) in chosen.access_log.variables() {
        env.push(value(name, text.to_owned()));
    }
    if !chosen.telemetry.is_default() {
        env.push(value("NETTING_TELEMETRY", chosen.telemetry.to_string()));
    }
    if let Some(list) = chosen.telemetry.left_out() {
        env.push(value("NETTING_TELEMETRY_LEFT_OUT", list.to_owned()));
    }
    chosen.telemetry.give(&mut env);
    Value::Array(env)
}
