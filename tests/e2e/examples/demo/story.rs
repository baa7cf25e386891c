//! What happens in the demo, from top to bottom.

use std::path::Path;

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt as _, config::Kubeconfig};
use netting_e2e::{
    App, Cluster, Mesh, Namespace,
    apps::STATS_PORT,
    observe::{self, eventually, is_injected},
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::{
    Args, measure,
    show::{self, Progress},
};

/// The stage after its set-up.
struct Stage {
    namespace: Namespace,
    mesh: Mesh,
    load: Pod,
}

pub(crate) async fn tell(args: &Args) -> anyhow::Result<()> {
    let progress = Progress::new();
    progress.step("starting the sandbox: a Kubernetes API and a node agent on this machine");
    let cluster = Cluster::start().await?;
    progress.step("installing Netting from k8s/base: the webhook and the catalog");
    let mesh = Mesh::install(&cluster).await?;
    progress.step(
        "deploying an echo server (3 replicas) in a namespace labelled netting.dev/inject=enabled",
    );
    let namespace = Namespace::create(&cluster, true).await?;
    namespace.service("echo", json!({})).await?;
    let echo = namespace.deploy(&App::echo("echo").replicas(3)).await?;
    let first = echo.first().context("the server has pods")?;
    let idle_memory = measure::sidecar_memory(&namespace, first).await?;
    let init_time = measure::init_time(&namespace, first).await?;

    progress.step("creating a pod that opts out, and one that the mesh cannot serve");
    let skipped = skipped_pods(&namespace, &mesh).await?;
    progress.step(&format!(
        "sending {} requests a second to it from a meshed client",
        args.rate
    ));
    let url = format!("http://{}/", namespace.host("echo"));
    namespace
        .deploy(&App::load("load", &url, args.rate))
        .await?;
    let load = namespace.one_pod("load").await?;
    let stage = Stage {
        namespace,
        mesh,
        load,
    };
    stage.until_more_answers(u64::from(args.rate) * 3).await?;

    progress.step("deleting one of the three replicas under load");
    let removed = stage.replace_replica(first).await?;
    progress.step("scaling the server up to four replicas");
    stage.namespace.scale("echo", 4).await?;
    let added = measure::until_noticed(&stage.namespace, &stage.load, 4).await?;
    stage.until_more_answers(u64::from(args.rate) * 2).await?;
    progress.step("asking the webhook for 200 more admissions");
    measure::admissions(&stage.namespace, &App::echo("dry-run"), 200).await?;

    injected(&stage.namespace, &skipped).await?;
    let failed = stage.traffic().await?;
    show::headline("How fast, how big");
    let webhook = measure::webhook_median(&stage.mesh).await?;
    let busy_memory = measure::sidecar_memory(&stage.namespace, &stage.load).await?;
    show::measured(
        "a replica's end reached the client's sidecar in",
        removed,
        "ms",
        200.0,
    );
    show::measured(
        "a new replica reached the client's sidecar in",
        added,
        "ms",
        200.0,
    );
    show::measured(
        "netting-init, rules applied and verified, in",
        init_time,
        "ms",
        100.0,
    );
    show::measured("webhook's median answer, in less than", webhook, "ms", 5.0);
    show::measured("memory of an idle sidecar", idle_memory, "MB", 8.0);
    show::measured(
        "memory of the client's sidecar under load",
        busy_memory,
        "MB",
        8.0,
    );
    ensure!(failed == 0, "{failed} requests failed");
    if args.keep {
        stay(&cluster, &stage).await?;
    }
    Ok(())
}

/// Two pods that get no sidecar, each with why.
async fn skipped_pods(namespace: &Namespace, mesh: &Mesh) -> anyhow::Result<Vec<(String, String)>> {
    let opted_out = App::echo("opted-out").annotation("netting.dev/inject", "disabled");
    let host_network = App::new("host-network", "sleep").pod_spec(json!({"hostNetwork": true}));
    let mut skipped = Vec::new();
    for app in [opted_out, host_network] {
        let admitted = namespace.pod(&app).await?;
        let name = admitted.name_any();
        ensure!(!is_injected(&admitted), "{name} was injected");
        let reason = mesh.reason(namespace.name(), &name).await?;
        skipped.push((name, reason));
    }
    Ok(skipped)
}

impl Stage {
    async fn stats(&self) -> anyhow::Result<Value> {
        let stats =
            observe::pod_get(self.namespace.client(), &self.load, STATS_PORT, "stats").await?;
        Ok(serde_json::from_str(&stats)?)
    }

    async fn until_more_answers(&self, more: u64) -> anyhow::Result<()> {
        let answers = async || -> anyhow::Result<u64> {
            self.stats().await?["ok"]
                .as_u64()
                .context("the client counts")
        };
        let before = answers().await.unwrap_or(0);
        eventually("more requests are answered", async || {
            Ok(answers().await? >= before + more)
        })
        .await
    }

    /// Deletes a replica; returns how long the sidecar still thought it usable
    /// after the EndpointSlice had changed. Its successor is awaited.
    async fn replace_replica(&self, replica: &Pod) -> anyhow::Result<f64> {
        self.namespace.delete_pod(&replica.name_any()).await?;
        let removed = measure::until_noticed(&self.namespace, &self.load, 2).await?;
        observe::until_available(self.namespace.client(), self.namespace.name(), "echo").await?;
        measure::until_noticed(&self.namespace, &self.load, 3).await?;
        Ok(removed)
    }

    /// Prints what became of the requests, and returns how many failed.
    async fn traffic(&self) -> anyhow::Result<u64> {
        show::headline("Requests, by the server that answered");
        let stats = self.stats().await?;
        let by_pod = stats["by_pod"]
            .as_object()
            .context("the client counts by pod")?;
        let here: Vec<_> = self
            .namespace
            .pods("echo")
            .await?
            .iter()
            .map(|pod| pod.name_any())
            .collect();
        let rows: Vec<_> = by_pod
            .iter()
            .map(|(pod, count)| {
                let note = if here.contains(pod) {
                    ""
                } else {
                    "deleted under load"
                };
                vec![pod.clone(), count.to_string(), note.to_owned()]
            })
            .collect();
        show::table(&["POD", "REQUESTS", ""], &rows);
        let count = |field: &str| stats[field].as_u64().unwrap_or(0);
        let latency = &stats["latency_ms"];
        println!(
            "  {} sent, {} answered, {} failed, {} in flight; latency p50 {} ms, p99 {} ms",
            count("sent"),
            count("ok"),
            count("failed"),
            count("in_flight"),
            latency["p50"],
            latency["p99"]
        );
        println!(
            "  (each request looks the name up and connects anew; client and server are not optimised)"
        );
        if count("failed") > 0 {
            println!("  failures: {}", stats["failures"]);
        }
        Ok(count("failed"))
    }
}

/// Prints which pods have a sidecar, and why the others have none.
async fn injected(namespace: &Namespace, skipped: &[(String, String)]) -> anyhow::Result<()> {
    show::headline("Who was injected, and who was not");
    let mut rows = Vec::new();
    for app in ["echo", "load"] {
        for pod in namespace.pods(app).await? {
            ensure!(is_injected(&pod), "{} was not injected", pod.name_any());
            rows.push(vec![
                pod.name_any(),
                "yes".into(),
                "its namespace asks for it".into(),
            ]);
        }
    }
    for (pod, why) in skipped {
        rows.push(vec![pod.clone(), "no".into(), why.clone()]);
    }
    show::table(&["POD", "SIDECAR", "WHY"], &rows);
    Ok(())
}

/// Says how to look around, and waits until the user ends it.
async fn stay(cluster: &Cluster, stage: &Stage) -> anyhow::Result<()> {
    let enter = cluster.enter().context("only a sandbox can be kept")?;
    let (namespace, load) = (stage.namespace.name(), stage.load.name_any());
    let pods = format!("api/v1/namespaces/{namespace}/pods");
    show::headline("It is still running. To look around, in another terminal:");
    println!("  {}", api_function(&enter.kubeconfig)?);
    println!("  api {pods}/{load}:15020/proxy/config      # what the client's sidecar knows");
    println!("  api {pods}/{load}:15020/proxy/metrics");
    println!("  api '{pods}/{load}/log?container=netting-sidecar'");
    println!(
        "  {} ip netns      # the pods' network namespaces",
        enter.prefix
    );
    println!("or, with kubectl:");
    println!("  export KUBECONFIG={}", enter.kubeconfig.display());
    println!("  kubectl -n {namespace} get pods");
    println!("\nCtrl-C ends it and cleans up.");
    std::future::pending().await
}

/// A shell function that asks the API server, for those who have no kubectl.
fn api_function(kubeconfig: &Path) -> anyhow::Result<String> {
    let read = Kubeconfig::read_from(kubeconfig)?;
    let cluster = read
        .clusters
        .first()
        .and_then(|named| named.cluster.as_ref());
    let server = cluster.and_then(|cluster| cluster.server.as_deref());
    let ca = cluster.and_then(|cluster| cluster.certificate_authority_data.as_deref());
    let user = read
        .auth_infos
        .first()
        .and_then(|named| named.auth_info.as_ref());
    let token = user.and_then(|user| user.token.as_ref());
    let (Some(server), Some(ca), Some(token)) = (server, ca, token) else {
        anyhow::bail!("the sandbox's kubeconfig names no server, CA or token");
    };
    let ca_file = kubeconfig.with_extension("ca");
    std::fs::write(&ca_file, STANDARD.decode(ca)?)?;
    Ok(format!(
        "api() {{ curl -s --cacert {} -H 'authorization: Bearer {}' \"{server}/$1\"; }}",
        ca_file.display(),
        token.expose_secret()
    ))
}
