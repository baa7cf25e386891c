//! What Netting promises, seen from outside.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use netting_e2e::{
    App, Mesh, Meshed, Namespace,
    apps::PORT,
    mesh::Part,
    observe::{self, eventually, is_injected},
};
use serde_json::{Value, json};

fn requests(destination: &Value) -> Vec<u64> {
    let endpoints = destination["endpoints"].as_array().into_iter().flatten();
    endpoints
        .filter_map(|endpoint| endpoint["requests_total"].as_u64())
        .collect()
}

#[tokio::test]
async fn a_labelled_namespace_is_meshed_and_its_traffic_balanced() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let echo = meshed.echo(3).await?;
    ensure!(echo.len() == 3 && echo.iter().all(is_injected), "{echo:?}");
    let load = meshed.load(200).await?;
    meshed.until_more_answers(&load, 400).await?;

    let known = meshed.echo_in(&load).await?;
    let counts = requests(&known);
    ensure!(
        counts.len() == 3,
        "the sidecar knows all three endpoints: {known}"
    );
    // The quicker one gets more, as the machine happens to be busy; none is left out.
    let fair = counts.iter().sum::<u64>() / 3;
    let least = counts.iter().min().copied().unwrap_or(0);
    ensure!(least * 4 > fair, "the load is balanced: {counts:?}");
    let (failed, failures) = meshed.failures(&load).await?;
    ensure!(failed == 0, "{failed} requests failed: {failures}");

    for pod in &echo {
        let metrics = meshed.sidecar_metrics(pod).await?;
        let inbound = r#"netting_tcp_connections_opened_total{direction="inbound"}"#;
        ensure!(
            metrics.contains(inbound),
            "it came in through the sidecar: {metrics}"
        );
    }
    meshed.end().await
}

#[tokio::test]
async fn pods_that_must_not_be_injected_are_not_and_it_says_why() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let namespace = &meshed.namespace;
    let opted_out = App::echo("opted-out").annotation("netting.dev/inject", "disabled");
    let opted_out = namespace.pod(&opted_out).await?;
    ensure!(!is_injected(&opted_out), "{opted_out:?}");
    let host_network = App::new("host-network", "sleep").pod_spec(json!({"hostNetwork": true}));
    let host_network = namespace.pod(&host_network).await?;
    ensure!(!is_injected(&host_network), "{host_network:?}");
    namespace.until_ready("opted-out").await?;

    let metrics = meshed.mesh.metrics(Part::Webhook).await?;
    for (pod, reason) in [
        ("opted-out", "opted_out_by_annotation"),
        ("host-network", "host_network"),
    ] {
        let said = meshed.mesh.reason(namespace.name(), pod).await?;
        ensure!(said == reason, "{pod}: {said}");
        let counted = format!("netting_admissions_total{{decision=\"skip\",reason=\"{reason}\"}}");
        ensure!(metrics.contains(&counted), "{counted} is not in {metrics}");
    }

    let elsewhere = Namespace::create(&meshed.cluster, false).await?;
    let plain = elsewhere.pod(&App::echo("plain")).await?;
    ensure!(!is_injected(&plain), "nobody asked for {plain:?}");
    let asked = elsewhere
        .pod(&App::echo("asked").label("netting.dev/inject", "enabled"))
        .await?;
    ensure!(is_injected(&asked), "its own label asks for {asked:?}");
    elsewhere.until_ready("asked").await?;
    let mistaken = App::echo("mistaken").label("netting.dev/inject", "yes");
    let warnings = elsewhere.dry_run(&mistaken).await?;
    let told = |line: &String| line.contains("\"yes\" is not enabled or disabled");
    ensure!(warnings.iter().any(told), "{warnings:?}");
    let mistaken = elsewhere.pod(&mistaken).await?;
    ensure!(!is_injected(&mistaken), "{mistaken:?}");
    elsewhere.delete().await?;
    meshed.end().await
}

#[tokio::test]
async fn injected_and_other_pods_talk_both_ways() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    meshed.echo(1).await?;
    let plain = Namespace::create(&meshed.cluster, false).await?;
    plain.service("outside", json!({})).await?;
    let outside = plain.deploy(&App::echo("outside")).await?;
    ensure!(!outside.iter().any(is_injected), "{outside:?}");

    let out = meshed
        .fetch("out", &format!("http://{}/out", plain.host("outside")))
        .await?;
    ensure!(
        out.contains("outside-"),
        "an injected pod reaches another: {out}"
    );
    let url = format!("http://{}/in", meshed.namespace.host("echo"));
    let back = plain
        .run(&App::new(
            "in",
            &format!("fetch {url} --tries 20 --every 250ms"),
        ))
        .await?;
    ensure!(
        back.contains("echo-"),
        "another pod reaches an injected one: {back}"
    );
    plain.delete().await?;
    meshed.end().await
}

#[tokio::test]
async fn traffic_flows_while_the_catalog_is_away() -> anyhow::Result<()> {
    Box::pin(flows_without_the_catalog(async |mesh| {
        mesh.stop(Part::Catalog).await
    }))
    .await
}

#[tokio::test]
async fn traffic_flows_after_the_catalog_was_killed() -> anyhow::Result<()> {
    Box::pin(flows_without_the_catalog(async |mesh| {
        mesh.kill(Part::Catalog).await
    }))
    .await
}

async fn flows_without_the_catalog(
    goes: impl AsyncFn(&Mesh) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    meshed.echo(2).await?;
    meshed
        .namespace
        .service("other", json!({"selector": {"app": "echo"}}))
        .await?;
    let load = meshed.load(100).await?;

    goes(&meshed.mesh).await?;
    meshed.until_more_answers(&load, 200).await?;
    let (failed, failures) = meshed.failures(&load).await?;
    ensure!(
        failed == 0,
        "known destinations go on: {failed} failed: {failures}"
    );

    let begun = Instant::now();
    let url = format!("http://{}/unknown", meshed.namespace.host("other"));
    let unknown = meshed.fetch("unknown", &url).await?;
    ensure!(
        unknown.contains("echo-"),
        "unknown ones pass through: {unknown}"
    );
    ensure!(
        begun.elapsed() < Duration::from_secs(15),
        "it took {:?}",
        begun.elapsed()
    );

    meshed.mesh.start(Part::Catalog).await?;
    eventually("the sidecar finds the catalog again", async || {
        Ok(meshed.config(&load).await?["catalog"]["connected"] == json!(true))
    })
    .await?;
    meshed.end().await
}

#[tokio::test]
async fn a_pod_admitted_without_the_webhook_starts_without_a_sidecar() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    meshed.mesh.kill(Part::Webhook).await?;
    starts_without_a_sidecar(&meshed).await?;
    meshed.mesh.start(Part::Webhook).await?;
    a_restart_mends_it(&meshed).await?;
    meshed.end().await
}

#[tokio::test]
async fn a_pod_starts_without_a_sidecar_while_the_webhook_hangs() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    meshed.mesh.hang_webhook(&meshed.cluster).await?;
    starts_without_a_sidecar(&meshed).await?;
    meshed.mesh.unhang_webhook().await?;
    a_restart_mends_it(&meshed).await?;
    meshed.end().await
}

async fn starts_without_a_sidecar(meshed: &Meshed) -> anyhow::Result<()> {
    let pods = meshed.namespace.deploy(&App::echo("unlucky")).await?;
    ensure!(!pods.iter().any(is_injected), "{pods:?}");
    Ok(())
}

async fn a_restart_mends_it(meshed: &Meshed) -> anyhow::Result<()> {
    meshed.namespace.restart("unlucky").await?;
    let pods = meshed.namespace.pods("unlucky").await?;
    ensure!(pods.iter().all(is_injected), "{pods:?}");
    Ok(())
}

#[tokio::test]
async fn without_the_label_a_restart_takes_the_sidecar_out_again() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let pods = meshed.echo(1).await?;
    ensure!(pods.iter().all(is_injected), "{pods:?}");
    meshed.namespace.set_meshed(false).await?;
    meshed.namespace.restart("echo").await?;
    let pods = meshed.namespace.pods("echo").await?;
    ensure!(!pods.iter().any(is_injected), "{pods:?}");
    meshed.end().await
}

#[tokio::test]
async fn no_request_is_lost_when_a_replica_ends_under_load() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let echo = meshed.echo(3).await?;
    let load = meshed.load(200).await?;
    let victim = echo.first().context("there are three")?.name_any();
    meshed.namespace.delete_pod(&victim).await?;
    eventually("the replica is gone", async || {
        Ok(meshed
            .namespace
            .api::<Pod>()
            .get_opt(&victim)
            .await?
            .is_none())
    })
    .await?;
    observe::until_available(meshed.namespace.client(), meshed.namespace.name(), "echo").await?;
    meshed.until_more_answers(&load, 200).await?;
    let (failed, failures) = meshed.failures(&load).await?;
    ensure!(failed == 0, "{failed} requests failed: {failures}");
    meshed.end().await
}

#[tokio::test]
async fn a_new_replica_is_used_by_running_sidecars() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    meshed.echo(1).await?;
    let load = meshed.load(100).await?;
    meshed.namespace.scale("echo", 2).await?;
    eventually("the sidecar sends requests to both", async || {
        let counts = requests(&meshed.echo_in(&load).await?);
        Ok(counts.len() == 2 && counts.iter().all(|count| *count > 10))
    })
    .await?;
    let (failed, failures) = meshed.failures(&load).await?;
    ensure!(failed == 0, "{failed} requests failed: {failures}");
    let metrics = meshed.sidecar_metrics(&load).await?;
    ensure!(
        metrics.contains("netting_discovery_propagation_seconds_count"),
        "{metrics}"
    );
    meshed.end().await
}

#[tokio::test]
async fn both_ip_families_work_where_pods_have_them() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let families = json!({"ipFamilyPolicy": "PreferDualStack"});
    let service = meshed.namespace.service("echo", families).await?;
    meshed.namespace.deploy(&App::echo("echo")).await?;
    let ips = service
        .spec
        .and_then(|spec| spec.cluster_ips)
        .unwrap_or_default();
    println!("cluster IPs: {ips:?}");
    for (n, ip) in ips.iter().enumerate() {
        let address = SocketAddr::new(ip.parse()?, 80);
        let url = format!("http://{address}/");
        let load = meshed.load_on(&format!("family-{n}"), &url, 20).await?;
        let echo = meshed.until_carried(&load, &[address]).await?;
        ensure!(
            echo["kind"] == "service" && echo["name"] == "echo",
            "{echo}"
        );
    }
    if std::env::var_os("NETTING_KUBECONFIG").is_none() {
        ensure!(ips.len() == 2, "the sandbox has both families: {ips:?}");
    }
    meshed.end().await
}

#[tokio::test]
async fn headless_services_and_pods_are_reached_by_their_own_address() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let headless = json!({"clusterIP": "None", "ports": [{"name": "http", "port": PORT}]});
    meshed.namespace.service("echo", headless).await?;
    let pods = meshed
        .namespace
        .deploy(&App::echo("echo").replicas(2))
        .await?;
    let url = format!("http://{}:{PORT}/", meshed.namespace.host("echo"));
    let load = meshed.load_on("load", &url, 20).await?;
    let mut addresses = Vec::new();
    for ip in pods
        .iter()
        .filter_map(|pod| pod.status.as_ref()?.pod_ips.as_ref())
    {
        for ip in ip {
            addresses.push(SocketAddr::new(ip.ip.parse()?, PORT));
        }
    }
    let echo = meshed.until_carried(&load, &addresses).await?;
    let endpoints = echo["endpoints"].as_array().context("it lists them")?;
    ensure!(
        endpoints.len() == 1 && endpoints[0]["address"] == echo["address"],
        "it goes to the pod that was meant: {echo}"
    );
    meshed.end().await
}

#[tokio::test]
async fn tcp_passes_in_both_directions_and_half_closed() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let namespace = &meshed.namespace;
    for (name, mode) in [
        ("tcp-echo", "tcp-echo"),
        ("greeter", "speaks-first"),
        ("sink", "sink"),
    ] {
        namespace.service(name, json!({})).await?;
        namespace
            .deploy(&App::new(name, &format!("{mode} --port {PORT}")))
            .await?;
    }
    let send = async |name: &str, to: &str| {
        let send = format!("tcp-send {}:80 hello", namespace.host(to));
        namespace.run(&App::new(name, &send)).await
    };
    ensure!(send("to-echo", "tcp-echo").await?.contains("hello"));
    let greeted = send("to-greeter", "greeter").await?;
    ensure!(greeted.contains("hello"), "{greeted}");
    let counted = send("to-sink", "sink").await?;
    ensure!(
        counted.contains('5'),
        "it answers after the client's end: {counted}"
    );
    meshed.end().await
}

#[tokio::test]
async fn a_job_completes_with_a_sidecar() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    meshed.namespace.job(&App::new("once", "once")).await?;
    meshed.end().await
}

#[tokio::test]
async fn an_init_container_reaches_a_meshed_service() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    meshed.echo(1).await?;
    let url = format!("http://{}/", meshed.namespace.host("echo"));
    let fetch = [
        "/netting/netting-test-app",
        "fetch",
        &url,
        "--tries",
        "20",
        "--every",
        "250ms",
    ];
    let init = json!({"initContainers": [{
        "name": "migrate",
        "image": meshed.cluster.test_image(),
        "command": fetch,
    }]});
    let pod = meshed
        .namespace
        .pod(&App::echo("with-init").pod_spec(init))
        .await?;
    ensure!(is_injected(&pod), "{pod:?}");
    meshed.namespace.until_ready("with-init").await?;
    let log = observe::log(meshed.namespace.client(), &pod, "migrate").await?;
    ensure!(log.contains("echo-"), "{log}");
    meshed.end().await
}
