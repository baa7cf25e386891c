//! What people type: the real kubectl, where there is one.

use std::{env, path::Path, process::Output};

use netting_sandbox::api::Options;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{harness::Harness, webhook::tls_server};

/// kubectl with an administrator's kubeconfig, and nothing of the user's.
struct Kubectl {
    home: TempDir,
}

impl Kubectl {
    /// `None`, and a loud word, where there is no kubectl: Debian has none that is recent enough.
    /// Where nobody looks on it must be there.
    async fn of(harness: &Harness) -> Option<Self> {
        let asked = Command::new("kubectl")
            .arg("version")
            .arg("--client")
            .output();
        if asked.await.is_err() {
            assert!(
                env::var_os("CI").is_none(),
                "kubectl is missing: install it"
            );
            eprintln!("LEFT OUT: kubectl is missing");
            return None;
        }
        let home = TempDir::new().expect("a directory");
        let kubeconfig = harness.cluster.admin_kubeconfig(&harness.url);
        std::fs::write(home.path().join("config"), kubeconfig).expect("written");
        Some(Self { home })
    }

    async fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new("kubectl");
        command
            .args(args)
            .current_dir(&self.home)
            .env("HOME", self.home.path())
            .env("KUBECONFIG", self.home.path().join("config"));
        command.output().await.expect("kubectl starts")
    }

    /// What it prints, which must end well.
    async fn says(&self, args: &[&str]) -> String {
        let output = self.run(args).await;
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {args:?}: {complaint}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// What it complains of, having failed.
    async fn fails(&self, args: &[&str]) -> String {
        let output = self.run(args).await;
        assert!(!output.status.success(), "kubectl {args:?} went well");
        String::from_utf8_lossy(&output.stderr).trim().to_owned()
    }

    fn write(&self, file: &str, manifest: &Value) {
        let path: &Path = self.home.path();
        std::fs::write(path.join(file), manifest.to_string()).expect("written");
    }
}

fn manifest(data: &str) -> Value {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "map", "labels": {"app": "cart"}},
        "data": {"a": data}});
    let ports = json!([{"name": "http", "port": 80, "targetPort": "web"}]);
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "cart", "labels": {"app": "cart"}},
        "spec": {"selector": {"app": "cart"}, "ports": ports}});
    let container = json!({"name": "cart", "image": "registry.example/cart:1"});
    let template =
        json!({"metadata": {"labels": {"app": "cart"}}, "spec": {"containers": [container]}});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "cart", "labels": {"app": "cart"}},
        "spec": {"selector": {"matchLabels": {"app": "cart"}}, "template": template}});
    json!({"apiVersion": "v1", "kind": "List", "items": [map, service, deployment]})
}

#[tokio::test]
async fn kubectl_applies_gets_and_deletes() {
    let harness = Harness::start(Options::default()).await;
    let Some(kubectl) = Kubectl::of(&harness).await else {
        return;
    };
    kubectl.write(
        "bad.json",
        &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bad"}, "dato": {"a": "b"}}),
    );
    let refused = kubectl.fails(&["apply", "-f", "bad.json"]).await;
    assert!(refused.contains("unknown field \"dato\""), "{refused}");

    let apply = ["apply", "-f", "cart.json"];
    for (data, done) in [("1", "created"), ("1", "unchanged"), ("2", "configured")] {
        kubectl.write("cart.json", &manifest(data));
        let said = kubectl.says(&apply).await;
        let other = if done == "configured" {
            "unchanged"
        } else {
            done
        };
        let expected =
            format!("configmap/map {done}\nservice/cart {other}\ndeployment.apps/cart {other}");
        assert_eq!(said, expected);
    }
    let value = ["get", "configmap", "map", "-o", "jsonpath={.data.a}"];
    assert_eq!(kubectl.says(&value).await, "2");
    let on_server = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "-f",
        "cart.json",
    ];
    assert!(
        kubectl
            .says(&on_server)
            .await
            .contains("configmap/map serverside-applied")
    );

    let table = kubectl.says(&["get", "services"]).await;
    assert!(
        table.starts_with("NAME") && table.contains("cart"),
        "{table}"
    );
    let names = ["get", "configmaps,services", "-l", "app=cart", "-o", "name"];
    assert_eq!(kubectl.says(&names).await, "configmap/map\nservice/cart");
    let pages = [
        "get",
        "configmaps",
        "--all-namespaces",
        "--chunk-size=1",
        "-o",
        "name",
    ];
    let pages = kubectl.says(&pages).await;
    assert_eq!(
        pages.lines().count(),
        3,
        "one in each namespace, and this: {pages}"
    );

    let deleted = kubectl.says(&["delete", "-f", "cart.json"]).await;
    assert_eq!(deleted.matches(" deleted").count(), 3, "{deleted}");
    let gone = kubectl.fails(&value).await;
    assert!(gone.contains("(NotFound)"), "{gone}");
}

#[tokio::test]
async fn kubectl_shows_the_logs_of_a_pod() {
    let harness = Harness::start(Options::default()).await;
    let Some(kubectl) = Kubectl::of(&harness).await else {
        return;
    };
    let kubelet = tls_server(|request| (200, format!("{}\n", request.uri()))).await;
    let port = kubelet.addr.port();
    let address = json!({"type": "InternalIP", "address": "127.0.0.1"});
    let node = json!({"metadata": {"name": "n"}, "status": {"addresses": [address],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}});
    let node = harness.post("/api/v1/nodes", node).await;
    assert_eq!(node.status, 201, "{}", node.body);
    let container = json!({"name": "app", "image": "registry.example/app:1"});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"},
        "spec": {"nodeName": "n", "containers": [container]}});
    kubectl.write("pod.json", &pod);
    kubectl.says(&["create", "-f", "pod.json"]).await;
    let log = kubectl.says(&["logs", "x", "--tail=5"]).await;
    assert!(log.starts_with("/containerLogs/default/x/app?"), "{log}");
    assert!(log.contains("tailLines=5"), "{log}");
    let absent = kubectl.fails(&["logs", "y"]).await;
    assert!(absent.contains("(NotFound)"), "{absent}");
}
