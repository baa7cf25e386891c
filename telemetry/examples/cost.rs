//! What instruments cost: to record into, to keep, to scrape. Fails if a scrape takes longer
//! than it may.
//!
//! A part of `hack/bench.sh --telemetry`; alone, it is
//! `cargo run --release -p netting-telemetry --example cost`.

use std::{
    fs,
    hint::black_box,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use netting_telemetry::{
    Metrics,
    labels::{labels, none},
    peer::Peer,
    process::resident_memory_bytes,
    prometheus::{Format, scraped},
    registry::Settings,
    requests::{Ended, Method, Version},
    snapshot::{Data, Descriptor, Metric},
    traffic::TrafficMetrics,
};
use tokio::runtime::Builder;

const ROUNDS: u32 = 5_000_000;
const SCRAPES: u32 = 20;
/// What a scrape of 10,000 lines may take at its best: others may be busy too.
const SCRAPE_MAX: Duration = Duration::from_millis(20);

fn main() {
    // First, while no memory is left over that could be used again.
    scrape("peers", 1_000, fill_requests);
    scrape("counters", 10_000, fill_counters);
    over_http("10,000 lines of peers", 89, fill_requests);
    over_http("10,000 counters", 10_000, fill_counters);
    records();
}

/// The time that this thread has had a CPU for: others may be busy too.
fn on_cpu() -> Duration {
    // proc(5): its first field, in nanoseconds.
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

fn took(work: impl FnOnce()) -> Duration {
    let begun = on_cpu();
    work();
    on_cpu() - begun
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
        let all = || (0..ROUNDS).for_each(record);
        let alone = took(all) / ROUNDS;
        let beside = std::thread::scope(|scope| {
            let other = scope.spawn(|| took(all));
            let one = took(all);
            let other = other.join().expect("it only counts");
            (one + other) / (2 * ROUNDS)
        });
        println!("{what}: {alone:?} alone, {beside:?} beside another thread");
    };
    each("a counter", &|_| traffic.sent(1));
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
    let took = took(|| {
        for _ in 0..SCRAPES {
            black_box(scraped(&metrics.snapshot(), Format::Text));
        }
    });
    let took = took / SCRAPES;
    let exposition = scraped(&metrics.snapshot(), Format::Text);
    let lines = exposition
        .lines()
        .filter(|line| !line.starts_with('#'))
        .count();
    let series: usize = metrics.snapshot().metrics.iter().map(series_of).sum();
    println!(
        "{what}: {lines} lines in {took:?}, {} kB; {} bytes kept for each of {series} series",
        exposition.len() / 1000,
        kept / series as u64,
    );
}

/// A histogram's buckets are one series here, as in OTLP, and one each in Prometheus.
fn series_of(metric: &Metric) -> usize {
    match &metric.data {
        Data::Counter(points) => points.len(),
        Data::Gauge(points) => points.len(),
        Data::Histogram(points) => points.len(),
    }
}

/// A scrape as its scraper sees it, the best of several.
fn over_http(what: &str, count: usize, fill: impl Fn(&Metrics, usize)) {
    let metrics = metrics();
    fill(&metrics, count);
    let lines = scraped(&metrics.snapshot(), Format::Text).lines().count();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    listener.set_nonblocking(true).expect("it is a socket");
    thread::spawn(move || serve(listener, &metrics));
    for encoding in ["identity", "gzip"] {
        let scrapes = (0..SCRAPES).map(|_| {
            let begun = Instant::now();
            let bytes = ask(addr, encoding).expect("it is scraped");
            (begun.elapsed(), bytes)
        });
        let (took, bytes) = scrapes.min().expect("there are some");
        let kilobytes = bytes / 1000;
        println!("{what} over HTTP, {encoding}: {lines} lines in {took:?}, {kilobytes} kB");
        assert!(
            took < SCRAPE_MAX,
            "{what}, {encoding}: longer than {SCRAPE_MAX:?}"
        );
    }
}

fn serve(listener: TcpListener, metrics: &Metrics) {
    let runtime = Builder::new_current_thread().enable_all().build();
    let served = runtime.expect("a runtime").block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        axum::serve(listener, metrics.router()).await
    });
    served.expect("it serves until the process ends");
}

fn ask(addr: SocketAddr, encoding: &str) -> io::Result<usize> {
    let mut stream = TcpStream::connect(addr)?;
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {encoding}\r\nConnection: close\r\n\r\n"
    )?;
    stream.read_to_end(&mut Vec::new())
}
