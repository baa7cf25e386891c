//! What instruments cost: to record into, to keep, to scrape.
//!
//! `cargo run --release -p netting-telemetry --example cost`

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use netting_telemetry::{
    Metrics,
    labels::{labels, none},
    peer::Peer,
    process::resident_memory_bytes,
    prometheus::{Format, text},
    registry::Settings,
    requests::{Ended, Method, Version},
    snapshot::Descriptor,
    traffic::TrafficMetrics,
};

const ROUNDS: u32 = 5_000_000;
const SCRAPES: u32 = 20;

fn main() {
    records();
    scrape("counters", 10_000, fill_counters);
    scrape("requests", 200, fill_requests);
}

fn metrics() -> Metrics {
    let settings = Settings {
        series_max: 1_000_000,
        ..Settings::default()
    };
    Metrics::of(none(), settings, "cost", "0")
}

fn peer(name: &str) -> Peer<'_> {
    Peer {
        name,
        namespace: "shop",
        port: 9080,
    }
}

fn ended(status: u16, micros: u32) -> Ended<'static> {
    Ended {
        method: Method::Get,
        version: Version::Http11,
        status: Some(status),
        error: None,
        call: None,
        took: Duration::from_micros(u64::from(micros)),
        sent: 0,
        received: 1234,
        trace: None,
    }
}

fn records() {
    let metrics = metrics();
    let traffic = TrafficMetrics::register(&metrics).to(peer("reviews"));
    let each = |what: &str, record: &(dyn Fn(u32) + Sync)| {
        let begun = Instant::now();
        (0..ROUNDS).for_each(record);
        let alone = begun.elapsed() / ROUNDS;
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..ROUNDS).for_each(record));
            }
        });
        let beside = begun.elapsed() / ROUNDS;
        println!("{what}: {alone:?} alone, {beside:?} beside another thread");
    };
    each("a counter", &|_| traffic.sent.inc());
    each("a reason", &|_| traffic.closed(black_box("finished")));
    each("a request's begin and end", &|round| {
        let active = traffic.requests.begin(Method::Get);
        traffic
            .requests
            .ended(black_box(&ended(200, round % 20_000)));
        drop(active);
    });
    metrics.keep_exponential();
    each("the same with exponential buckets", &|round| {
        traffic
            .requests
            .ended(black_box(&ended(200, round % 20_000)));
    });
}

/// One line each.
fn fill_counters(metrics: &Metrics, series: usize) {
    let descriptor = Descriptor {
        name: "netting.cost.things",
        unit: "{thing}",
        description: "Things",
    };
    let things = metrics.counters(descriptor);
    for number in 0..series {
        let pairs = [
            ("direction", "outbound"),
            ("reason", "finished"),
            ("service.peer.name", &format!("service-{number}")),
            ("service.peer.namespace", "shop"),
        ];
        things.with(&labels(&pairs)).inc_by(number as u64);
    }
}

/// All that a peer has.
fn fill_requests(metrics: &Metrics, peers: usize) {
    let traffic = TrafficMetrics::register(metrics);
    for number in 0..peers {
        let traffic = traffic.to(peer(&format!("service-{number}")));
        traffic.closed("finished");
        drop(traffic.requests.begin(Method::Get));
        for status in [200, 404, 503] {
            traffic.requests.ended(&ended(status, 700));
        }
    }
}

fn scrape(what: &str, count: usize, fill: impl Fn(&Metrics, usize)) {
    let metrics = metrics();
    let before = resident_memory_bytes().unwrap_or_default();
    fill(&metrics, count);
    let kept = resident_memory_bytes().unwrap_or_default() - before;
    let begun = Instant::now();
    for _ in 0..SCRAPES {
        black_box(text(&metrics.snapshot(), Format::Text));
    }
    let took = begun.elapsed() / SCRAPES;
    let exposition = text(&metrics.snapshot(), Format::Text);
    let lines = exposition
        .lines()
        .filter(|line| !line.starts_with('#'))
        .count();
    println!(
        "{what}: {lines} lines in {took:?}, {} kB; {} bytes kept for each of {count}",
        exposition.len() / 1000,
        kept / count as u64,
    );
}
