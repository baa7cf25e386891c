//! Netting comes by one command and goes by one, and leaves nothing.

use std::collections::BTreeSet;

use anyhow::ensure;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Pod, ServiceAccount},
    rbac::v1::{ClusterRole, ClusterRoleBinding},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use netting_e2e::{
    App, Cluster, Meshed,
    apps::NAME_PREFIX,
    cli::{netting, netting_by},
    inventory, observe,
};
use serde_json::json;

fn image(cluster: &Cluster) -> String {
    format!("--image={}", cluster.image())
}

/// A cluster without Netting, also where an earlier test left it, and without the
/// rest of what those left.
async fn start() -> anyhow::Result<Cluster> {
    let cluster = Cluster::start().await?;
    netting(&cluster, &["uninstall", "--yes"]).await?.well()?;
    let namespaces: Api<Namespace> = Api::all(cluster.client());
    observe::eventually("what earlier tests deployed is gone", async || {
        let namespaces = namespaces.list(&ListParams::default()).await?;
        let mut names = namespaces.iter().map(ResourceExt::name_any);
        Ok(!names.any(|name| name.starts_with(NAME_PREFIX)))
    })
    .await?;
    Ok(cluster)
}

#[tokio::test]
async fn what_comes_by_install_goes_by_uninstall_and_leaves_nothing() -> anyhow::Result<()> {
    let cluster = start().await?;
    let before = inventory::of(&cluster).await?;
    let install = ["install", &image(&cluster)];

    let dry = netting(&cluster, &["install", "--dry-run"]).await?.well()?;
    ensure!(
        dry.stderr.contains("create     Namespace netting"),
        "{dry:?}"
    );
    ensure!(
        inventory::of(&cluster).await? == before,
        "a dry run changes nothing"
    );

    let installed = netting(&cluster, &install).await?.well()?;
    ensure!(
        installed.stderr.contains("the webhook injects"),
        "{installed:?}"
    );
    let again = netting(&cluster, &install).await?.well()?;
    ensure!(!again.stderr.contains("created"), "{again:?}");
    ensure!(!again.stderr.contains("changed    "), "{again:?}");

    lose_the_webhook(&cluster).await?;
    let finished = netting(&cluster, &install).await?.well()?;
    ensure!(
        finished
            .stderr
            .contains("created    Deployment netting/netting-webhook"),
        "{finished:?}"
    );

    let namespace = netting_e2e::Namespace::create(&cluster, true).await?;
    let pod = namespace.deploy(&App::echo("echo")).await?.remove(0);
    ensure!(observe::is_injected(&pod), "{pod:?}");

    let asked = netting(&cluster, &["uninstall"]).await?;
    let asked = asked.refused(2, "say --yes")?;
    ensure!(asked.stderr.contains("kubectl -n "), "{asked:?}");
    namespace.delete().await?;
    netting(&cluster, &["uninstall", "--yes"]).await?.well()?;
    // Controllers take away what belonged to what is gone.
    let as_before = observe::eventually("nothing is left", async || {
        Ok(inventory::of(&cluster).await? == before)
    });
    if let Err(error) = as_before.await {
        let after = inventory::of(&cluster).await?;
        let changed = |title: &&String| before.get(*title) != after.get(*title);
        let titles = before.keys().chain(after.keys()).filter(changed);
        return Err(error.context(format!("{:?}", titles.collect::<BTreeSet<_>>())));
    }
    let nothing = netting(&cluster, &["uninstall", "--yes"]).await?.well()?;
    ensure!(nothing.stderr.contains("Nothing of Netting"), "{nothing:?}");
    Ok(())
}

/// As if an installation or a removal had broken off.
async fn lose_the_webhook(cluster: &Cluster) -> anyhow::Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(cluster.client(), "netting");
    let webhook = "netting-webhook";
    deployments
        .delete(webhook, &DeleteParams::default())
        .await?;
    let pods: Api<Pod> = Api::namespaced(cluster.client(), "netting");
    let name = ListParams::default().labels("app.kubernetes.io/name=netting-webhook");
    observe::eventually("its pods are gone", async || {
        Ok(pods.list(&name).await?.items.is_empty())
    })
    .await
}

#[tokio::test]
async fn an_upgrade_of_the_control_plane_fails_no_request() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    meshed.echo(2).await?;
    let load = meshed.load(100).await?;
    // Another log format is another pod of each part.
    let upgrade = ["upgrade", &image(&meshed.cluster), "--log-format=json"];
    let upgraded = netting(&meshed.cluster, &upgrade).await?.well()?;
    for part in ["netting-catalog", "netting-webhook"] {
        let changed = format!("changed    Deployment netting/{part}");
        ensure!(upgraded.stderr.contains(&changed), "{upgraded:?}");
    }
    meshed.until_more_answers(&load, 100).await?;
    let (failed, failures) = meshed.failures(&load).await?;
    ensure!(failed == 0, "{failed} requests failed: {failures}");
    meshed.end().await
}

#[tokio::test]
async fn an_upgrade_keeps_the_settings_that_it_is_not_given() -> anyhow::Result<()> {
    let cluster = start().await?;
    let none = netting(&cluster, &["upgrade"]).await?;
    none.refused(1, "use netting install")?;

    let install = ["install", &image(&cluster), "--webhook-set=proxy-log=debug"];
    netting(&cluster, &install).await?.well()?;
    let other = netting(&cluster, &["install", &image(&cluster)]).await?;
    other.refused(1, "with other settings")?;
    let upgraded = netting(&cluster, &["upgrade", "--ha"]).await?.well()?;
    for expected in [
        "created    PodDisruptionBudget netting/netting-webhook",
        "changed    Deployment netting/netting-webhook",
        "2 of 2 replicas available",
    ] {
        ensure!(
            upgraded.stderr.contains(expected),
            "{expected}: {upgraded:?}"
        );
    }
    let namespace = netting_e2e::Namespace::create(&cluster, true).await?;
    let pod = namespace.deploy(&App::echo("echo")).await?.remove(0);
    ensure!(
        format!("{pod:?}").contains("NETTING_LOG\", value: Some(\"debug\")"),
        "the webhook has kept its flag: {pod:?}"
    );
    namespace.delete().await?;
    let single = ["upgrade", "--ha=false"];
    let single = netting(&cluster, &single).await?.well()?;
    let budget = "removed    PodDisruptionBudget netting/netting-webhook";
    ensure!(single.stderr.contains(budget), "{single:?}");
    netting(&cluster, &["uninstall", "--yes"]).await?.well()?;
    Ok(())
}

#[tokio::test]
async fn a_mesh_whose_telemetry_goes_elsewhere_is_looked_at_all_the_same() -> anyhow::Result<()> {
    let cluster = start().await?;
    // Nobody receives it, and nobody is asked at /metrics.
    let elsewhere = "telemetry=otlp=http://127.0.0.1:4317";
    let (webhook, catalog) = (
        format!("--webhook-set={elsewhere}"),
        format!("--catalog-set={elsewhere}"),
    );
    let sidecars = format!("--webhook-set=proxy-{elsewhere}");
    let install = ["install", &image(&cluster), &webhook, &catalog, &sidecars];
    netting(&cluster, &install).await?.well()?;
    let namespace = netting_e2e::Namespace::create(&cluster, true).await?;
    namespace.service("echo", json!({})).await?;
    namespace.deploy(&App::echo("echo")).await?;
    let url = format!("http://{}/", namespace.host("echo"));
    namespace.deploy(&App::load("load", &url, 50)).await?;

    let name = namespace.name();
    let check = netting(&cluster, &["check", "-n", name, "--wait"])
        .await?
        .well()?;
    for says in [
        "last heard of a change",
        "rules and proven them on 1 node",
        "2 pods with a sidecar",
    ] {
        ensure!(check.stdout.contains(says), "{says}: {check:#?}");
    }
    let stat = ["stat", "-n", name, "--window=1s", "-o", "json"];
    observe::eventually("stat shows the load", async || {
        let rows: serde_json::Value =
            serde_json::from_str(&netting(&cluster, &stat).await?.well()?.stdout)?;
        let mut rows = rows.as_array().into_iter().flatten();
        let rate = rows
            .find(|row| row["name"] == "echo")
            .map(|row| row["requests_per_second"].clone());
        Ok(rate.and_then(|rate| rate.as_f64()) > Some(1.0))
    })
    .await?;

    let versions = netting(&cluster, &["version", "-o", "wide"])
        .await?
        .well()?;
    for says in [
        "netting-catalog",
        "netting-webhook",
        env!("CARGO_PKG_VERSION"),
        cluster.image(),
        "Kubernetes",
    ] {
        ensure!(versions.stdout.contains(says), "{says}: {versions:#?}");
    }
    namespace.delete().await?;
    netting(&cluster, &["uninstall", "--yes"]).await?.well()?;
    Ok(())
}

#[tokio::test]
async fn what_stands_in_the_way_is_named_and_nothing_is_begun() -> anyhow::Result<()> {
    let cluster = start().await?;
    let elsewhere = ["install", "--system-namespace=mesh", "--no-wait"];
    netting(&cluster, &elsewhere).await?.well()?;
    let before = inventory::of(&cluster).await?;
    for command in ["install", "upgrade", "uninstall"] {
        let second = netting(&cluster, &[command]).await?;
        second.refused(1, "--system-namespace mesh")?;
    }
    let after = inventory::of(&cluster).await?;
    let new = after.keys().filter(|title| !before.contains_key(*title));
    let new: Vec<_> = new.filter(|title| title.contains("netting/")).collect();
    ensure!(new.is_empty(), "{new:?}");
    let uninstall = ["uninstall", "--yes", "--system-namespace=mesh"];
    netting(&cluster, &uninstall).await?.well()?;

    hold_namespace(&cluster, true).await?;
    let stuck = ["uninstall", "--yes", "--timeout=2s"];
    let stuck = netting(&cluster, &stuck).await?;
    stuck.refused(1, "it has the finalizers example.com/hold")?;
    let again = netting(&cluster, &["install"]).await?;
    again.refused(1, "the namespace netting is being deleted")?;
    hold_namespace(&cluster, false).await?;
    netting(&cluster, &["uninstall", "--yes"]).await?.well()?;
    Ok(())
}

/// Makes the system namespace with a finalizer that nobody takes away, or takes it away.
async fn hold_namespace(cluster: &Cluster, hold: bool) -> anyhow::Result<()> {
    let namespaces: Api<Namespace> = Api::all(cluster.client());
    let finalizers = if hold {
        json!(["example.com/hold"])
    } else {
        json!([])
    };
    let labels = json!({"app.kubernetes.io/part-of": "netting"});
    let metadata = json!({"name": "netting", "labels": labels, "finalizers": finalizers});
    if hold {
        let namespace = serde_json::from_value(json!({"metadata": metadata}))?;
        namespaces
            .create(&PostParams::default(), &namespace)
            .await?;
    } else {
        let patch = Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
        namespaces
            .patch("netting", &PatchParams::default(), &patch)
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn whoever_may_not_do_all_of_it_begins_nothing() -> anyhow::Result<()> {
    let cluster = start().await?;
    let namespace = netting_e2e::Namespace::create(&cluster, false).await?;
    let accounts: Api<ServiceAccount> = namespace.api();
    let robot = serde_json::from_value(json!({"metadata": {"name": "robot"}}))?;
    accounts.create(&PostParams::default(), &robot).await?;
    let asked = serde_json::from_value(json!({"spec": {"audiences": []}}))?;
    let made = accounts
        .create_token_request("robot", &PostParams::default(), &asked)
        .await?;
    let token = made.status.map(|status| status.token).unwrap_or_default();
    let before = inventory::of(&cluster).await?;

    let kubeconfig = cluster.kubeconfig_of(&token)?;
    let nobody = netting_by(kubeconfig.path(), &["install"]).await?;
    nobody.refused(
        2,
        "list mutatingwebhookconfigurations.admissionregistration.k8s.io",
    )?;
    let reader = Reader::allow(&cluster, namespace.name()).await?;
    // An API server takes a moment to heed a new role.
    observe::eventually("the robot may read", async || {
        let said = netting_by(kubeconfig.path(), &["install"]).await?;
        Ok(!said.stderr.contains("list deployments.apps"))
    })
    .await?;
    let said = netting_by(kubeconfig.path(), &["install"]).await?;
    let said = said.refused(2, "nothing was begun")?;
    for missing in [
        "create deployments.apps in netting",
        "patch namespaces",
        "create pods in default",
    ] {
        ensure!(said.stderr.contains(missing), "{missing}: {said:?}");
    }
    let after = inventory::of(&cluster).await?;
    let new = after.keys().filter(|title| !before.contains_key(*title));
    let new: Vec<_> = new.filter(|t| !t.contains(namespace.name())).collect();
    ensure!(new.is_empty(), "{new:?}");
    reader.forbid().await?;
    namespace.delete().await
}

/// The right of a namespace's robot to read everything.
struct Reader {
    name: String,
    roles: Api<ClusterRole>,
    bindings: Api<ClusterRoleBinding>,
}

impl Reader {
    async fn allow(cluster: &Cluster, namespace: &str) -> anyhow::Result<Self> {
        let reader = Self {
            name: namespace.to_owned(),
            roles: Api::all(cluster.client()),
            bindings: Api::all(cluster.client()),
        };
        let metadata = json!({"name": namespace});
        let rule = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]});
        let role = serde_json::from_value(json!({"metadata": metadata, "rules": [rule]}))?;
        let params = PostParams::default();
        reader.roles.create(&params, &role).await?;
        let subject = json!({"kind": "ServiceAccount", "name": "robot", "namespace": namespace});
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": namespace});
        let binding = json!({"metadata": metadata, "subjects": [subject], "roleRef": role});
        let binding = serde_json::from_value(binding)?;
        reader.bindings.create(&params, &binding).await?;
        Ok(reader)
    }

    async fn forbid(self) -> anyhow::Result<()> {
        let params = DeleteParams::default();
        self.bindings.delete(&self.name, &params).await?;
        self.roles.delete(&self.name, &params).await?;
        Ok(())
    }
}
