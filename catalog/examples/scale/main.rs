//! What a big cluster costs: `cargo run --release --example scale -p netting-catalog --
//! [STREAMS]`.
//!
//! 5,000 services with 50,000 endpoints, and 1,000 sidecars that follow 20 addresses
//! each, over real streams within this process. Prints memory, the time that a change
//! takes in the index, how long it takes to reach a sidecar, and how long it takes until
//! all sidecars have their answers that come to a catalog at once: new ones, and those of
//! one that restarted, which know it all.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, bail};
use netting_catalog::{
    publisher::Publisher,
    streams::{Limits, Streams},
};
use netting_proto::v1::stream_response::Kind as Message;
use netting_runtime::{Drain, files, listen};
use netting_telemetry::{Metrics, catalog::CatalogMetrics, process};

use cluster::{ADDRESSES_OF_A_STREAM, GROUPS, SERVICES, addresses, service, slice};
use sidecars::Sidecar;

mod cluster;
mod sidecars;

const STREAMS: u32 = 1_000;
const CHANGES: u32 = 1_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let begun = resident_mb();
    let publisher = Arc::new(Publisher::new());
    let filled = Instant::now();
    publisher.update(SystemTime::now(), |index| {
        index.reset_services((0..SERVICES).map(service).collect())
    });
    publisher.update(SystemTime::now(), |index| {
        index.reset_slices((0..SERVICES).map(|at| slice(at, 0)).collect())
    });
    publisher.set_synced();
    let indexed = resident_mb();
    println!("index: {:?}", publisher.sizes().0);
    println!("  filled in {:?}, {} MB", filled.elapsed(), indexed - begun);

    changes_of_the_index(&publisher);
    files::raise_max();
    let streams = match std::env::args().nth(1) {
        Some(streams) => streams.parse().context("STREAMS is a number")?,
        None => STREAMS,
    };
    println!("{streams} streams, {ADDRESSES_OF_A_STREAM} addresses each, clients included:");
    let (addr, drain) = serve(&publisher).await?;
    let mut sidecars = come_at_once(addr, streams, &[]).await?;
    println!("  {} MB", resident_mb() - indexed);
    changes_to_streams(&publisher, &mut sidecars).await?;

    drain.start();
    drop(sidecars);
    println!("the same again, of a catalog that was restarted meanwhile:");
    let (addr, drain) = serve(&publisher).await?;
    let sidecars = come_at_once(addr, streams, &[]).await?;
    let known: Vec<_> = sidecars.into_iter().map(|sidecar| sidecar.hashes).collect();
    drain.start();
    println!("and once more, now that they know it all:");
    let (addr, _drain) = serve(&publisher).await?;
    come_at_once(addr, streams, &known).await?;
    Ok(())
}

async fn come_at_once(
    catalog: SocketAddr,
    streams: u32,
    known: &[Vec<Vec<u8>>],
) -> anyhow::Result<Vec<Sidecar>> {
    let (begun, cpu) = (Instant::now(), cpu_time());
    let sidecars = sidecars::open(catalog, streams, known).await?;
    let told_anew: usize = sidecars.iter().map(|sidecar| sidecar.told_anew).sum();
    println!(
        "  all have their answers after {:?}, {:?} of CPU; {told_anew} snapshots",
        begun.elapsed(),
        cpu_time().saturating_sub(cpu)
    );
    Ok(sidecars)
}

/// A change costs the index about as much whether anyone follows it or not.
fn changes_of_the_index(publisher: &Publisher) {
    let mut took: Vec<Duration> = Vec::new();
    for change in 0..CHANGES {
        let slice = slice(change % SERVICES, 1 + change / SERVICES);
        let begun = Instant::now();
        publisher.update(SystemTime::now(), |index| index.apply_slice(slice));
        took.push(begun.elapsed());
    }
    print("a change that nobody follows", &mut took);
}

/// Each change is of a service that about a twentieth of the streams follow.
async fn changes_to_streams(publisher: &Publisher, sidecars: &mut [Sidecar]) -> anyhow::Result<()> {
    let (mut index, mut first, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for change in 0..CHANGES {
        let followed = GROUPS * ADDRESSES_OF_A_STREAM;
        let at = change % followed;
        let slice = slice(at, 2 + change / followed);
        let begun = Instant::now();
        publisher.update(SystemTime::now(), |index| index.apply_slice(slice));
        index.push(begun.elapsed());
        let mut told = 0;
        for (stream, Sidecar { responses, .. }) in (0..).zip(sidecars.iter_mut()) {
            if !addresses(stream).any(|address| address == at) {
                continue;
            }
            let response = responses.message().await?.context("the stream is open")?;
            if !matches!(response.kind, Some(Message::Delta(_))) {
                bail!("no delta: {response:?}");
            }
            if told == 0 {
                first.push(begun.elapsed());
            }
            told += 1;
        }
        all.push(begun.elapsed());
    }
    print(
        "a change that a twentieth follows, in the index",
        &mut index,
    );
    print("  until the first of them has it", &mut first);
    print("  until all of them have it", &mut all);
    Ok(())
}

/// A catalog of its own for what the publisher publishes, as after a restart.
async fn serve(publisher: &Arc<Publisher>) -> anyhow::Result<(SocketAddr, Drain)> {
    let listener = listen(0).await?;
    let addr = (Ipv4Addr::LOCALHOST, listener.local_addr()?.port()).into();
    let limits = Limits {
        streams_max: 10_000,
        subscriptions_max: 10_000,
        heartbeat_interval: Duration::from_secs(3600),
    };
    let metrics = CatalogMetrics::register(&Metrics::new("scale", "0"));
    let drain = Drain::new();
    let server = Streams::new(Arc::clone(publisher), metrics, limits, drain.clone());
    tokio::spawn(server.serve(listener));
    Ok((addr, drain))
}

fn print(what: &str, took: &mut [Duration]) {
    took.sort_unstable();
    let (median, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    println!("{what}: median {median:?}, p99 {p99:?}");
}

fn resident_mb() -> u64 {
    process::resident_memory_bytes().unwrap_or_default() / 1_000_000
}

/// Of this process, clients included, in ticks of 10 ms (proc(5)).
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
