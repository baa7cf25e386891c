//! Pods that must start, stay and end as they would without a sidecar.

use anyhow::ensure;
use k8s_openapi::api::{core::v1::Pod, events::v1::Event};
use kube::{ResourceExt as _, api::ListParams};
use netting_e2e::{
    App, Meshed,
    apps::PORT,
    observe::{self, eventually, is_injected},
};
use serde_json::{Value, json};

const MODE: &str = "netting.dev/sidecar-mode";

/// A probe that asks each second.
fn each_second(handler: Value) -> Value {
    let mut probe = handler;
    probe["periodSeconds"] = json!(1);
    probe
}

#[tokio::test]
async fn a_job_completes_with_a_classic_sidecar() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let once = App::new("once", "once").annotation(MODE, "classic");
    meshed.namespace.job(&once).await?;
    let pod = meshed.namespace.one_pod("once").await?;
    ensure!(
        observe::containers(&pod).contains(&"netting-sidecar"),
        "the sidecar is a regular container: {pod:?}"
    );
    meshed.end().await
}

#[tokio::test]
async fn a_failed_job_fails_with_a_classic_sidecar() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let failing = App::new("failing", "fetch http://127.0.0.1:1/ --tries 1")
        .annotation(MODE, "classic")
        .pod_spec(json!({"restartPolicy": "Never"}));
    meshed.namespace.pod(&failing).await?;
    let phase = meshed.namespace.until_ended("failing").await?;
    ensure!(phase == "Failed", "{phase}");
    meshed.end().await
}

/// The application's first act is a connection, and it makes only one try.
#[tokio::test]
async fn an_application_never_starts_before_its_sidecar_accepts() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    meshed.echo(1).await?;
    let url = format!("http://{}/", meshed.namespace.host("echo"));
    for mode in ["native", "classic"] {
        for n in 0..5 {
            let hasty = App::new(&format!("{mode}-{n}"), &format!("fetch {url} --tries 1"))
                .annotation(MODE, mode);
            let answer = meshed.namespace.run(&hasty).await?;
            ensure!(answer.contains("echo-"), "{mode}: {answer}");
        }
    }
    meshed.end().await
}

#[tokio::test]
async fn init_containers_of_a_classic_pod_run_before_anything_is_redirected() -> anyhow::Result<()>
{
    let meshed = Meshed::start().await?;
    meshed.echo(1).await?;
    let url = format!("http://{}/", meshed.namespace.host("echo"));
    let fetch = "/netting/netting-test-app fetch --tries 20 --every 250ms";
    let command: Vec<_> = fetch.split(' ').chain([url.as_str()]).collect();
    let init = json!({"initContainers": [{
        "name": "migrate",
        "image": meshed.cluster.test_image(),
        "command": command,
    }]});
    let app = App::echo("with-init")
        .annotation(MODE, "classic")
        .pod_spec(init);
    let pod = meshed.namespace.pod(&app).await?;
    ensure!(is_injected(&pod), "{pod:?}");
    meshed.namespace.until_ready("with-init").await?;
    meshed.end().await
}

#[tokio::test]
async fn a_probe_says_what_the_application_would_say() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let namespace = &meshed.namespace;
    let tcp = json!({"tcpSocket": {"port": PORT}});
    let listens = App::echo("listens").readiness(each_second(tcp.clone()));
    namespace.pod(&listens).await?;
    namespace.until_ready("listens").await?;

    // A proxy that accepts and breaks off again is taken for a refusal now and then,
    // but not so many times in a row.
    let mut often = each_second(tcp);
    often["failureThreshold"] = json!(8);
    let deaf = App::new("deaf", "sleep").liveness(often);
    namespace.pod(&deaf).await?;
    eventually("the kubelet restarts what does not listen", async || {
        let pod = namespace.api::<Pod>().get("deaf").await?;
        let statuses = pod.status.and_then(|status| status.container_statuses);
        let mut statuses = statuses.into_iter().flatten();
        Ok(statuses.any(|status| status.name == "app" && status.restart_count > 0))
    })
    .await?;

    let over_http = json!({"httpGet": {"path": "/healthz", "port": PORT}});
    for (name, rewritten) in [("as-it-is", "false"), ("rewritten", "true")] {
        let app = App::echo(name)
            .annotation("netting.dev/rewrite-http-probes", rewritten)
            .readiness(each_second(over_http.clone()));
        namespace.pod(&app).await?;
        namespace.until_ready(name).await?;
    }
    meshed.end().await
}

async fn rollout_under_load(server: App, annotations: &[(&str, &str)]) -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let namespace = &meshed.namespace;
    namespace.service("echo", json!({})).await?;
    for (key, value) in annotations {
        namespace.annotate_service("echo", key, value).await?;
    }
    namespace.deploy(&server.replicas(3)).await?;
    let load = meshed.load(200).await?;
    meshed.namespace.restart("echo").await?;
    meshed.until_more_answers(&load, 200).await?;
    let (failed, failures) = meshed.failures(&load).await?;
    ensure!(failed == 0, "{failed} requests failed: {failures}");
    meshed.end().await
}

#[tokio::test]
async fn a_rollout_loses_no_request_if_the_application_lingers() -> anyhow::Result<()> {
    Box::pin(rollout_under_load(App::echo("echo"), &[])).await
}

#[tokio::test]
async fn a_rollout_loses_no_request_if_the_application_exits_at_once() -> anyhow::Result<()> {
    let probe = json!({"httpGet": {"path": "/healthz", "port": PORT}, "periodSeconds": 1});
    let hasty = App::new("echo", &format!("http --port {PORT} --on-sigterm exit"));
    // What an application was working on when it exited is its own loss, unless its
    // service says that it may be asked again.
    let retried = [("netting.dev/retry-on", "reset, gateway-error")];
    Box::pin(rollout_under_load(hasty.readiness(probe), &retried)).await
}

#[tokio::test]
async fn what_is_wrong_with_an_option_is_said_and_the_pod_injected() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let ports = "netting.dev/skip-outbound-ports";
    let app = App::new("wrong", "sleep").annotation(ports, "99999,3306");
    let warnings = meshed.namespace.dry_run(&app).await?;
    let named = |warning: &String| warning.contains(ports) && warning.contains("99999");
    ensure!(warnings.iter().any(named), "{warnings:?}");
    let pod = meshed.namespace.pod(&app).await?;
    ensure!(is_injected(&pod), "{pod:?}");
    let init = pod
        .spec
        .iter()
        .flat_map(|spec| spec.init_containers.iter().flatten());
    let init = init.filter(|container| container.name == "netting-init");
    let args = format!("{:?}", init.map(|c| (&c.args, &c.env)).collect::<Vec<_>>());
    ensure!(
        args.contains("3306") && !args.contains("99999"),
        "the other item counts: {args}"
    );
    eventually("an event says it too", async || {
        let events = meshed.namespace.api::<Event>();
        let events = events.list(&ListParams::default()).await?;
        Ok(events
            .iter()
            .any(|event| event.note.as_ref().is_some_and(named)))
    })
    .await?;
    meshed.end().await
}

#[tokio::test]
async fn a_pod_that_must_not_run_as_root_runs_with_a_sidecar() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let security = json!({
        "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "fsGroup": 2000},
        "automountServiceAccountToken": false,
        "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["192.0.2.1"]},
    });
    for mode in ["native", "classic"] {
        let app = App::echo(&format!("strict-{mode}"))
            .annotation(MODE, mode)
            .pod_spec(security.clone());
        let pod = meshed.namespace.pod(&app).await?;
        ensure!(is_injected(&pod), "{pod:?}");
        meshed.namespace.until_ready(&pod.name_any()).await?;
    }
    meshed.end().await
}
