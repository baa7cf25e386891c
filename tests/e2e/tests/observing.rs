//! The commands that look at a mesh, against one that is there.

#[path = "../../../cli/tests/top/terminal.rs"]
#[allow(dead_code, reason = "these tests use a part of it")]
mod terminal;

use std::{
    cell::Cell,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::{
    core::v1::Secret,
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use netting_e2e::{
    App, Meshed,
    apps::PORT,
    cli::{Said, netting, netting_meanwhile},
    cluster::binary,
    mesh::Part,
    observe::eventually,
};
use serde_json::{Value, json};
use terminal::Terminal;
use tokio::time::sleep;

/// What a command says as JSON.
fn parsed(said: &Said) -> anyhow::Result<Value> {
    serde_json::from_str(&said.stdout).with_context(|| format!("{said:#?}"))
}

async fn asked(meshed: &Meshed, args: &[&str]) -> anyhow::Result<Value> {
    let json: Vec<&str> = args.iter().chain(&["-o", "json"]).copied().collect();
    parsed(&netting(&meshed.cluster, &json).await?.well()?)
}

#[tokio::test]
async fn check_finds_a_pod_that_was_admitted_while_the_webhook_was_away() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let namespace = meshed.namespace.name();
    meshed.echo(1).await?;
    let before = ["check", "--before-install"];
    netting(&meshed.cluster, &before).await?.well()?;
    let all = ["check", "-n", namespace, "--wait"];
    let well = netting(&meshed.cluster, &all).await?.well()?;
    for says in [
        "1 pod with a sidecar",
        "webhook's certificate holds",
        "a pod on trial is given a sidecar",
        "0 failures",
    ] {
        ensure!(well.stdout.contains(says), "{says}: {well:#?}");
    }

    meshed.mesh.stop(Part::Webhook).await?;
    let brief = ["check", "-n", namespace, "--wait=1s"];
    let brief = netting(&meshed.cluster, &brief).await?;
    brief.refused(1, "waiting: ")?;
    let patient = ["check", "-n", namespace, "--wait=5m"];
    let start = Box::pin(meshed.mesh.start(Part::Webhook));
    let waited = netting_meanwhile(&meshed.cluster, &patient, "waiting: ", start).await?;
    waited.well()?;

    meshed.mesh.stop(Part::Webhook).await?;
    meshed.namespace.pod(&App::new("missed", "sleep")).await?;
    meshed.namespace.until_ready("missed").await?;
    let away = netting(&meshed.cluster, &["check", "-n", namespace]).await?;
    ensure!(
        away.code == Some(1) && away.stdout.contains("0 of 0 replicas"),
        "{away:#?}"
    );

    meshed.mesh.start(Part::Webhook).await?;
    let found = netting(&meshed.cluster, &["check", "-n", namespace, "-o", "json"]).await?;
    ensure!(found.code == Some(1), "{found:#?}");
    let found = parsed(&found)?;
    let missing = found["findings"].as_array().into_iter().flatten();
    let missing: Vec<_> = missing.filter(|one| one["severity"] == "failure").collect();
    ensure!(
        missing.len() == 1 && missing[0]["code"] == "sidecar_missing",
        "{found:#}"
    );
    let subject = format!("{namespace}/pod/missed");
    ensure!(missing[0]["subject"] == subject.as_str(), "{found:#}");
    let name = format!("{namespace}/missed");
    let explained = asked(&meshed, &["explain", "pod", &name]).await?;
    ensure!(explained["reason"] == "not_asked_about", "{explained:#}");
    meshed.end().await
}

#[tokio::test]
async fn stat_and_edges_show_the_load() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let namespace = meshed.namespace.name();
    meshed.echo(2).await?;
    let load = meshed.load(50).await?;

    let rows = asked(&meshed, &["stat", "-n", namespace, "--window", "2s"]).await?;
    let row = |name: &str| {
        let rows = rows.as_array().into_iter().flatten();
        let row = rows.into_iter().find(|row| row["name"] == name);
        row.with_context(|| format!("{name} is not in {rows:#}", rows = json!(row)))
    };
    let echo = row("echo")?;
    let rate = echo["requests_per_second"].as_f64().unwrap_or_default();
    ensure!(rate > 1.0 && echo["pods"] == 2, "{rows:#}");
    ensure!(
        echo["success"] == 1.0 && echo["p99_ms"].is_f64(),
        "{rows:#}"
    );
    let sent = row("load")?["outbound_requests_per_second"].as_f64();
    ensure!(sent.unwrap_or_default() > 1.0, "{rows:#}");

    let edges = asked(&meshed, &["edges", "-n", namespace, "--window", "2s"]).await?;
    let server = format!("{namespace}/echo:http");
    let mut edge = edges.as_array().into_iter().flatten();
    let edge = edge.find(|edge| edge["server"] == server.as_str());
    let edge = edge.with_context(|| format!("{edges:#}"))?;
    ensure!(
        edge["client"]["name"] == "load" && edge["endpoints"] == 2,
        "{edges:#}"
    );
    let rate = edge["requests_per_second"].as_f64().unwrap_or_default();
    ensure!(rate > 1.0 && edge["meshed_endpoints"] == 2, "{edges:#}");
    ensure!(
        edge["success"] == 1.0 && edge["p50_ms"].is_f64() && edge["p99_ms"].is_f64(),
        "{edges:#}"
    );

    let name = format!("{namespace}/{}", load.name_any());
    let config = asked(&meshed, &["config", &name]).await?;
    ensure!(config["catalog"]["connected"] == true, "{config:#}");
    let table = netting(&meshed.cluster, &["config", &name]).await?.well()?;
    ensure!(table.stdout.contains(&server), "{table:#?}");

    let yaml = ["stat", "-n", namespace, "--window", "1s", "-o", "yaml"];
    let yaml = netting(&meshed.cluster, &yaml).await?.well()?.stdout;
    let rows: Vec<Value> = serde_saphyr::from_str(&yaml).context("stat prints YAML")?;
    ensure!(rows.iter().any(|row| row["name"] == "echo"), "{yaml}");
    let wide = ["config", &name, "-o", "wide"];
    let wide = netting(&meshed.cluster, &wide).await?.well()?;
    for heading in ["ZONE", "MESHED", "REQUESTS"] {
        let (only_wide, plain) = (&wide.stdout, &table.stdout);
        ensure!(
            only_wide.contains(heading) && !plain.contains(heading),
            "{heading}: {wide:#?}"
        );
    }

    let top = netting(&meshed.cluster, &["top", "-n", namespace]).await?;
    top.refused(2, "netting stat")?;
    meshed.end().await
}

#[tokio::test]
async fn top_shows_the_load_by_workload_and_by_edge() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let namespace = meshed.namespace.name();
    meshed.echo(1).await?;
    meshed.load(50).await?;
    let (command, kubeconfig) = (binary("netting")?, meshed.cluster.kubeconfig());
    let [command, kubeconfig] =
        [&command, kubeconfig].map(|path| path.to_str().context("the path is text"));
    let args = [
        "--kubeconfig",
        kubeconfig?,
        "top",
        "-n",
        namespace,
        "--every=1s",
    ];
    let mut terminal = Terminal::run(command?, &args, 24);

    terminal.until(&format!("workloads of {namespace}"));
    let rate = rate_of(&mut terminal, "deployment/echo")?;
    ensure!(rate > 1.0, "{}", terminal.text);
    terminal.press("e");
    terminal.until(&format!("edges of {namespace}"));
    let rate = rate_of(&mut terminal, &format!("{namespace}/echo:http"))?;
    ensure!(rate > 1.0, "{}", terminal.text);
    terminal.press("q");
    let code = terminal.end().await;
    ensure!(code == Some(0), "{}", terminal.text);
    meshed.end().await
}

/// Waits until all of the requests in a row succeed, and returns how many a second these are.
fn rate_of(terminal: &mut Terminal, row: &str) -> anyhow::Result<f64> {
    let shown = terminal.until("100.00%");
    let row = shown.rsplit_once(row);
    let (_, row) = row.with_context(|| format!("it is not in {shown:?}"))?;
    let mut cells = row.split_whitespace().rev();
    let rate = cells.find_map(|cell| cell.parse().ok());
    rate.with_context(|| format!("{row:?} has no rate"))
}

#[tokio::test]
async fn in_a_pod_the_command_asks_the_cluster_that_it_is_in() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    if !meshed.cluster.has_command_in_images() {
        eprintln!("not tried: the images of this cluster have no netting command");
        return meshed.end().await;
    }
    meshed.echo(1).await?;
    let command = json!(["/netting/netting", "stat", "--window=1s", "-o", "json"]);
    let asks = |name: &str| {
        App::new(name, "")
            .annotation("netting.dev/inject", "disabled")
            .container(json!({"command": command}))
    };
    let refused = meshed.namespace.run(&asks("before")).await;
    let refused = format!("{:#}", refused.err().context("it has no rights yet")?);
    ensure!(refused.contains("not allowed to list Pods"), "{refused}");

    let roles: Api<Role> = meshed.namespace.api();
    let role = json!({"metadata": {"name": "asks"}, "rules": [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["get", "create"]}]});
    let role = serde_json::from_value(role)?;
    roles.create(&PostParams::default(), &role).await?;
    let bindings: Api<RoleBinding> = meshed.namespace.api();
    let binding = json!({"metadata": {"name": "asks"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": meshed.namespace.name()}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "asks"}});
    let binding = serde_json::from_value(binding)?;
    bindings.create(&PostParams::default(), &binding).await?;
    // An API server takes a moment to heed a new role.
    let tries = Cell::new(0);
    eventually("the pod may ask, and is answered", async || {
        tries.set(tries.get() + 1);
        let name = format!("after-{}", tries.get());
        let said = meshed.namespace.run(&asks(&name)).await?;
        let rows: Value = serde_json::from_str(&said)?;
        Ok(rows[0]["name"] == "echo")
    })
    .await?;
    meshed.end().await
}

#[tokio::test]
async fn a_sidecar_is_told_what_services_name_the_ports_of_its_own_pod() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let echo = meshed.echo(1).await?;
    meshed.load(50).await?;
    let ip = echo[0].status.as_ref().and_then(|is| is.pod_ip.as_deref());
    let own: IpAddr = ip.context("it has no address")?.parse()?;
    let own = SocketAddr::from((own, PORT)).to_string();
    eventually("it knows", async || {
        let config = meshed.config(&echo[0]).await?;
        let mut held = config["destinations"].as_array().into_iter().flatten();
        let held = held.find(|one| one["address"] == own.as_str());
        Ok(held.is_some_and(|one| one["protocol_hint"] == "http" && one["kind"] == "workload"))
    })
    .await?;
    meshed.end().await
}

#[tokio::test]
async fn a_pod_that_ends_meanwhile_is_no_failure() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let namespace = meshed.namespace.name();
    let pods = meshed.echo(2).await?;
    let args = ["stat", "-n", namespace, "--window", "3s", "-o", "json"];
    let (said, deleted) = tokio::join!(netting(&meshed.cluster, &args), async {
        sleep(Duration::from_millis(500)).await;
        meshed.namespace.delete_pod(&pods[0].name_any()).await
    });
    deleted?;
    let rows = parsed(&said?.well()?)?;
    ensure!(rows[0]["name"] == "echo", "{rows:#}");
    meshed.end().await
}

#[tokio::test]
async fn the_catalog_says_what_sidecars_are_told() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let namespace = meshed.namespace.name();
    meshed.echo(1).await?;
    let services = asked(&meshed, &["catalog", "services", "-n", namespace]).await?;
    ensure!(services["echo"] == json!(["http"]), "{services:#}");
    let service = format!("{namespace}/echo");
    let endpoints = asked(&meshed, &["catalog", "endpoints", &service]).await?;
    ensure!(
        endpoints[0]["Service"]["Meta"]["meshed"] == "true",
        "{endpoints:#}"
    );

    let watch = ["catalog", "watch", &service, "--changes", "1"];
    // Whenever the watch begins, there is a change after that.
    let changing = async {
        for replicas in [2, 1].into_iter().cycle() {
            meshed.namespace.scale("echo", replicas).await?;
            sleep(Duration::from_secs(1)).await;
        }
        anyhow::Ok(())
    };
    let watched = tokio::select! {
        watched = netting(&meshed.cluster, &watch) => watched?.well()?,
        changed = changing => bail!("it can't be scaled: {changed:?}"),
    };
    let lines: Vec<_> = watched.stdout.lines().collect();
    ensure!(
        lines.len() >= 2 && lines.iter().all(|line| line.contains("echo-")),
        "{watched:#?}"
    );
    meshed.end().await
}

#[tokio::test]
async fn a_log_level_is_changed_for_as_long_as_the_pod_lives() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let echo = meshed.echo(1).await?;
    let pod = format!("{}/{}", meshed.namespace.name(), echo[0].name_any());
    let cluster = &meshed.cluster;
    let before = netting(cluster, &["log-level", &pod]).await?.well()?;
    ensure!(before.stdout == "info\n", "{before:#?}");
    let changed = netting(cluster, &["log-level", &pod, "debug"])
        .await?
        .well()?;
    ensure!(changed.stdout == "debug\n", "{changed:#?}");
    let now = netting(cluster, &["log-level", &pod]).await?.well()?;
    ensure!(now.stdout == "debug\n", "{now:#?}");
    let loud = netting(cluster, &["log-level", &pod, "loud=louder"]).await?;
    ensure!(
        loud.code == Some(1) && loud.stderr.contains("400"),
        "{loud:#?}"
    );

    let plain = App::new("plain", "sleep").annotation("netting.dev/inject", "disabled");
    meshed.namespace.pod(&plain).await?;
    meshed.namespace.until_ready("plain").await?;
    let plain = format!("{}/plain", meshed.namespace.name());
    let refused = netting(cluster, &["log-level", &plain]).await?;
    refused.refused(1, "does not take a connection at port 15020")?;
    meshed.end().await
}

#[tokio::test]
async fn a_support_bundle_has_no_secret_in_it() -> anyhow::Result<()> {
    const CANARY: &str = "correct-horse-battery";
    let meshed = Meshed::start().await?;
    let namespace = &meshed.namespace;
    let secrets: Api<Secret> = namespace.api();
    let secret = json!({"metadata": {"name": "canary"}, "stringData": {"password": CANARY}});
    secrets
        .create(&PostParams::default(), &serde_json::from_value(secret)?)
        .await?;
    let app = App::new("app", "sleep")
        .annotation("example.org/password", CANARY)
        .pod_spec(json!({"containers": [{
            "name": "app",
            "image": meshed.cluster.test_image(),
            "command": ["/netting/netting-test-app", "sleep"],
            "env": [{"name": "PASSWORD", "value": CANARY}],
        }]}));
    let pod = namespace.pod(&app).await?.name_any();
    namespace.until_ready(&pod).await?;
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(meshed.cluster.client());
    let annotated = Patch::Merge(json!({"metadata": {"annotations": {"password": CANARY}}}));
    namespaces
        .patch(namespace.name(), &PatchParams::default(), &annotated)
        .await?;

    let dir = tempfile::tempdir()?;
    let to = dir.path().join("bundle");
    let path = to.to_str().context("the path is text")?;
    let cluster = &meshed.cluster;
    netting(cluster, &["support-bundle", "--to", path])
        .await?
        .well()?;
    let mut files = Vec::new();
    read_all(&to, &mut files)?;
    let own = format!("pods/{}/{pod}.yaml", namespace.name());
    for expected in [
        own.as_str(),
        "check.json",
        "objects/nodes.yaml",
        "netting-sidecar.log",
        "config.json",
    ] {
        let there = files
            .iter()
            .any(|(path, content)| path.ends_with(expected) && !content.is_empty());
        ensure!(
            there,
            "{expected} is not in {:?}",
            files.iter().map(|(path, _)| path).collect::<Vec<_>>()
        );
    }
    let key = "PRIVATE KEY";
    for (path, content) in &files {
        for secret in [CANARY, key, "eyJ"] {
            ensure!(!content.contains(secret), "{secret} is in {path}");
        }
    }
    let missing = files.iter().find(|(path, _)| path.ends_with("missing.txt"));
    ensure!(
        missing.is_some_and(|(_, content)| content == "nothing\n"),
        "{missing:?}"
    );
    let again = netting(cluster, &["support-bundle", "--to", path]).await?;
    again.refused(2, "is there already")?;
    meshed.end().await
}

fn read_all(dir: &std::path::Path, files: &mut Vec<(String, String)>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            read_all(&path, files)?;
        } else {
            let content = std::fs::read_to_string(&path)?;
            files.push((path.to_string_lossy().into_owned(), content));
        }
    }
    Ok(())
}
