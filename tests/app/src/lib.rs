//! The small multi-purpose application that the end-to-end tests deploy.
//!
//! It knows nothing of Netting: it's the workload that a mesh has to leave working. In reading
//! order:
//!
//! - [`args`]: the subcommands, and what each is for
//! - [`server`]: listening on both address families, the accept loop, what SIGTERM means
//! - [`http`], [`grpc_health`], [`tcp`]: the servers
//! - [`tls`]: HTTPS, with a certificate that nobody trusts unasked
//! - [`admit`]: an admission webhook
//! - [`client`]: names to addresses, connections, one HTTP request, why it failed
//! - [`load`]: the client that keeps count
//! - [`fetch`], [`tcp_send`]: one-shot clients
//! - [`duration`], [`journal`], [`pod`], [`terminate`]: what all of them share

pub mod admit;
pub mod args;
pub mod client;
pub mod duration;
pub mod fetch;
pub mod grpc_health;
pub mod http;
pub mod journal;
pub mod load;
pub mod pod;
pub mod server;
pub mod tcp;
pub mod tcp_send;
pub mod terminate;
pub mod tls;

use std::process::ExitCode;

use args::{Args, Command, SleepArgs};
use fetch::FetchArgs;
use pod::Pod;
use terminate::Terminate;

/// The exit code of a process that a signal ended, as shells count it (128 + SIGTERM).
const ENDED_BY_SIGTERM: u8 = 128 + 15;

/// Runs the chosen mode to its end.
///
/// # Errors
///
/// What kept the mode from running: a port that is taken, a URL that isn't one. A request that
/// fails is no error but an exit code.
pub async fn run(args: Args, terminate: Terminate) -> anyhow::Result<ExitCode> {
    let pod = Pod::from_environment();
    match args.command {
        Command::Http(args) => http::run(&args, pod, terminate).await,
        Command::GrpcHealth(args) => grpc_health::run(&args, pod, terminate).await,
        Command::TcpEcho(args) => tcp::run(tcp::Mode::Echo, &args, pod, terminate).await,
        Command::SpeaksFirst(args) => tcp::run(tcp::Mode::SpeaksFirst, &args, pod, terminate).await,
        Command::Hold(args) => tcp::run(tcp::Mode::Hold, &args, pod, terminate).await,
        Command::Sink(args) => tcp::run(tcp::Mode::Sink, &args, pod, terminate).await,
        Command::Admit(args) => admit::run(args, pod, terminate).await,
        Command::Load(args) => load::run(args, pod, terminate).await,
        Command::Fetch(args) => fetch(args, terminate).await,
        Command::TcpSend(args) => interruptible(tcp_send::run(args), terminate).await,
        Command::Once => {
            journal::write("once", &pod);
            Ok(ExitCode::SUCCESS)
        }
        Command::Sleep(args) => Ok(sleep(args, terminate).await),
    }
}

async fn fetch(args: FetchArgs, mut terminate: Terminate) -> anyhow::Result<ExitCode> {
    let Some(work) = args.after_sigterm else {
        return interruptible(fetch::run(args), terminate).await;
    };
    terminate.requested().await;
    tokio::time::sleep(work).await;
    fetch::run(args).await
}

async fn sleep(args: SleepArgs, mut terminate: Terminate) -> ExitCode {
    tokio::select! {
        () = duration::sleep_or_forever(args.duration) => {}
        () = terminate.requested() => {}
    }
    ExitCode::SUCCESS
}

/// Lets SIGTERM end a one-shot mode. The first process of a container has no default signal
/// actions (pid_namespaces(7)), so without a handler it would run on until SIGKILL.
async fn interruptible(
    mode: impl Future<Output = anyhow::Result<ExitCode>>,
    mut terminate: Terminate,
) -> anyhow::Result<ExitCode> {
    tokio::select! {
        done = mode => done,
        () = terminate.requested() => Ok(ExitCode::from(ENDED_BY_SIGTERM)),
    }
}
