//! Puts the parts together, and takes them apart again.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context as _;
use kube::Client;
use netting_runtime::{
    Drain, Process, Readiness, Shutdown,
    admin::{self, Admin},
    listen,
    logging::LogHandle,
};
use netting_telemetry::{
    Metrics,
    catalog::CatalogMetrics,
    config::{Environment, Telemetry},
    export::Exporters,
    registry::Settings,
    resource::{self, Pod},
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;

use crate::{args::Args, publisher::Publisher, queries, streams::Streams, watch};

/// What the names of telemetry's backends are looked up with.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Where the catalog is reached.
#[derive(Debug)]
pub struct Listeners {
    /// Sidecars' streams.
    pub grpc: TcpListener,
    /// People's queries.
    pub http: TcpListener,
}

impl Listeners {
    async fn bind(args: &Args) -> anyhow::Result<Self> {
        Ok(Self {
            grpc: listen(args.grpc_port).await?,
            http: listen(args.http_port).await?,
        })
    }
}

/// Runs the catalog until a signal has ended it.
#[must_use]
pub fn main(args: Args) -> ExitCode {
    let process = Process {
        name: "netting-catalog",
        log: args.log.clone(),
        log_format: args.log_format,
        worker_threads: None,
    };
    process.run(|log| run(args, log))
}

async fn run(args: Args, log: LogHandle) -> anyhow::Result<()> {
    let readiness = Readiness::new();
    let shutdown = Shutdown::install(&readiness).context("could not listen for signals")?;
    raise_files_max();
    let drain = Drain::new();
    let telemetry = Telemetry::parse(&args.telemetry, &Environment);
    let metrics = metrics(&args, &telemetry);
    let exporters = Exporters::start(&telemetry, &metrics, RESOLV_CONF.into(), &drain);
    let client = watch::client().await?;
    let listeners = Listeners::bind(&args).await?;
    serve(&args, &client, listeners, &metrics, &readiness, &drain);

    // Last, so that it never says ready of something that is still to come.
    let admin_listener = listen(args.admin_port).await?;
    let exposed = telemetry.prometheus().then(|| metrics.router());
    let admin_routes = Admin::new(readiness, log).router(exposed.unwrap_or_default());
    tokio::spawn(admin::serve(admin_listener, admin_routes));
    let (grpc_port, http_port) = (args.grpc_port, args.http_port);
    tracing::info!(grpc_port, http_port, "serving");

    shutdown.run(&drain, args.drain_timeout).await;
    exporters.flush(args.drain_timeout).await;
    Ok(())
}

/// Metrics that say whose they are.
fn metrics(args: &Args, telemetry: &Telemetry) -> Metrics {
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    let pod = Pod {
        name: &args.pod_name,
        namespace: &args.pod_namespace,
        workload_kind: "Deployment",
        workload: "netting-catalog",
        ..Pod::default()
    };
    let resource = resource::of_container(pod, "netting-catalog", VERSION);
    let resource = resource::with(&resource, &telemetry.resource);
    Metrics::of(resource, Settings::default(), "catalog", VERSION)
}

/// Watches and serves until the drain starts.
pub fn serve(
    args: &Args,
    client: &Client,
    listeners: Listeners,
    metrics: &Metrics,
    readiness: &Readiness,
    drain: &Drain,
) {
    let metrics = CatalogMetrics::register(metrics);
    let publisher = Arc::new(Publisher::new());
    watch::start(client, &publisher, &metrics, readiness, drain);
    let queries = queries::Queries::new(
        Arc::clone(&publisher),
        metrics.clone(),
        args.waiting_queries_max,
        drain.clone(),
    );
    drain.spawn(queries::serve(
        listeners.http,
        queries.router(),
        drain.clone(),
    ));
    let streams = Streams::new(publisher, metrics, args.limits(), drain.clone());
    drain.spawn(async move {
        if let Err(error) = streams.serve(listeners.grpc).await {
            tracing::error!(%error, "the gRPC server failed");
        }
    });
}

/// Each stream is a file. Many systems allow few by default, and more if asked.
fn raise_files_max() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "could not raise the limit on open files");
    }
}

#[cfg(test)]
mod tests;
