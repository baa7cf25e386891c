//! The process: what is bound, watched and served, and in which order it ends.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use kube::{Api, Client};
use netting_runtime::{
    Drain, Process, Readiness, Shutdown,
    admin::{self, Admin},
    files, listen,
    logging::LogHandle,
    readiness::Condition,
};
use netting_telemetry::{
    Metrics,
    admission::{AdmissionMetrics, CertificateMetrics, EventMetrics},
    control_plane::{Part, Started},
};
use tokio::{sync::watch, time::timeout};

use crate::{
    Options, api_version,
    args::{Args, SidecarChoice},
    ca_bundle,
    certificate::{
        CaPem,
        files::Files,
        secret,
        serving::{Anchors, Server, Serving},
    },
    events::Events,
    mutate::Mutate,
    names,
    namespaces::Namespaces,
    server,
};

/// Readiness waits for the API server's version for so long: what is injected before
/// it is known has a classic sidecar, which runs everywhere.
const VERSION_AWAITED: Duration = Duration::from_secs(5);

/// And so long for the namespaces: of one that is not heard of in time, nobody knows
/// whether it takes injected pods.
const NAMESPACES_AWAITED: Duration = Duration::from_secs(5);

/// Runs the webhook until a signal has ended it.
#[must_use]
pub fn main(args: Args) -> ExitCode {
    let process = Process {
        name: names::WEBHOOK,
        log: args.log.clone(),
        log_format: args.log_format,
        worker_threads: None,
    };
    process.run(|log| run(args, log))
}

async fn run(args: Args, log: LogHandle) -> anyhow::Result<()> {
    ensure!(
        args.shutdown_delay < args.drain_timeout,
        "--shutdown-delay must be shorter than --drain-timeout, which includes it"
    );
    let options = args.options()?;
    let readiness = Readiness::new();
    let shutdown = Shutdown::install(&readiness).context("cannot handle signals")?;
    let drain = Drain::new();
    files::raise_max();
    let telemetry = telemetry(&args, &drain);
    let client = client(&args).await?;

    let listener = listen(args.https_port).await?;
    let serving = certificate(
        &args,
        client.as_ref(),
        &readiness,
        &telemetry.metrics,
        &drain,
    )?;
    let routes = mutate(&args, options, client, &readiness, &telemetry, &drain).into_router();
    let port = listener.local_addr()?.port();
    let delay = args.shutdown_delay;
    let answering = server::serve(listener, serving, routes, delay, drain.clone());
    drain.spawn(drain.vital("the HTTPS server", answering));

    // Last, so that it never says ready of something that is still to come.
    let admin_listener = listen(args.admin_port).await?;
    let admin_port = admin_listener.local_addr()?.port();
    let admin_routes = Admin::new(readiness, log).router(telemetry.routes());
    tokio::spawn(drain.vital(
        "the admin port's server",
        admin::serve(admin_listener, admin_routes),
    ));
    tracing::info!(port, admin_port, image = args.image, "serving");

    let ended = shutdown.run(&drain, args.drain_timeout).await;
    telemetry.flush(args.drain_timeout).await;
    ended?;
    Ok(())
}

fn telemetry(args: &Args, drain: &Drain) -> Started {
    let webhook = Part {
        name: "webhook",
        workload: names::WEBHOOK,
        pod_name: &args.pod_name,
        pod_namespace: &args.pod_namespace,
    };
    webhook.start(&args.telemetry, args.trace_ratio, drain)
}

/// The API server's, which can be done without if a certificate is given.
async fn client(args: &Args) -> anyhow::Result<Option<Client>> {
    match Client::try_default().await {
        Ok(client) => Ok(Some(client)),
        Err(error) if args.tls_cert.is_some() => {
            tracing::warn!(
                %error,
                "found no API server, so that nothing is known of namespaces and versions"
            );
            Ok(None)
        }
        Err(error) => Err(error).context(
            "cannot find the API server: no service account and no kubeconfig; \
             outside a cluster give --tls-cert and --tls-key",
        ),
    }
}

/// Begins to look after the certificate, for as long as the process lives.
fn certificate(
    args: &Args,
    client: Option<&Client>,
    readiness: &Readiness,
    metrics: &Metrics,
    drain: &Drain,
) -> anyhow::Result<Serving> {
    let has_certificate = readiness.condition("has a certificate");
    let metrics = CertificateMetrics::register(metrics);
    let (server, serving, anchors) = Server::new(has_certificate, metrics);
    let (trusted_cas, trusted_by_now) = watch::channel(Vec::new());
    let host = format!("{}.{}.svc", args.service, args.pod_namespace);
    match (&args.tls_cert, &args.tls_key) {
        (Some(chain), Some(key)) => {
            let files = Files {
                chain: chain.clone(),
                key: key.clone(),
                ca: args.tls_ca.clone().filter(|_| client.is_some()),
                // A webhook that no cluster knows is called as somebody likes.
                host: client.map(|_| host),
            };
            let following = files.follow(server, trusted_by_now)?;
            tokio::spawn(drain.vital("what follows the certificate's files", following));
            if let Some(client) = client.filter(|_| args.tls_ca.is_some()) {
                let trusted = readiness.condition(TRUSTED);
                let keeper = bundle_keeper(args, anchors, trusted_cas, trusted);
                tokio::spawn(drain.vital(BUNDLE_KEEPER, keeper.keep(client.clone())));
            }
        }
        _ => {
            let client = client.context("a certificate is only made for an API server")?;
            let keeper = secret::Keeper {
                secrets: Api::namespaced(client.clone(), &args.pod_namespace),
                name: args.tls_secret.clone(),
                host,
                server,
                trusted_cas: trusted_by_now,
            };
            tokio::spawn(drain.vital("the certificate's keeper", keeper.keep()));
            let trusted = readiness.condition(TRUSTED);
            let keeper = bundle_keeper(args, anchors, trusted_cas, trusted);
            tokio::spawn(drain.vital(BUNDLE_KEEPER, keeper.keep(client.clone())));
        }
    }
    Ok(serving)
}

const TRUSTED: &str = "trusted by the API server";
const BUNDLE_KEEPER: &str = "the caBundle's keeper";

fn bundle_keeper(
    args: &Args,
    anchors: watch::Receiver<Option<Anchors>>,
    trusted_cas: watch::Sender<Vec<CaPem>>,
    trusted: Condition,
) -> ca_bundle::Keeper {
    ca_bundle::Keeper {
        configuration: args.webhook_configuration.clone(),
        anchors,
        trusted_cas,
        trusted,
    }
}

/// What answers, and what it follows in the cluster for that.
fn mutate(
    args: &Args,
    mut options: Options,
    client: Option<Client>,
    readiness: &Readiness,
    telemetry: &Started,
    drain: &Drain,
) -> Mutate {
    let Started {
        metrics, tracer, ..
    } = telemetry;
    let admissions = AdmissionMetrics::register(metrics);
    let tracer = tracer.clone();
    let Some(client) = client else {
        return Mutate {
            tracer,
            ..Mutate::by(options, admissions)
        };
    };
    let asks_version = args.sidecar_mode != SidecarChoice::Native;
    options.native_sidecars = !asks_version;
    let (options, current) = watch::channel(Arc::new(options));
    if asks_version {
        let following = follow_version(client.clone(), options, readiness);
        tokio::spawn(drain.vital("what follows the API server's version", following));
    }
    let (namespaces, following) = Namespaces::follow(client.clone());
    tokio::spawn(drain.vital("the watch of namespaces", following));
    let listed = readiness.condition("knows the namespaces");
    let awaited = namespaces.clone();
    tokio::spawn(async move {
        if timeout(NAMESPACES_AWAITED, awaited.listed()).await.is_err() {
            tracing::warn!("could not list namespaces and limit ranges in time; going on without");
        }
        listed.set(true);
    });
    let (events, writer) = Events::new(EventMetrics::register(metrics), &args.pod_name);
    tokio::spawn(writer.write(client));
    Mutate {
        options: current,
        metrics: admissions,
        namespaces: Some(namespaces),
        events: Some(events),
        tracer,
    }
}

/// Keeps the options right for the API server's version.
fn follow_version(
    client: Client,
    options: watch::Sender<Arc<Options>>,
    readiness: &Readiness,
) -> impl Future<Output = ()> + use<> {
    let known = readiness.condition("knows the API server's version");
    let late = known.clone();
    tokio::spawn(async move {
        tokio::time::sleep(VERSION_AWAITED).await;
        late.set(true);
    });
    api_version::follow(client, move |native_sidecars| {
        options.send_modify(|options| {
            Arc::make_mut(options).native_sidecars = native_sidecars;
        });
        known.set(true);
    })
}
