//! Pods that are admitted while webhooks come and go, and with others than Netting's.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::future::try_join_all;
use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration,
    core::v1::{Container, Pod},
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, PostParams},
};
use netting_e2e::{
    App, Cluster, Mesh, Meshed, Namespace,
    apps::PORT,
    mesh::Part,
    observe::{self, eventually, is_injected},
};
use serde_json::{Value, json};
use tokio::time::interval;

const MODE: &str = "netting.dev/sidecar-mode";
/// Those who create pods all the time, and how often each of them does.
const CREATORS: usize = 4;
const CREATE_EVERY: Duration = Duration::from_millis(50);

/// The API server goes on without a webhook that fails, so a lost admission is a pod without
/// a sidecar.
#[tokio::test]
async fn a_rollout_of_the_webhook_leaves_no_pod_without_a_sidecar() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let mesh = Mesh::install(&cluster).await?;
    mesh.replicate(Part::Webhook, 2).await?;
    let over = AtomicBool::new(false);
    let create = async || -> anyhow::Result<usize> {
        let mut ticks = interval(CREATE_EVERY);
        let mut created = 0;
        while !over.load(Ordering::Relaxed) {
            ticks.tick().await;
            let pod = mesh.admitted().await?;
            ensure!(is_injected(&pod), "after {created} others: {pod:?}");
            created += 1;
        }
        Ok(created)
    };
    let creating = try_join_all((0..CREATORS).map(|_| create()));
    let rollout = async {
        mesh.restart(Part::Webhook).await?;
        over.store(true, Ordering::Relaxed);
        Ok(())
    };
    let (created, ()) = tokio::try_join!(creating, rollout)?;
    // A replica goes on for five seconds after it was told to end.
    ensure!(created.iter().all(|created| *created >= 10), "{created:?}");
    mesh.replicate(Part::Webhook, 1).await
}

/// Another webhook's configuration, called after Netting's: they go by their names.
const LATER: &str = "netting-e2e-later";
/// Where the container that it adds listens.
const AGENT_PORT: u16 = 8082;

/// Has pods of a namespace get a container before all others once Netting has injected them.
async fn add_agent(meshed: &Meshed, hooks: &Namespace) -> anyhow::Result<()> {
    let tcp = |port: u16| json!({"tcpSocket": {"port": port}, "periodSeconds": 1});
    let agent = json!({
        "name": "agent",
        "image": meshed.cluster.test_image(),
        "command": ["/netting/netting-test-app", "http", "--port", AGENT_PORT.to_string()],
        "readinessProbe": tcp(AGENT_PORT),
    });
    let host = hooks.host("later");
    let admit = format!("admit --port {PORT} --host {host} --container {agent}");
    let later = App::new("later", &admit).readiness(tcp(PORT));
    hooks.service("later", json!({})).await?;
    let pod = hooks.deploy(&later).await?.remove(0);
    let log = observe::log(hooks.client(), &pod, "app").await?;
    let mut events = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let told = events.find(|event| event["event"] == "certificate");
    let told = told.with_context(|| format!("it has no certificate: {log}"))?;
    let ca = STANDARD.encode(told["pem"].as_str().context("it is a text")?);
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": LATER},
        "webhooks": [{
            "name": "later.e2e.netting.dev",
            "admissionReviewVersions": ["v1"],
            "clientConfig": {
                "caBundle": ca,
                "service": {"namespace": hooks.name(), "name": "later", "port": 80},
            },
            "namespaceSelector": {
                "matchLabels": {"kubernetes.io/metadata.name": meshed.namespace.name()},
            },
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"],
                "operations": ["CREATE"], "resources": ["pods"],
            }],
            "reinvocationPolicy": "IfNeeded",
            "sideEffects": "None",
        }],
    });
    meshed.mesh.apply(configuration).await
}

fn agent_of(pod: &Pod) -> Option<&Container> {
    let mut containers = pod.spec.as_ref()?.containers.iter();
    containers.find(|container| container.name == "agent")
}

/// The API server asks Netting's webhook again, since the pod has changed after its first answer.
#[tokio::test]
async fn a_container_that_another_webhook_adds_later_is_probed_through_the_sidecar()
-> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let hooks = Namespace::create(&meshed.cluster, false).await?;
    Box::pin(add_agent(&meshed, &hooks)).await?;
    let early: Pod = serde_json::from_value(json!({
        "metadata": {"name": "early"},
        "spec": {"containers": [{"name": "app", "image": "nothing"}]},
    }))?;
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    eventually("the API server knows the other webhook", async || {
        let pods: Api<Pod> = meshed.namespace.api();
        Ok(agent_of(&pods.create(&dry_run, &early).await?).is_some())
    })
    .await?;
    for (mode, first) in [("native", "agent"), ("classic", "netting-sidecar")] {
        let app = App::echo(&format!("late-{mode}")).annotation(MODE, mode);
        let pod = meshed.namespace.pod(&app).await?;
        ensure!(is_injected(&pod), "{pod:?}");
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let names: Vec<_> = containers.map(|one| one.name.as_str()).collect();
        ensure!(names.first() == Some(&first), "{mode}: {names:?}");
        let agent = agent_of(&pod).with_context(|| format!("{names:?}"))?;
        let probe = agent.readiness_probe.as_ref();
        let path = probe.and_then(|probe| probe.http_get.as_ref()?.path.as_deref());
        ensure!(path == Some("/probe/agent/readiness"), "{mode}: {probe:?}");
        meshed.namespace.until_ready(&pod.name_any()).await?;
    }
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(meshed.cluster.client());
    let params = DeleteParams::default();
    configurations.delete(LATER, &params).await?;
    hooks.delete().await?;
    meshed.end().await
}
