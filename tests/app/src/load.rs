//! The client that keeps count: requests at a fixed rate, whatever becomes of them.
//!
//! The load is open-loop: each request has its due time, and its latency counts from then, so that
//! a server's pause shows in full instead of hiding the requests that would have met it.
//!
//! - `pace`: when each request is due
//! - `sender`: one request, its connection and its retries
//! - `recorder`, `histogram`: the books, without clock or sockets
//! - `stats`: the books over HTTP

mod histogram;
mod pace;
mod recorder;
mod sender;
mod stats;

pub use histogram::Percentiles;
pub use recorder::{Counts, FailureRecord, Seen, Summary};

use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::client::target::HttpUrl;
use crate::duration::{parse_duration, sleep_or_forever};
use crate::journal;
use crate::load::pace::Rate;
use crate::load::recorder::Recorder;
use crate::load::sender::Sender;
use crate::pod::Pod;
use crate::server;
use crate::terminate::Terminate;

/// Flags of `load`.
#[derive(Debug, Clone, clap::Args)]
pub struct LoadArgs {
    /// What to GET, such as `http://echo.demo:8080/`
    #[arg(long, env = "NETTING_APP_URL")]
    pub url: HttpUrl,

    /// Requests a second, from 1 to 100000
    #[arg(long, default_value = "10", env = "NETTING_APP_RATE")]
    pub rate: Rate,

    /// Requests in flight at most. One that is due beyond waits for a place, which its latency
    /// counts and `late` tells
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub concurrency: u32,

    /// How long to send; 0 is for ever. Then what is in flight is awaited, and the summary printed
    #[arg(long, default_value = "10s", value_parser = parse_duration, env = "NETTING_APP_DURATION")]
    pub duration: Duration,

    /// Time for each request, from resolving the name to the end of the body, retries included
    #[arg(long, default_value = "2s", value_parser = parse_duration)]
    pub timeout: Duration,

    /// Connect for each request. Otherwise connections are kept alive and the most recently used
    /// one is taken first
    #[arg(long)]
    pub new_connection_per_request: bool,

    /// Try again, until the timeout, when connecting failed; and send again when a kept-alive
    /// connection turns out to have been closed before the answer began, as RFC 9112 section 9.3.1
    /// lets clients do
    #[arg(long)]
    pub retry_connect: bool,

    /// TCP port for GET /stats, PUT /reset and GET /healthz; 0 takes a free one
    #[arg(long, default_value = "9090", env = "NETTING_APP_STATS_PORT")]
    pub stats_port: u16,

    /// Exit with code 1 if any request failed, or none succeeded
    #[arg(long)]
    pub fail: bool,
}

/// Sends for as long as told, then prints the summary.
///
/// # Errors
///
/// The statistics port can't be listened on.
pub async fn run(args: LoadArgs, pod: Pod, terminate: Terminate) -> anyhow::Result<ExitCode> {
    let listener = server::listen("load", args.stats_port, &pod)?;
    let fail = args.fail;
    let summary = drive(args, listener, terminate).await;
    journal::write("summary", &summary);
    Ok(match fail && !summary.is_clean() {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// The books, shared by the senders, the ticker and the statistics server.
#[derive(Clone)]
struct Books(Arc<Mutex<Recorder>>);

impl Books {
    fn open(&self) -> MutexGuard<'_, Recorder> {
        self.0.lock().expect("no holder of the books panics")
    }
}

async fn drive(args: LoadArgs, listener: TcpListener, mut terminate: Terminate) -> Summary {
    let now = journal::unix_milliseconds();
    let books = Books(Arc::new(Mutex::new(Recorder::new(now))));
    let statistics = stats::serve(listener, books.clone());
    let (duration, timeout) = (args.duration, args.timeout);
    let mut requests = JoinSet::new();
    let all_of_it = async {
        tokio::select! {
            () = send_all(args, &books, &mut requests) => {}
            () = log_every_second(&books) => {}
            () = sleep_or_forever(duration) => {}
            () = terminate.requested() => {}
        }
        // Each ends by its own timeout, so this is only for a clock that stands still.
        let finished = async { while requests.join_next().await.is_some() {} };
        tokio::select! {
            _ = tokio::time::timeout(timeout * 2, finished) => {}
            () = terminate.insisted() => {}
        }
    };
    tokio::select! {
        () = statistics => {}
        () = all_of_it => {}
    }
    books.open().summary(journal::unix_milliseconds())
}

/// Starts a request whenever one is due; never returns.
async fn send_all(args: LoadArgs, books: &Books, requests: &mut JoinSet<()>) {
    let mut pace = pace::keep(args.rate);
    let places = Arc::new(Semaphore::new(args.concurrency as usize));
    let sender = Arc::new(Sender::new(args, books.clone()));
    while let Some(due) = pace.recv().await {
        while requests.try_join_next().is_some() {}
        let place = match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => place,
            Err(_all_taken) => {
                books.open().late();
                let place = Arc::clone(&places).acquire_owned().await;
                place.expect("the semaphore is never closed")
            }
        };
        let sender = Arc::clone(&sender);
        books.open().started();
        requests.spawn(async move {
            let outcome = sender.send().await;
            sender
                .books
                .open()
                .finished(outcome, due.elapsed(), journal::unix_milliseconds());
            drop(place);
        });
    }
}

async fn log_every_second(books: &Books) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    second.tick().await;
    loop {
        second.tick().await;
        let line = books.open().second(journal::unix_milliseconds());
        journal::write("second", &line);
    }
}

#[cfg(test)]
mod tests;
