//! The process: what is bound, watched and served, and in which order it ends.

use std::process::ExitCode;

use anyhow::Context as _;
use kube::Client;
use netting_runtime::{
    Drain, Process, Readiness, Shutdown,
    admin::{self, Admin},
    listen,
    logging::LogHandle,
};
use netting_telemetry::{Metrics, admission::AdmissionMetrics};
use tokio_rustls::TlsAcceptor;

use crate::{
    args::Args,
    ca_bundle,
    certificate::{CaPem, ServingCertificate},
    mutate::Mutate,
    server,
};

/// Runs the webhook until a signal has ended it.
#[must_use]
pub fn main(args: Args) -> ExitCode {
    let process = Process {
        name: "netting-webhook",
        log: args.log.clone(),
        log_format: args.log_format,
        worker_threads: None,
    };
    process.run(|log| run(args, log))
}

async fn run(args: Args, log: LogHandle) -> anyhow::Result<()> {
    let options = args.options()?;
    let readiness = Readiness::new();
    let shutdown = Shutdown::install(&readiness).context("cannot handle signals")?;
    let drain = Drain::new();
    let metrics = Metrics::new("webhook", env!("CARGO_PKG_VERSION"));
    let admissions = metrics.register(AdmissionMetrics::register);

    let (tls, ca) = certificate(&args)?;
    let listener = listen(args.https_port).await?;
    if let Some(ca) = ca {
        keep_trusted(&args, ca, &readiness).await?;
    }
    let routes = Mutate::router(options, admissions);
    drain.spawn(server::serve(listener, tls, routes, drain.clone()));

    // Last, so that it never says ready of something that is still to come.
    let admin_listener = listen(args.admin_port).await?;
    let admin_routes = Admin::new(readiness, log).router(metrics.router());
    tokio::spawn(admin::serve(admin_listener, admin_routes));
    tracing::info!(port = args.https_port, image = args.image, "serving");

    shutdown.run(&drain, args.drain_timeout).await;
    Ok(())
}

fn certificate(args: &Args) -> anyhow::Result<(TlsAcceptor, Option<CaPem>)> {
    let (certificate, ca) = match (&args.tls_cert, &args.tls_key) {
        (Some(chain), Some(key)) => (ServingCertificate::load(chain, key)?, None),
        _ => {
            let (certificate, ca) = ServingCertificate::make(&args.service, &args.pod_namespace)?;
            (certificate, Some(ca))
        }
    };
    Ok((certificate.into_acceptor()?, ca))
}

/// Keeps the CA in the configuration for as long as the process lives.
async fn keep_trusted(args: &Args, ca: CaPem, readiness: &Readiness) -> anyhow::Result<()> {
    let trusted = readiness.condition("trusted by the API server");
    let client = Client::try_default().await.context(
        "cannot find the API server: no service account and no kubeconfig; \
         outside a cluster give --tls-cert and --tls-key",
    )?;
    let configuration = args.webhook_configuration.clone();
    tokio::spawn(async move {
        ca_bundle::keep(client, &configuration, &ca, &trusted).await;
    });
    Ok(())
}
