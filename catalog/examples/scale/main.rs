//! What a big cluster costs: `cargo run --release --example scale -p netting-catalog`.
//!
//! 5,000 services with 50,000 endpoints, and 1,000 sidecars that follow 20 addresses
//! each, over real streams within this process. Prints memory, the time that a change
//! takes in the index, and how long it takes to reach a sidecar.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, bail};
use netting_catalog::{
    objects::{Born, Family, Group, GroupPort, Key, Member, Service, ServicePort, Slice},
    publisher::Publisher,
    streams::{Limits, Streams},
};
use netting_proto::v1::{
    self, catalog_client::CatalogClient, stream_request::Kind, stream_response::Kind as Message,
};
use netting_runtime::Drain;
use netting_telemetry::{Metrics, catalog::CatalogMetrics, process};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;

const SERVICES: u32 = 5_000;
const ENDPOINTS_OF_A_SERVICE: u32 = 10;
const STREAMS: u32 = 1_000;
const ADDRESSES_OF_A_STREAM: u32 = 20;
const CHANGES: u32 = 1_000;

type Streaming = tonic::Streaming<v1::StreamResponse>;

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
    let mut streams = open_streams(&publisher).await?;
    let followed = resident_mb();
    println!("{STREAMS} streams, {ADDRESSES_OF_A_STREAM} addresses each, clients included:");
    println!("  {} MB", followed - indexed);
    changes_to_streams(&publisher, &mut streams).await
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
async fn changes_to_streams(
    publisher: &Publisher,
    streams: &mut [(mpsc::Sender<v1::StreamRequest>, Streaming)],
) -> anyhow::Result<()> {
    let (mut index, mut first, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for change in 0..CHANGES {
        let followed = STREAMS / 50 * ADDRESSES_OF_A_STREAM;
        let at = change % followed;
        let slice = slice(at, 2 + change / followed);
        let begun = Instant::now();
        publisher.update(SystemTime::now(), |index| index.apply_slice(slice));
        index.push(begun.elapsed());
        let mut told = 0;
        for (stream, (_, responses)) in (0..).zip(streams.iter_mut()) {
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
    print("a change that 50 streams follow, in the index", &mut index);
    print("  until the first of them has it", &mut first);
    print("  until all of them have it", &mut all);
    Ok(())
}

async fn open_streams(
    publisher: &Arc<Publisher>,
) -> anyhow::Result<Vec<(mpsc::Sender<v1::StreamRequest>, Streaming)>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let limits = Limits {
        streams_max: 10_000,
        subscriptions_max: 10_000,
        heartbeat_interval: Duration::from_secs(3600),
    };
    let metrics = CatalogMetrics::register(&Metrics::new("scale", "0"));
    let server = Streams::new(Arc::clone(publisher), metrics, limits, Drain::new());
    tokio::spawn(server.serve(listener));
    let mut streams = Vec::new();
    for stream in 0..STREAMS {
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{addr}"))?;
        let mut client = CatalogClient::new(channel.connect().await?);
        let (requests, queue) = mpsc::channel(4);
        let opened = client.stream(ReceiverStream::new(queue)).await?;
        let mut responses = opened.into_inner();
        let hello = Kind::Hello(v1::Hello::default());
        let subscriptions = addresses(stream).map(|at| v1::Subscription {
            address: Some(SocketAddr::new(cluster_ip(at), 80).into()),
            known_hash: Vec::new(),
        });
        let subscriptions = subscriptions.collect();
        let subscribe = Kind::Subscribe(v1::Subscribe { subscriptions });
        for kind in [hello, subscribe] {
            requests
                .send(v1::StreamRequest { kind: Some(kind) })
                .await?;
        }
        // Welcome, and a snapshot for each address.
        for _ in 0..=ADDRESSES_OF_A_STREAM {
            responses.message().await?.context("the stream is open")?;
        }
        streams.push((requests, responses));
    }
    Ok(streams)
}

/// The services that a stream follows: 50 streams follow the same ones.
fn addresses(stream: u32) -> impl Iterator<Item = u32> {
    let group = stream % (STREAMS / 50);
    (0..ADDRESSES_OF_A_STREAM).map(move |at| group * ADDRESSES_OF_A_STREAM + at)
}

fn cluster_ip(at: u32) -> IpAddr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 96, 0, 1)) + at).into()
}

fn service(at: u32) -> Service {
    Service {
        key: Key::new(format!("namespace-{}", at % 100), format!("service-{at}")),
        born: Born::default(),
        cluster_ips: vec![cluster_ip(at)],
        ports: vec![ServicePort {
            name: "http".into(),
            port: 80,
            protocol_hint: "http".into(),
        }],
        publish_not_ready: false,
        node_local: false,
        traffic: Arc::default(),
        complaints: Vec::new(),
    }
}

/// The slice of a service; in each round but the first another of its endpoints is
/// not ready.
fn slice(at: u32, round: u32) -> Slice {
    let service = service(at).key;
    let members = (0..ENDPOINTS_OF_A_SERVICE).map(|member| {
        let ip = u32::from(Ipv4Addr::new(10, 128, 0, 1)) + at * ENDPOINTS_OF_A_SERVICE + member;
        let pod = format!("service-{at}-7d4b9c6f8-{member:05}");
        Member {
            ip: Ipv4Addr::from(ip).into(),
            ready: round == 0 || round % ENDPOINTS_OF_A_SERVICE != member,
            serving: true,
            terminating: false,
            node: format!("node-{}", ip % 500).into(),
            zone: format!("zone-{}", ip % 3).into(),
            hints: None,
            pod: Some(Key::new(service.namespace.clone(), pod)),
        }
    });
    Slice {
        key: Key::new(service.namespace.clone(), format!("service-{at}-x7k2p")),
        group: Group {
            family: Family::V4,
            ports: vec![GroupPort {
                name: "http".into(),
                port: 8080,
                protocol_hint: "http".into(),
            }],
            members: members.collect(),
        },
        service,
    }
}

fn print(what: &str, took: &mut [Duration]) {
    took.sort_unstable();
    let (median, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    println!("{what}: median {median:?}, p99 {p99:?}");
}

fn resident_mb() -> u64 {
    process::resident_memory_bytes().unwrap_or_default() / 1_000_000
}
