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
        core::v1::{Namespace, Service, ServiceAccount},
        rbac::v1::{ClusterRole, ClusterRoleBinding},
    },
    serde::{Serialize, de::DeserializeOwned},
};
use netting_webhook::{Args, names};
use serde_json::Value;

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
            "ServiceAccount" => assert_known::<ServiceAccount>(object),
            "ClusterRole" => assert_known::<ClusterRole>(object),
            "ClusterRoleBinding" => assert_known::<ClusterRoleBinding>(object),
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
        let mut with_key = all.into_iter().filter(|e| e["key"] == key);
        let found = with_key
            .next()
            .unwrap_or_else(|| panic!("{selector} asks for {key}"));
        (
            found["operator"].as_str().map(str::to_owned),
            found["values"].clone(),
        )
    };
    let is = |operator: &str, values: [&str; 2]| (Some(operator.to_owned()), values.into());
    let (yes, no) = (["enabled", "true"], ["disabled", "false"]);
    let system = [names::KUBE_SYSTEM, "netting"];
    for (webhook, by_namespace, by_pod) in [
        (&webhooks[0], is("In", yes), is("NotIn", no)),
        (&webhooks[1], is("NotIn", yes), is("In", yes)),
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

#[test]
fn the_webhooks_variables_are_flags_and_its_images_are_the_same() {
    let deployment: Value = one("Deployment", "netting-webhook");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let command = Args::command();
    let known: Vec<_> = command
        .get_arguments()
        .filter_map(|arg| arg.get_env())
        .collect();
    for variable in container["env"].as_array().expect("there are variables") {
        let name = variable["name"].as_str().expect("a variable has a name");
        assert!(
            known.iter().any(|known| *known == name),
            "{name} is of no flag"
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
