//! The command against API servers that are not as one would wish.

#[path = "observing/access.rs"]
mod access;
#[path = "observing/command.rs"]
mod command;
#[path = "observing/stub.rs"]
mod stub;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use command::{Said, netting};
use serde_json::{Value, json};
use stub::Stub;

fn version(minor: &str) -> Value {
    json!({"major": "1", "minor": minor, "gitVersion": format!("v1.{minor}.16"), "gitCommit": "",
        "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": ""})
}

fn ended_with(said: &Said, code: i32, says: &str) {
    assert_eq!(said.code, Some(code), "{said:#?}");
    let all = format!("{}{}", said.stdout, said.stderr);
    assert!(all.contains(says), "{says}: {said:#?}");
    assert!(!all.contains("panicked"), "{said:#?}");
}

#[tokio::test]
async fn without_a_cluster_every_command_says_so_and_ends_with_2() {
    let (_dir, kubeconfig) = command::kubeconfig("http://127.0.0.1:1");
    for command in [
        "install",
        "upgrade",
        "uninstall --yes",
        "version",
        "check --before-install",
        "check",
        "check --wait=1s",
        "stat",
        "edges",
        "config a",
        "log-level a",
        "explain pod a",
        "explain service a",
        "explain connection a b:80",
        "catalog services",
        "catalog endpoints a",
        "catalog watch a",
        "support-bundle --to nowhere.tgz",
    ] {
        let said = netting(&format!("--kubeconfig {kubeconfig} {command}")).await;
        ended_with(&said, 2, "does not answer");
        let said = netting(&format!(
            "--kubeconfig {kubeconfig} --context other {command}"
        ))
        .await;
        ended_with(&said, 2, "has no context \"other\"");
        let said = netting(&format!("--kubeconfig /nowhere/config {command}")).await;
        ended_with(&said, 2, "/nowhere/config");
        ended_with(&said, 2, "give another by --kubeconfig or KUBECONFIG");
    }
}

#[tokio::test]
async fn without_a_kubeconfig_it_says_where_it_looked_and_how_to_give_one() {
    let home = tempfile::tempdir().expect("a directory");
    let looked = home.path().join(".kube/config");
    let at_home = || {
        let mut command = command::command();
        command
            .env("HOME", home.path())
            .env_remove("KUBERNETES_SERVICE_HOST");
        command
    };
    for arguments in [
        &["install"][..],
        &["uninstall", "--yes"],
        &["check"],
        &["stat"],
    ] {
        let said = command::run(at_home().args(arguments)).await;
        ended_with(&said, 2, &format!("no kubeconfig at {}", looked.display()));
        ended_with(&said, 2, "give one by --kubeconfig or KUBECONFIG");
        let mut elsewhere = at_home();
        elsewhere
            .env("KUBECONFIG", "/nowhere/config")
            .args(arguments);
        let said = command::run(&mut elsewhere).await;
        ended_with(&said, 2, "no kubeconfig at /nowhere/config");
    }
    let none_needed = command::run(at_home().args(["version", "--client"])).await;
    ended_with(&none_needed, 0, "netting (this command)");
}

#[tokio::test]
async fn an_api_server_from_2020_is_told_to_be_upgraded() {
    let stub = Stub::serve(version("19"), |_| None).await;
    let said = netting(&format!(
        "--kubeconfig {} check --before-install",
        stub.kubeconfig
    ))
    .await;
    ended_with(&said, 1, "Kubernetes v1.19.16 lacks what Netting needs");
    ended_with(&said, 1, "upgrade to 1.22 or later");
}

#[tokio::test]
async fn who_may_do_nothing_is_told_what_is_missing() {
    let forbidden = |path: &str| {
        let message = format!("User \"me\" cannot do that at {path}");
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "reason": "Forbidden", "code": 403, "message": message});
        Some((403, status))
    };
    let stub = Stub::serve(version("33"), forbidden).await;
    let run = |command: &'static str| netting_of(&stub, command);
    let check = run("check").await;
    ended_with(&check, 2, "could not list Pods: User \"me\" cannot");
    // Nor does it wait for it, as it will be the same later.
    let wait = run("check --wait=2s").await;
    ended_with(&wait, 2, "could not list Pods: User \"me\" cannot");
    assert!(!wait.stderr.contains("waiting"), "{wait:#?}");
    for (command, doing) in [
        ("stat -n shop", "not allowed to list Pods"),
        ("edges -A", "not allowed to list Pods"),
        ("config shop/web-1", "not allowed to get Pod shop/web-1"),
        (
            "explain pod shop/web-1",
            "not allowed to get Pod shop/web-1",
        ),
        (
            "explain service shop/echo",
            "not allowed to get Service shop/echo",
        ),
        (
            "explain connection shop/web-1 10.0.0.1:80",
            "not allowed to get Pod",
        ),
        ("catalog services", "not allowed to list Pods"),
        (
            "log-level shop/web-1 debug",
            "not allowed to get Pod shop/web-1",
        ),
    ] {
        ended_with(&run(command).await, 2, doing);
    }
}

#[tokio::test]
async fn a_check_of_one_namespace_tells_of_a_system_namespace_that_ends() {
    let answer = |path: &str| {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": path.rsplit('/').next()}});
        Some(match path {
            "/api/v1/namespaces/shop" => (200, namespace),
            "/api/v1/namespaces/netting" => {
                let mut ending = namespace;
                ending["metadata"]["deletionTimestamp"] = json!("2026-03-01T12:00:00Z");
                ending["metadata"]["finalizers"] = json!(["example.com/hold"]);
                (200, ending)
            }
            _ => return None,
        })
    };
    let stub = Stub::serve(version("33"), answer).await;
    let said = netting_of(&stub, "check -n shop").await;
    ended_with(&said, 1, "namespace/netting: is being deleted");
    assert!(!said.stdout.contains("is not installed"), "{said:#?}");
}

#[tokio::test]
async fn a_check_asks_nothing_of_pods_that_are_ending() {
    let asked = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&asked);
    let answer = move |path: &str| {
        let pod = |namespace: &str, name: &str| {
            json!({"metadata": {"namespace": namespace, "name": name,
                "labels": {"netting.dev/injected": "true"}},
                "spec": {"containers": []}, "status": {"phase": "Running"}})
        };
        let both = |namespace: &str, part: &str| {
            let mut ending = pod(namespace, &format!("{part}-old"));
            ending["metadata"]["deletionTimestamp"] = json!("2026-03-01T12:00:00Z");
            let items = [ending, pod(namespace, &format!("{part}-new"))];
            (
                200,
                json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}),
            )
        };
        if let Some(pod) = path.strip_suffix("/portforward") {
            let name = pod.rsplit('/').next().unwrap_or_default();
            seen.lock().expect("no test panics").insert(name.to_owned());
            return Some((404, json!({})));
        }
        match path {
            "/api/v1/namespaces/netting/pods" => Some(both("netting", "netting-webhook")),
            "/api/v1/pods" => Some(both("shop", "web")),
            _ => None,
        }
    };
    let stub = Stub::serve(version("33"), answer).await;
    let said = netting_of(&stub, "check").await;
    assert!(!said.stdout.contains("-old"), "{said:#?}");
    let asked = asked.lock().expect("no test panics").clone();
    assert_eq!(
        asked.into_iter().collect::<Vec<_>>(),
        ["netting-webhook-new", "web-new"]
    );
}

#[tokio::test]
async fn explain_goes_by_the_kubelets_as_the_webhook_does() {
    for (kubelet, is_told) in [("v1.28.9", true), ("v1.30.1", false)] {
        let answer = move |path: &str| {
            Some(match path {
                "/api/v1/namespaces/shop" => {
                    let labels = json!({"netting.dev/inject": "enabled"});
                    (200, json!({"metadata": {"name": "shop", "labels": labels}}))
                }
                "/api/v1/namespaces/shop/pods/web-1" => {
                    let annotations = json!({"netting.dev/sidecar-mode": "native"});
                    let metadata =
                        json!({"namespace": "shop", "name": "web-1", "annotations": annotations});
                    let spec = json!({"containers": [{"name": "app", "image": "app:1"}]});
                    (200, json!({"metadata": metadata, "spec": spec}))
                }
                "/api/v1/nodes" => {
                    let info = json!({"architecture": "", "bootID": "", "containerRuntimeVersion": "",
                        "kernelVersion": "", "kubeProxyVersion": "", "kubeletVersion": kubelet, "machineID": "",
                        "operatingSystem": "", "osImage": "", "systemUUID": ""});
                    let node =
                        json!({"metadata": {"name": "node-1"}, "status": {"nodeInfo": info}});
                    (
                        200,
                        json!({"kind": "NodeList", "apiVersion": "v1", "metadata": {}, "items": [node]}),
                    )
                }
                _ => return None,
            })
        };
        let stub = Stub::serve(version("30"), answer).await;
        let said = netting_of(&stub, "explain pod shop/web-1").await;
        ended_with(&said, 0, "not_asked_about");
        let told = said.stdout.contains("needs Kubernetes 1.29 or later");
        assert_eq!(told, is_told, "{kubelet}: {said:#?}");
    }
}

#[tokio::test]
async fn an_alias_is_told_to_be_one_and_needs_no_catalog() {
    let answer = |path: &str| {
        let object = match path {
            "/api/v1/namespaces/shop/pods/web-1" => {
                json!({"metadata": {"namespace": "shop", "name": "web-1"}})
            }
            "/api/v1/namespaces/shop/services/db" => {
                json!({"metadata": {"namespace": "shop", "name": "db"},
                    "spec": {"type": "ExternalName", "externalName": "db.example.org"}})
            }
            _ => return None,
        };
        Some((200, object))
    };
    let stub = Stub::serve(version("33"), answer).await;
    let service = netting_of(&stub, "explain service shop/db").await;
    ended_with(&service, 0, "(external_name)");
    let connection = netting_of(&stub, "explain connection shop/web-1 db:5432").await;
    ended_with(&connection, 2, "another name for db.example.org");
    ended_with(&connection, 2, "such as 192.0.2.1:5432");
}

async fn netting_of(stub: &Stub, command: &str) -> Said {
    netting(&format!("--kubeconfig {} {command}", stub.kubeconfig)).await
}

#[tokio::test]
async fn what_is_not_forwarded_is_told_and_ends_with_2() {
    let answer = |path: &str| {
        if path.ends_with("/portforward") {
            let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "reason": "Forbidden", "code": 403, "message": "cannot create resource \"pods/portforward\""});
            return Some((403, status));
        }
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": "web-1",
            "labels": {"netting.dev/injected": "true"}},
            "spec": {"containers": []}, "status": {"phase": "Running"}});
        Some((
            200,
            match path {
                "/api/v1/namespaces/shop/pods/web-1" => pod,
                "/api/v1/namespaces/shop/pods" => {
                    json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [pod]})
                }
                _ => return None,
            },
        ))
    };
    let stub = Stub::serve(version("33"), answer).await;
    let config = netting_of(&stub, "config shop/web-1").await;
    ended_with(
        &config,
        2,
        "not allowed to forward port 15020 of pod shop/web-1",
    );
    let stat = netting_of(&stub, "stat -n shop --window 10ms").await;
    ended_with(&stat, 2, "pods/portforward");
}

#[tokio::test]
async fn wrong_usage_is_told_before_a_pod_is_asked() {
    let stub = Stub::serve(version("33"), |_| None).await;
    for (command, says) in [
        ("config a/b/c", "write NAME or NAMESPACE/NAME"),
        ("config -n shop bank/a", "says namespace bank"),
        ("explain connection a nowhere", "is no ADDRESS:PORT"),
        ("stat --window 0s", "is no time"),
        ("top", "netting stat"),
        ("log-level", "<POD>"),
    ] {
        ended_with(&netting_of(&stub, command).await, 2, says);
    }
    // Nor is a cluster needed to say what is no target.
    let nowhere = netting("--kubeconfig /nowhere/config explain connection a http://echo:80").await;
    ended_with(&nowhere, 2, "such as 10.0.0.7:80, [fd00::7]:80, echo:80");
}
