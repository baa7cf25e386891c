//! Pods that must start, stay and end as they would without a sidecar.

use std::time::{Duration, Instant};

use anyhow::ensure;
use k8s_openapi::api::{core::v1::Pod, events::v1::Event};
use kube::{ResourceExt as _, api::ListParams};
use netting_e2e::{
    App, Meshed,
    apps::PORT,
    mesh::Part,
    observe::{self, eventually, is_injected},
};
use serde_json::{Value, json};
use tokio::time::sleep;

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

/// As the jobs of CronJobs mostly are: the container is started again in the same pod, whose
/// sidecar stays for as long as that may happen, and ends with the last one.
#[tokio::test]
async fn a_job_that_is_restarted_in_its_pod_completes_with_a_sidecar() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let namespace = &meshed.namespace;
    namespace.service("echo", json!({})).await?;
    let fetch = format!("fetch http://{}/ --tries 1", namespace.host("echo"));
    let jobs = ["native", "classic"]
        .map(|mode| App::new(&format!("again-{mode}"), &fetch).annotation(MODE, mode));
    for job in &jobs {
        namespace.start_job(job, "OnFailure", 20).await?;
    }
    for name in ["again-native", "again-classic"] {
        eventually("the job has failed for lack of a server", async || {
            let pod = namespace.one_pod(name).await?;
            let statuses = pod.status.and_then(|status| status.container_statuses);
            let mut statuses = statuses.into_iter().flatten();
            Ok(statuses.any(|status| status.name == "app" && status.restart_count > 0))
        })
        .await?;
    }
    namespace.deploy(&App::echo("echo")).await?;
    for job in &jobs {
        namespace.until_complete(job).await?;
    }
    meshed.end().await
}

#[tokio::test]
async fn a_cron_job_completes_and_is_named_as_such() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    meshed.echo(1).await?;
    let fetch = format!("fetch http://{}/", meshed.namespace.host("echo"));
    for mode in ["native", "classic"] {
        let name = format!("nightly-{mode}");
        let app = App::new(&name, &fetch).annotation(MODE, mode);
        let job = meshed.namespace.cron_job(&app).await?.name_any();
        let pod = meshed.namespace.one_pod(&name).await?;
        let of_job = pod.labels().get("batch.kubernetes.io/job-name");
        ensure!(of_job == Some(&job), "{job}: {of_job:?}");
        ensure!(is_injected(&pod), "{pod:?}");
        let log = observe::log(meshed.namespace.client(), &pod, "app").await?;
        ensure!(log.contains("echo-"), "{mode}: {log}");
        let told = |variable| observe::variable(&pod, "netting-sidecar", variable);
        ensure!(told("NETTING_WORKLOAD_KIND") == Some("CronJob"), "{pod:?}");
        ensure!(told("NETTING_WORKLOAD_NAME") == Some(&name), "{pod:?}");
    }
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

/// A classic sidecar is told by the catalog that nothing else will run in its pod.
#[tokio::test]
async fn a_classic_pod_starts_while_the_catalog_is_away_and_ends_once_it_is_back()
-> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    meshed.mesh.stop(Part::Catalog).await?;
    let once = App::new("once", "once")
        .annotation(MODE, "classic")
        .pod_spec(json!({"restartPolicy": "Never"}));
    meshed.namespace.pod(&once).await?;
    eventually("the application runs to its end", async || {
        let pod = meshed.namespace.api::<Pod>().get("once").await?;
        let statuses = pod.status.and_then(|status| status.container_statuses);
        let mut others = statuses
            .into_iter()
            .flatten()
            .filter(|status| status.name != "netting-sidecar");
        let ended = others.next().and_then(|app| app.state?.terminated);
        Ok(ended.is_some_and(|ended| ended.exit_code == 0))
    })
    .await?;
    meshed.mesh.start(Part::Catalog).await?;
    let phase = meshed.namespace.until_ended("once").await?;
    ensure!(phase == "Succeeded", "{phase}");
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
    // A proxy that accepts and breaks off again is taken for a refusal now and then,
    // but not so many times in a row.
    let mut often = each_second(tcp.clone());
    often["failureThreshold"] = json!(8);
    for mode in ["native", "classic"] {
        let listens = App::echo(&format!("listens-{mode}"))
            .annotation(MODE, mode)
            .readiness(each_second(tcp.clone()));
        let pod = namespace.pod(&listens).await?;
        namespace.until_ready(&pod.name_any()).await?;

        let deaf = App::new(&format!("deaf-{mode}"), "sleep")
            .annotation(MODE, mode)
            .liveness(often.clone());
        let pod = namespace.pod(&deaf).await?;
        until_restarted(&meshed, &pod.name_any(), "app").await?;
    }

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

/// Waits until a container of a pod has been restarted.
async fn until_restarted(meshed: &Meshed, pod: &str, container: &str) -> anyhow::Result<()> {
    eventually("the kubelet restarts what is not well", async || {
        let pod = meshed.namespace.api::<Pod>().get(pod).await?;
        let status = pod.status.unwrap_or_default();
        let lists = [status.init_container_statuses, status.container_statuses];
        let mut statuses = lists.into_iter().flatten().flatten();
        Ok(statuses.any(|status| status.name == container && status.restart_count > 0))
    })
    .await
}

#[tokio::test]
async fn a_grpc_probe_asks_the_application_and_the_service_that_it_names() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let health = format!("grpc-health --port {PORT}");
    let ask = |service: &str| each_second(json!({"grpc": {"port": PORT, "service": service}}));
    for mode in ["native", "classic"] {
        let well = App::new(&format!("well-{mode}"), &health)
            .annotation(MODE, mode)
            .readiness(ask("well"))
            .liveness(ask(""));
        let pod = meshed.namespace.pod(&well).await?;
        let asked = serde_json::to_value(&pod)?["spec"]["containers"].to_string();
        let path = "/probe/app/readiness";
        ensure!(asked.contains(path), "it goes through the sidecar: {asked}");
        meshed.namespace.until_ready(&pod.name_any()).await?;
    }
    for (name, service) in [("sick", "sick"), ("unknown", "no-such-service")] {
        let app = App::new(name, &health).liveness(ask(service));
        meshed.namespace.pod(&app).await?;
        until_restarted(&meshed, name, "app").await?;
    }
    meshed.end().await
}

#[tokio::test]
async fn a_probe_over_https_is_answered_by_the_application() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let https = format!("http --tls --port {PORT}");
    let get = |path: &str| {
        each_second(json!({"httpGet": {"path": path, "port": PORT, "scheme": "HTTPS"}}))
    };
    for rewritten in ["false", "true"] {
        let annotation = "netting.dev/rewrite-http-probes";
        let well = App::new(&format!("well-{rewritten}"), &https)
            .annotation(annotation, rewritten)
            .readiness(get("/healthz?deep=1"));
        meshed.namespace.pod(&well).await?;
        meshed
            .namespace
            .until_ready(&format!("well-{rewritten}"))
            .await?;
        let sick = format!("sick-{rewritten}");
        let app = App::new(&sick, &https)
            .annotation(annotation, rewritten)
            .liveness(get("/status/503"));
        meshed.namespace.pod(&app).await?;
        until_restarted(&meshed, &sick, "app").await?;
    }
    meshed.end().await
}

/// Where the sidecar that tests bring along listens.
const HELPER_PORT: u16 = 8081;

/// A native sidecar of the pod's own, running these arguments, with more fields.
fn helper(meshed: &Meshed, args: &str, more: Value) -> Value {
    let command = std::iter::once("/netting/netting-test-app").chain(args.split(' '));
    let mut helper = json!({
        "name": "helper",
        "image": meshed.cluster.test_image(),
        "command": command.collect::<Vec<_>>(),
        "restartPolicy": "Always",
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        helper[field] = value.clone();
    }
    json!({"initContainers": [helper]})
}

#[tokio::test]
async fn a_sidecar_of_the_pods_own_is_probed_before_and_while_the_application_runs()
-> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let http = format!("http --port {HELPER_PORT}");
    let get = json!({"httpGet": {"path": "/healthz", "port": "health"}});
    let probes = json!({
        "ports": [{"name": "health", "containerPort": HELPER_PORT}],
        "startupProbe": each_second(json!({"tcpSocket": {"port": "health"}})),
        "readinessProbe": each_second(get.clone()),
        "livenessProbe": each_second(get),
    });
    for rewritten in ["false", "true"] {
        let app = App::echo(&format!("helped-{rewritten}"))
            .annotation("netting.dev/rewrite-http-probes", rewritten)
            .pod_spec(helper(&meshed, &http, probes.clone()));
        let pod = meshed.namespace.pod(&app).await?;
        meshed.namespace.until_ready(&pod.name_any()).await?;
    }

    let startup = each_second(json!({"tcpSocket": {"port": HELPER_PORT}}));
    let deaf = helper(&meshed, "sleep", json!({"startupProbe": startup}));
    let app = App::echo("waits").pod_spec(deaf);
    meshed.namespace.pod(&app).await?;
    until_restarted(&meshed, "waits", "helper").await?;
    let pod = meshed.namespace.api::<Pod>().get("waits").await?;
    let statuses = pod.status.and_then(|status| status.container_statuses);
    let mut statuses = statuses.into_iter().flatten();
    let started = statuses.any(|status| status.started == Some(true));
    ensure!(!started, "the application waits for its sidecar");
    meshed.end().await
}

/// A hook is seen to arrive at a sidecar of the pod's own, which counts requests.
#[tokio::test]
async fn lifecycle_hooks_arrive_where_they_are_sent() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let startup = each_second(json!({"tcpSocket": {"port": HELPER_PORT}}));
    let counts = format!("http --port {HELPER_PORT}");
    let counts = helper(&meshed, &counts, json!({"startupProbe": startup}));
    let hook = json!({"httpGet": {"path": "/hook", "port": HELPER_PORT}});
    // One that never succeeds, so that the container is told to end.
    let fails = "/netting/netting-test-app fetch http://127.0.0.1:1/ --tries 1";
    let fails: Vec<_> = fails.split(' ').collect();
    let fails = json!({"exec": {"command": fails}, "periodSeconds": 1, "failureThreshold": 1});
    for rewritten in ["false", "true"] {
        let hooked = |name: &str, container: Value| {
            App::new(&format!("{name}-{rewritten}"), "sleep")
                .annotation("netting.dev/rewrite-http-probes", rewritten)
                .pod_spec(counts.clone())
                .container(container)
        };
        for app in [
            hooked("post-start", json!({"lifecycle": {"postStart": hook}})),
            hooked(
                "pre-stop",
                json!({"lifecycle": {"preStop": hook}, "livenessProbe": fails}),
            ),
        ] {
            let pod = meshed.namespace.pod(&app).await?;
            let asked = serde_json::to_value(&pod)?["spec"]["containers"].to_string();
            ensure!(
                asked.contains("/probe/app/p") == (rewritten == "true"),
                "{asked}"
            );
            eventually("the hook arrives", async || {
                let client = meshed.namespace.client();
                let stats = observe::pod_get(client, &pod, HELPER_PORT, "stats").await?;
                let stats: Value = serde_json::from_str(&stats)?;
                Ok(stats["requests"]
                    .as_u64()
                    .is_some_and(|requests| requests > 0))
            })
            .await?;
        }
    }
    meshed.end().await
}

/// Of a rollout's load, in requests per second: one that keeps all pods busy, and one that leaves
/// each of them alone for longer than a sidecar waits for more.
const BUSY: u32 = 200;
const SPARSE: u32 = 4;
/// So many are answered after a rollout, while the last of the old pods end.
const ANSWERS_AFTER_MIN: u32 = 40;

/// Replaces all pods of a server under load, and returns what the load generator counted.
async fn rolled_under_load(
    server: App,
    annotations: &[(&str, &str)],
    rate: u32,
) -> anyhow::Result<Value> {
    let meshed = Meshed::start().await?;
    let namespace = &meshed.namespace;
    namespace.service("echo", json!({})).await?;
    for (key, value) in annotations {
        namespace.annotate_service("echo", key, value).await?;
    }
    namespace.deploy(&server.replicas(3)).await?;
    let load = meshed.load(rate).await?;
    meshed.namespace.restart("echo").await?;
    let more = rate.max(ANSWERS_AFTER_MIN);
    meshed.until_more_answers(&load, more.into()).await?;
    let stats = meshed.stats(&load).await?;
    meshed.end().await?;
    Ok(stats)
}

async fn rollout_loses_nothing(server: App, annotations: &[(&str, &str)]) -> anyhow::Result<()> {
    let stats = Box::pin(rolled_under_load(server, annotations, BUSY)).await?;
    ensure!(stats["failed"] == 0, "{}", stats["failures"]);
    Ok(())
}

/// An application that drops what it is working on when it is told to end.
fn hasty(serves: &str) -> App {
    let probe = json!({"httpGet": {"path": "/healthz", "port": PORT}, "periodSeconds": 1});
    let serve = format!("http --port {PORT} --on-sigterm exit {serves}");
    App::new("echo", &serve).readiness(probe)
}

#[tokio::test]
async fn a_rollout_loses_no_request_if_the_application_lingers() -> anyhow::Result<()> {
    rollout_loses_nothing(App::echo("echo"), &[]).await
}

#[tokio::test]
async fn a_rollout_loses_no_request_if_the_application_exits_at_once() -> anyhow::Result<()> {
    // What an application was working on when it exited is its own loss, unless its
    // service says that it may be asked again.
    let retried = [("netting.dev/retry-on", "reset")];
    rollout_loses_nothing(hasty(""), &retried).await
}

#[tokio::test]
async fn a_rollout_costs_an_application_that_exits_at_once_only_what_it_was_working_on()
-> anyhow::Result<()> {
    // Long enough to be at work on something when it is told to end.
    let stats = Box::pin(rolled_under_load(hasty("--delay 20ms"), &[], BUSY)).await?;
    let failures = stats["failures"].as_array().into_iter().flatten();
    for failure in failures {
        // Not refused, not late, not without an answer.
        let reason = failure["reason"].as_str().unwrap_or_default();
        let was_working = failure["kind"] == "status"
            && reason.starts_with("502")
            && reason.contains("error=connection_terminated");
        ensure!(was_working, "{failure}");
    }
    Ok(())
}

/// An application that goes on while its `preStop` hook waits, and for a while after that.
fn with_pre_stop(app: App, waits: &str) -> App {
    let wait = json!({"exec": {"command": ["/netting/netting-test-app", "sleep", waits]}});
    app.container(json!({"lifecycle": {"preStop": wait}}))
}

#[tokio::test]
async fn a_rollout_in_classic_mode_loses_no_request_though_few_come() -> anyhow::Result<()> {
    let server = with_pre_stop(App::echo("echo").annotation(MODE, "classic"), "5s");
    let stats = Box::pin(rolled_under_load(server, &[], SPARSE)).await?;
    ensure!(stats["failed"] == 0, "{}", stats["failures"]);
    Ok(())
}

/// A classic sidecar is told to end when the hook begins. Not all clients hear at once that the
/// pod is to end.
#[tokio::test]
async fn a_pod_is_reached_now_and_then_while_its_pre_stop_hook_runs() -> anyhow::Result<()> {
    const HOOK: Duration = Duration::from_secs(8);
    const APART: Duration = Duration::from_secs(1);
    let meshed = Meshed::start().await?;
    for mode in ["native", "classic"] {
        let app = App::echo(&format!("hooked-{mode}")).annotation(MODE, mode);
        let app = with_pre_stop(app, &format!("{}s", HOOK.as_secs()));
        let name = meshed.namespace.pod(&app).await?.name_any();
        let pod = meshed.namespace.until_ready(&name).await?;
        meshed.namespace.delete_pod(&name).await?;
        let begun = Instant::now();
        while begun.elapsed() < HOOK / 2 {
            sleep(APART).await;
            let client = meshed.namespace.client();
            observe::pod_get(client, &pod, PORT, "late").await?;
        }
    }
    meshed.end().await
}

#[tokio::test]
async fn a_worker_writes_down_what_it_did_after_it_was_told_to_end() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let echo = meshed.echo(1).await?;
    let write = format!(
        "fetch http://{}/done --after-sigterm 1s",
        meshed.namespace.host("echo")
    );
    for (written, mode) in ["native", "classic"].into_iter().enumerate() {
        let worker = App::new(&format!("worker-{mode}"), &write).annotation(MODE, mode);
        let name = meshed.namespace.pod(&worker).await?.name_any();
        meshed.namespace.until_ready(&name).await?;
        meshed.namespace.delete_pod(&name).await?;
        eventually("the worker has written", async || {
            let client = meshed.namespace.client();
            let stats = observe::pod_get(client, &echo[0], PORT, "stats").await?;
            let stats: Value = serde_json::from_str(&stats)?;
            Ok(stats["requests"].as_u64() == u64::try_from(written + 1).ok())
        })
        .await?;
    }
    meshed.end().await
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
