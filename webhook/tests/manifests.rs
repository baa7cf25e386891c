//! The manifests under `k8s/`, read as strictly as an API server would.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use clap::{CommandFactory as _, Parser as _};
use k8s_openapi::{
    api::{
        admissionregistration::v1::MutatingWebhookConfiguration,
        apps::v1::Deployment,
        core::v1::{Namespace, ResourceQuota, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    serde::{Serialize, de::DeserializeOwned},
};
use netting_webhook::{Args, names, options::Exporters};
use serde_json::{Value, json};

fn base() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../k8s/base")
}

fn documents(path: &Path) -> Vec<Value> {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn kustomization() -> Value {
    let mut documents = documents(&base().join("kustomization.yaml"));
    documents.remove(0)
}

fn resources() -> Vec<String> {
    let kustomization = kustomization();
    let resources = kustomization["resources"]
        .as_array()
        .expect("it lists resources");
    let name = |file: &Value| file.as_str().expect("a resource is a file").to_owned();
    resources.iter().map(name).collect()
}

fn objects() -> Vec<Value> {
    let files = resources().into_iter();
    files
        .flat_map(|file| documents(&base().join(file)))
        .collect()
}

fn one<T: DeserializeOwned>(kind: &str, name: &str) -> T {
    let objects = objects();
    let found = objects
        .iter()
        .find(|o| o["kind"] == kind && o["metadata"]["name"] == name);
    let found = found.unwrap_or_else(|| panic!("there is a {kind} {name}"));
    serde_json::from_value(found.clone()).expect("it is of its kind")
}

/// Fields that the type doesn't know would be gone from what it serialises to.
fn assert_known<T: DeserializeOwned + Serialize>(object: &Value) {
    let typed: T = serde_json::from_value(object.clone())
        .unwrap_or_else(|error| panic!("{}: {error}\n{object:#}", object["kind"]));
    let again = serde_json::to_value(typed).expect("an object is JSON");
    assert_eq!(object, &again, "a field is unknown");
}

#[test]
fn every_object_is_of_its_kind_and_has_no_unknown_field() {
    let objects = objects();
    assert!(!objects.is_empty());
    for object in &objects {
        match object["kind"].as_str().unwrap_or_default() {
            "Namespace" => assert_known::<Namespace>(object),
            "NetworkPolicy" => assert_known::<NetworkPolicy>(object),
            "ResourceQuota" => assert_known::<ResourceQuota>(object),
            "ServiceAccount" => assert_known::<ServiceAccount>(object),
            "ClusterRole" => assert_known::<ClusterRole>(object),
            "ClusterRoleBinding" => assert_known::<ClusterRoleBinding>(object),
            "Role" => assert_known::<Role>(object),
            "RoleBinding" => assert_known::<RoleBinding>(object),
            "Service" => assert_known::<Service>(object),
            "Deployment" => assert_known::<Deployment>(object),
            "MutatingWebhookConfiguration" => assert_known::<MutatingWebhookConfiguration>(object),
            other => panic!("no test knows the kind {other:?}"),
        }
    }
}

#[test]
fn every_file_is_a_resource_of_the_kustomization() {
    let listed: BTreeSet<_> = resources().into_iter().collect();
    let files = fs::read_dir(base()).expect("the base is there");
    let name = |entry: std::io::Result<fs::DirEntry>| {
        entry
            .expect("it can be listed")
            .file_name()
            .to_string_lossy()
            .into_owned()
    };
    let files: BTreeSet<_> = files
        .map(name)
        .filter(|file| file != "kustomization.yaml")
        .collect();
    assert_eq!(listed, files);
}

#[test]
fn the_configuration_lets_only_pods_through_that_ask() {
    let configuration: Value = one("MutatingWebhookConfiguration", names::WEBHOOK_CONFIGURATION);
    let webhooks = configuration["webhooks"]
        .as_array()
        .expect("there are webhooks");
    assert_eq!(webhooks.len(), 2);
    let expression = |webhook: &Value, selector: &str, key: &str| {
        let all = webhook[selector]["matchExpressions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let with_key = all.into_iter().filter(|e| e["key"] == key);
        let said = with_key.map(|mut e| (e["operator"].take(), e["values"].take()));
        said.collect::<Vec<_>>()
    };
    let is = |operator: &str, values: [&str; 2]| vec![(json!(operator), json!(values))];
    let is_there = || vec![(json!("Exists"), Value::Null)];
    let (yes, no) = (["enabled", "true"], ["disabled", "false"]);
    let system = [names::KUBE_SYSTEM, "netting"];
    for (webhook, by_namespace, by_pod) in [
        (&webhooks[0], is("In", yes), is("NotIn", no)),
        (
            &webhooks[1],
            is("NotIn", yes),
            [is_there(), is("NotIn", no)].concat(),
        ),
    ] {
        assert_eq!(
            expression(webhook, "namespaceSelector", names::INJECT),
            by_namespace
        );
        assert_eq!(expression(webhook, "objectSelector", names::INJECT), by_pod);
        let name = expression(webhook, "namespaceSelector", "kubernetes.io/metadata.name");
        assert_eq!(name, is("NotIn", system));
        assert_eq!(webhook["failurePolicy"], "Ignore");
        assert_eq!(webhook["reinvocationPolicy"], "IfNeeded");
        assert_eq!(webhook["sideEffects"], "None");
        assert_eq!(webhook["timeoutSeconds"], 5);
        let condition = webhook["matchConditions"][0]["expression"].as_str();
        assert!(condition.is_some_and(|cel| cel.contains(names::MIRROR_POD)));
    }
}

#[test]
fn the_parts_agree_on_names_and_ports() {
    let args = Args::parse_from(["netting-webhook", "--https-port=8443", "--admin-port=15020"]);
    let deployment: Value = one("Deployment", "netting-webhook");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let port = |name: &str| {
        let ports = container["ports"].as_array().expect("there are ports");
        let found = ports.iter().find(|port| port["name"] == name);
        found.expect("it is declared")["containerPort"].clone()
    };
    assert_eq!(port("https"), args.https_port);
    assert_eq!(port("admin"), args.admin_port);
    assert_eq!(container["readinessProbe"]["httpGet"]["port"], "admin");

    let service: Value = one("Service", &args.service);
    let configuration: Value = one("MutatingWebhookConfiguration", &args.webhook_configuration);
    for webhook in configuration["webhooks"]
        .as_array()
        .expect("there are webhooks")
    {
        let target = &webhook["clientConfig"]["service"];
        assert_eq!(target["name"], service["metadata"]["name"]);
        assert_eq!(target["namespace"], service["metadata"]["namespace"]);
        assert_eq!(target["port"], service["spec"]["ports"][0]["port"]);
        assert_eq!(target["path"], "/mutate");
    }
    let role: Value = one("ClusterRole", "netting-webhook");
    assert_eq!(
        role["rules"][0]["resourceNames"][0],
        args.webhook_configuration.as_str()
    );
}

/// The verbs that rules give for a resource, and the names they are limited to.
fn granted(role: &Value, group: &str, resource: &str) -> Vec<(Value, Value)> {
    let rules = role["rules"].as_array().expect("there are rules");
    let about = |rule: &&Value| rule["apiGroups"][0] == group && rule["resources"][0] == resource;
    let rules = rules.iter().filter(about);
    rules
        .map(|rule| (rule["verbs"].clone(), rule["resourceNames"].clone()))
        .collect()
}

#[test]
fn the_webhook_may_do_what_it_does_and_nothing_more() {
    let args = Args::parse_from(["netting-webhook", "--tls-secret=netting-webhook-tls"]);
    let everywhere: Value = one("ClusterRole", "netting-webhook");
    let in_its_namespace: Value = one("Role", "netting-webhook");
    for (role, rules) in [(&everywhere, 5), (&in_its_namespace, 2)] {
        assert_eq!(role["rules"].as_array().map(Vec::len), Some(rules));
    }
    assert_eq!(
        granted(
            &everywhere,
            "admissionregistration.k8s.io",
            "mutatingwebhookconfigurations"
        ),
        [(
            json!(["get", "list", "watch", "patch"]),
            json!([args.webhook_configuration])
        )]
    );
    assert_eq!(
        granted(&everywhere, "", "namespaces"),
        [(json!(["get", "list", "watch"]), Value::Null)]
    );
    assert_eq!(
        granted(&everywhere, "", "limitranges"),
        [(json!(["get", "list", "watch"]), Value::Null)]
    );
    assert_eq!(
        granted(&everywhere, "", "nodes"),
        [(json!(["list"]), Value::Null)]
    );
    assert_eq!(
        granted(&everywhere, "events.k8s.io", "events"),
        [(json!(["create", "patch"]), Value::Null)]
    );
    assert_eq!(
        granted(&in_its_namespace, "", "secrets"),
        [
            (
                json!(["get", "list", "watch", "update"]),
                json!([args.tls_secret])
            ),
            (json!(["create"]), Value::Null)
        ]
    );
}

#[test]
fn every_binding_is_of_a_role_and_an_account_that_are_there() {
    for (binding, role) in [
        ("ClusterRoleBinding", "ClusterRole"),
        ("RoleBinding", "Role"),
    ] {
        let binding: Value = one(binding, "netting-webhook");
        let name = binding["roleRef"]["name"].as_str().expect("it has a role");
        assert_eq!(binding["roleRef"]["kind"], role);
        let role: Value = one(role, name);
        assert_eq!(role["metadata"]["name"], name);
        let subject = &binding["subjects"][0];
        let account = subject["name"].as_str().expect("it has a subject");
        let account: Value = one("ServiceAccount", account);
        assert_eq!(account["metadata"]["namespace"], subject["namespace"]);
    }
}

#[test]
fn a_rollout_starts_the_next_before_it_stops_this_and_gives_it_time_to_finish() {
    let args = Args::parse_from(["netting-webhook"]);
    let deployment: Value = one("Deployment", "netting-webhook");
    let rolling = &deployment["spec"]["strategy"]["rollingUpdate"];
    assert_eq!(rolling["maxUnavailable"], 0);
    assert_eq!(rolling["maxSurge"], 1);
    let pod = &deployment["spec"]["template"]["spec"];
    // 30 seconds is what Kubernetes gives a pod that doesn't say.
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap_or(30);
    assert!(args.shutdown_delay < args.drain_timeout);
    assert!(args.drain_timeout.as_secs() < grace);
}

#[test]
fn the_overlay_for_old_clusters_takes_away_match_conditions_and_nothing_else() {
    let overlay = base().join("../overlays/before-1.28/kustomization.yaml");
    let kustomization = documents(&overlay).remove(0);
    assert_eq!(kustomization["resources"], json!(["../../base"]));
    let patches = kustomization["patches"].as_array().expect("it has patches");
    assert_eq!(patches.len(), 1);
    let target = &patches[0]["target"];
    assert_eq!(target["kind"], "MutatingWebhookConfiguration");
    assert_eq!(target["name"], names::WEBHOOK_CONFIGURATION);
    let patch = patches[0]["patch"].as_str().expect("it is a text");
    let patch: json_patch::Patch = serde_saphyr::from_str(patch).expect("it is a JSON patch");
    let mut patched: Value = one("MutatingWebhookConfiguration", names::WEBHOOK_CONFIGURATION);
    let mut expected = patched.clone();
    json_patch::patch(&mut patched, &patch).expect("it fits the base");
    let webhooks = expected["webhooks"].as_array_mut();
    for webhook in webhooks.expect("there are webhooks") {
        let webhook = webhook.as_object_mut().expect("a webhook is an object");
        assert!(webhook.remove("matchConditions").is_some());
    }
    assert_eq!(patched, expected);
}

#[test]
fn the_webhooks_variables_are_flags_and_its_images_are_the_same() {
    let deployment: Value = one("Deployment", "netting-webhook");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let command = Args::command();
    let known: Vec<_> = command
        .get_arguments()
        .filter_map(|arg| arg.get_env())
        .collect();
    let list = "statsd=udp://$(HOST_IP);tag.node=$(NODE_NAME);tag.ip=$(POD_IP)";
    let (exporters, _) = Exporters::read(list);
    let referred: Vec<_> = exporters.iter().flat_map(Exporters::variables).collect();
    for variable in container["env"].as_array().expect("there are variables") {
        let name = variable["name"].as_str().expect("a variable has a name");
        let is_flag = known.iter().any(|known| *known == name);
        assert!(
            is_flag || referred.contains(variable),
            "{name} is of no flag, and nothing that --telemetry may refer to"
        );
        if name == "NETTING_IMAGE" {
            assert_eq!(variable["value"], container["image"]);
        }
    }
    let default = command.get_arguments().find(|arg| arg.get_id() == "image");
    let default = default.and_then(|arg| arg.get_default_values().first());
    assert_eq!(
        default.and_then(|image| image.to_str()),
        container["image"].as_str()
    );
}

#[test]
fn our_own_pods_pass_the_restricted_pod_security_standard() {
    for name in ["netting-catalog", "netting-webhook"] {
        let deployment: Value = one("Deployment", name);
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(
            pod["securityContext"]["seccompProfile"]["type"],
            "RuntimeDefault"
        );
        assert_eq!(pod["enableServiceLinks"], false);
        for container in pod["containers"].as_array().expect("there are containers") {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false);
            assert_eq!(security["readOnlyRootFilesystem"], true);
            assert_eq!(security["capabilities"]["drop"][0], "ALL");
            assert_eq!(container["command"][0], format!("/netting/{name}"));
        }
    }
}
