//! Puts the parts together, and takes them apart again.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use netting_proto::v1;
use netting_runtime::{
    Drain, Process, Readiness, Shutdown,
    admin::{self, Admin},
    files, listen,
    logging::LogHandle,
    readiness::Condition,
};
use netting_telemetry::{
    Metrics,
    config::{Environment, Telemetry},
    connections::ConnectionMetrics,
    discovery::DiscoveryMetrics,
    export::Exporters,
    probes::ProbeMetrics,
    resource::{self, Pod},
    trace::{Sampler, Tracer},
    traffic::TrafficMetrics,
};
use tokio::{
    sync::{Notify, Semaphore},
    time::sleep,
};

use crate::{
    access_log::{AccessLog, AccessLogs},
    args::{Args, Command, SidecarMode},
    connect::Connector,
    dump,
    http::limits::{Http2Limits, HttpLimits},
    linger::{self, Others, linger},
    listener::Listeners,
    memory::{Peak, give_back},
    probe::{self, Probes},
    route::OwnPorts,
    subscriber::Subscriber,
    view::{View, ViewLimits},
    wait::until_ready,
    worker::{self, Doors, Shared},
};

/// Threads beyond this cost memory and gain little for one pod's traffic.
const WORKER_THREADS_MAX: usize = 4;
/// Files that are not proxied connections: logs, admin, the catalog, the runtime's.
const FILES_OF_OUR_OWN: u64 = 256;

/// Runs the sidecar until a signal has ended it. Exits with 0 if it drained, or was
/// told to hurry.
#[must_use]
pub fn main(args: Args) -> ExitCode {
    if let Some(Command::Wait { timeout }) = args.command {
        return wait(args.admin_port, timeout);
    }
    let process = Process {
        name: "netting-sidecar",
        log: args.log.clone(),
        log_format: args.log_format,
        // The proxies have threads of their own.
        worker_threads: Some(1),
    };
    process.run(|log| run(args, log))
}

fn wait(admin_port: u16, timeout: Duration) -> ExitCode {
    match until_ready(admin_port, timeout) {
        Ok(()) => ExitCode::SUCCESS,
        Err(not_ready) => {
            eprintln!("netting-sidecar: {not_ready}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args, log: LogHandle) -> anyhow::Result<()> {
    // Not clap's to parse: what is wrong with it would be printed with its headers.
    let probes: Probes = args.probes.parse().context("NETTING_PROBES is wrong")?;
    let readiness = Readiness::new();
    let shutdown = Shutdown::install(&readiness).context("could not listen for signals")?;
    let drain = Drain::new();
    let mut telemetry = Telemetry::parse(&args.telemetry, &Environment);
    telemetry.instead_of(&args.telemetry_left_out);
    let ratio = args.traces.trace_ratio;
    let sampler = Sampler::configured(ratio, &mut telemetry, &Environment);
    let metrics = metrics(&args, &telemetry);
    let exporters = Exporters::start(&telemetry, &metrics, args.resolv_conf.clone(), &drain);
    let view = Arc::new(View::new(
        ViewLimits {
            destinations_max: args.destinations_max,
            discovery_timeout: args.discovery_timeout,
            idle: args.discovery_idle,
        },
        &args.node_name,
    ));

    let welcomed = readiness.condition("catalog");
    let records = exporters.records();
    let access_logs = AccessLogs::start(&args.access_log, args.log_format, &metrics, records);
    let tells = Tells {
        access_logs: &access_logs,
        tracer: exporters
            .spans()
            .map(|spans| Tracer::new(sampler, spans).in_formats(telemetry.propagators)),
    };
    proxies(&args, &metrics, &view, &drain, &tells)?;
    let application_ended = Arc::new(Notify::new());
    subscribe(&args, &metrics, &view, &welcomed, &application_ended);
    let admin = listen(args.admin_port).await?;
    let probe_metrics = ProbeMetrics::register(&metrics);
    let probes = probe::router(probes, own_ports(&args), probe_metrics, drain.clone());
    let mut own = dump::router(args.clone(), view, exporters.report())
        .merge(probes)
        .merge(metrics.instruments_router());
    if let Some(path) = args.metrics_path.clone().filter(|_| telemetry.prometheus()) {
        own = own.merge(metrics.router_beside(path));
    }
    // The application's are scraped through here, whatever becomes of ours.
    if telemetry.prometheus() || args.application_metrics.is_some() {
        own = own.merge(match args.application_metrics.clone() {
            Some(application) => metrics.router_with(application),
            None => metrics.router(),
        });
    }
    tokio::spawn(admin::serve(admin, Admin::new(readiness, log).router(own)));
    tokio::spawn(stop_waiting(welcomed, args.catalog_wait));

    drain.spawn(linger(
        drain.clone(),
        args.drain_quiet,
        Arc::clone(&application_ended),
        beside(args.sidecar_mode),
    ));
    let done = async {
        application_ended.notified().await;
        // Whoever lingers is to know it too.
        application_ended.notify_one();
        "the application has ended"
    };
    let ended = shutdown.run_until(&drain, args.drain_timeout, done).await;
    access_logs.flush().await;
    // Last, so that it has what the drain was for.
    exporters.flush(args.drain_timeout).await;
    ended?;
    Ok(())
}

/// What is seen of those that run beside the sidecar, once it is told to end.
fn beside(mode: SidecarMode) -> fn() -> Others {
    match mode {
        SidecarMode::Native => || Others::Ended,
        SidecarMode::Classic => linger::others,
    }
}

/// Metrics that say whose sidecar they are of.
fn metrics(args: &Args, telemetry: &Telemetry) -> Metrics {
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    let pod = Pod {
        name: &args.pod_name,
        namespace: &args.pod_namespace,
        node: &args.node_name,
        workload_kind: &args.workload_kind,
        workload: &args.workload_name,
    };
    let resource = resource::of_container(pod, "netting-sidecar", VERSION);
    let resource = resource::with(&resource, &telemetry.resource);
    let settings = telemetry.settings(args.metrics.settings());
    Metrics::of(resource, settings, "sidecar", VERSION)
}

/// Who is told of requests and connections one by one.
struct Tells<'t> {
    access_logs: &'t AccessLogs,
    tracer: Option<Tracer>,
}

/// Binds both ports and serves them.
fn proxies(
    args: &Args,
    metrics: &Metrics,
    view: &Arc<View>,
    drain: &Drain,
    tells: &Tells<'_>,
) -> anyhow::Result<()> {
    let own = own_ports(args);
    let workers = worker_threads(args.worker_threads);
    let user_timeout = Some(args.tcp_user_timeout).filter(|timeout| !timeout.is_zero());
    let bind = |port: u16| {
        let listeners = Listeners::bind_each(port, workers)
            .with_context(|| format!("could not listen on port {port}"))?;
        listeners.iter().for_each(|each| each.tune(user_timeout));
        anyhow::Ok(listeners)
    };
    let (outbound, inbound) = (bind(own.outbound)?, bind(own.inbound)?);
    let shared = Shared {
        own,
        connector: Connector {
            timeout: args.connect_timeout,
            pass_through_timeout: args.pass_through_connect_timeout,
            user_timeout,
        },
        opaque_ports: args.opaque_ports.clone(),
        detect_wait: args.detect_wait,
        access_log: AccessLog::off(),
        tracer: tells.tracer.clone(),
        view: Arc::clone(view),
        places: Arc::new(Semaphore::new(connections_max(args.connections_max))),
        tcp_retries: args.tcp_retries,
        http: HttpLimits {
            head_bytes_max: args.http_head_bytes_max,
            head_timeout: args.http_head_timeout,
            idle_timeout: args.http_idle_timeout,
            drain_quiet: args.drain_quiet,
            pool_max: args.http_pool_max,
            pool_idle_timeout: args.http_pool_idle_timeout,
        },
        http2: Http2Limits {
            stream_window: args.http2_stream_window,
            connection_window: args.http2_connection_window,
            streams_max: args.http2_streams_max,
            head_bytes_max: u32::try_from(args.http_head_bytes_max).unwrap_or(u32::MAX),
            pool_max: args.http_pool_max,
            ping_interval: args.http2_ping_interval,
            ping_timeout: args.http2_ping_timeout,
        },
        metrics: ConnectionMetrics::register(metrics),
        traffic: TrafficMetrics::register(metrics),
        drain: drain.clone(),
        peak: Peak::default(),
    };
    tokio::spawn(give_back(shared.peak.clone(), drain.clone()));
    for (outbound, inbound) in outbound.into_iter().zip(inbound) {
        let doors = Doors { outbound, inbound };
        let shared = Shared {
            access_log: tells.access_logs.of_thread(),
            ..shared.clone()
        };
        worker::start(shared, doors).context("could not start a worker")?;
    }
    Ok(())
}

fn own_ports(args: &Args) -> OwnPorts {
    OwnPorts {
        outbound: args.outbound_port,
        inbound: args.inbound_port,
        admin: args.admin_port,
    }
}

fn subscribe(
    args: &Args,
    metrics: &Metrics,
    view: &Arc<View>,
    welcomed: &Condition,
    application_ended: &Arc<Notify>,
) {
    let subscriber = Subscriber {
        view: Arc::clone(view),
        catalog: args.catalog.clone(),
        resolv_conf: args.resolv_conf.clone(),
        hello: v1::Hello {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            namespace: args.pod_namespace.clone(),
            pod: args.pod_name.clone(),
            node: args.node_name.clone(),
        },
        welcomed: welcomed.clone(),
        application_ended: Arc::clone(application_ended),
        metrics: DiscoveryMetrics::register(metrics),
    };
    tokio::spawn(subscriber.run());
}

/// Lets the pod become ready without a catalog: what nobody knows of passes through.
async fn stop_waiting(welcomed: Condition, catalog_wait: Duration) {
    sleep(catalog_wait).await;
    welcomed.set(true);
}

fn worker_threads(asked: usize) -> usize {
    let cpus = || std::thread::available_parallelism().map_or(1, Into::into);
    if asked > 0 {
        asked
    } else {
        cpus().min(WORKER_THREADS_MAX)
    }
}

/// How many connections may be open: each takes two files, of which there may be as many
/// as the system allows.
fn connections_max(asked: usize) -> usize {
    let files = files::raise_max();
    let fit = usize::try_from(files.saturating_sub(FILES_OF_OUR_OWN) / 2).unwrap_or(usize::MAX);
    let most = fit.clamp(1, Semaphore::MAX_PERMITS);
    if asked > 0 { asked.min(most) } else { most }
}
