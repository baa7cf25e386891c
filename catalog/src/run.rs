//! Puts the parts together, and takes them apart again.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context as _;
use kube::Client;
use netting_runtime::{
    Drain, Process, Readiness, Shutdown,
    admin::{self, Admin},
    files, listen,
    logging::LogHandle,
};
use netting_telemetry::{
    catalog::CatalogMetrics,
    control_plane::{Part, Started},
};
use tokio::net::TcpListener;

use crate::{
    args::Args,
    publisher::Publisher,
    queries,
    streams::Streams,
    watch::{self, Feeding},
};

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
    // Each stream is a file.
    files::raise_max();
    let drain = Drain::new();
    let telemetry = telemetry(&args, &drain);
    let client = watch::client().await?;
    let listeners = Listeners::bind(&args).await?;
    serve(&args, &client, listeners, &telemetry, &readiness, &drain);

    // Last, so that it never says ready of something that is still to come.
    let admin_listener = listen(args.admin_port).await?;
    let admin_routes = Admin::new(readiness, log).router(telemetry.routes());
    tokio::spawn(drain.vital(
        "the admin port's server",
        admin::serve(admin_listener, admin_routes),
    ));
    let (grpc_port, http_port) = (args.grpc_port, args.http_port);
    tracing::info!(grpc_port, http_port, "serving");

    let ended = shutdown.run(&drain, args.drain_timeout).await;
    telemetry.flush(args.drain_timeout).await;
    ended?;
    Ok(())
}

fn telemetry(args: &Args, drain: &Drain) -> Started {
    let catalog = Part {
        name: "catalog",
        workload: "netting-catalog",
        pod_name: &args.pod_name,
        pod_namespace: &args.pod_namespace,
    };
    catalog.start(&args.telemetry, args.trace_ratio, drain)
}

/// Watches and serves until the drain starts.
pub fn serve(
    args: &Args,
    client: &Client,
    listeners: Listeners,
    telemetry: &Started,
    readiness: &Readiness,
    drain: &Drain,
) {
    let metrics = CatalogMetrics::register(&telemetry.metrics);
    let tracer = &telemetry.tracer;
    let publisher = Arc::new(Publisher::new());
    let feeding = Feeding {
        publisher: Arc::clone(&publisher),
        metrics: metrics.clone(),
        tracer: tracer.clone(),
    };
    watch::start(client, feeding, readiness, drain);
    let queries = queries::Queries::new(
        Arc::clone(&publisher),
        metrics.clone(),
        args.waiting_queries_max,
        drain.clone(),
    );
    let routes = queries.traced(tracer.clone()).router();
    let answering = queries::serve(listeners.http, routes, drain.clone());
    drain.spawn(drain.vital("the query port's server", answering));
    let streams = Streams::new(publisher, metrics, args.limits(), drain.clone());
    let streams = streams.traced(tracer.clone());
    let streaming = async move {
        if let Err(error) = streams.serve(listeners.grpc).await {
            tracing::error!(%error, "the gRPC server failed");
        }
    };
    drain.spawn(drain.vital("the gRPC server", streaming));
}

#[cfg(test)]
mod tests;
