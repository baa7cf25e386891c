//! Backends that are dead, silent, rude or flooding cost what their queues hold, and a
//! counter.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use netting_runtime::Drain;
use netting_telemetry::{
    Metrics,
    config::{Rehearsal, Telemetry},
    export::Exporters,
    labels::labels,
    process::resident_memory_bytes,
    snapshot::Descriptor,
};
use parking_lot::Mutex;
use socket2::{Domain, Socket, Type};
use tokio::{runtime::Runtime, time::Instant};

use crate::{
    backends::Otlp,
    load::{self, exporter_counted},
    process::{free_port, until_eq},
};

/// Enough for some hundred KiB in each snapshot.
const SERIES: u32 = 1_500;
/// What any failure may become on a busy machine.
const LATE: &str = "timeout";
/// Four queues of 4 MiB, and what is being encoded and sent.
const MEMORY_BYTES_MAX: u64 = 80 * 1024 * 1024;

const MANY: Descriptor = Descriptor {
    name: "netting.proof.many",
    unit: "{thing}",
    description: "Many things",
};

fn many_series() -> Metrics {
    let metrics = load::metrics();
    let many = metrics.counters(MANY);
    for series in 0..SERIES {
        // As long as some are in real clusters, and with nothing to compress.
        let random = |seed: u64| (u64::from(series) * 4 + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let long: String = (0..4)
            .map(|seed| format!("{:016x}", random(seed)))
            .collect();
        many.with(&labels(&[("netting.proof", &long)])).inc();
    }
    metrics
}

/// A server that does this with each connection, on a thread of its own for each.
fn server(serve: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    addr
}

fn exporters(at: SocketAddr, scheme: &str) -> String {
    [
        format!("otlp={scheme}://{at};signals=metrics"),
        format!("otlp-http={scheme}://{at};signals=metrics"),
        format!("remote-write={scheme}://{at}/api/v1/write"),
        format!("influxdb={scheme}://{at}/write?db=x"),
    ]
    .map(|exporter| format!("{exporter};interval=100ms;timeout=500ms"))
    .join(",")
}

/// One at a time: each looks at the memory of the whole process.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs all exporters against a server until each has failed as it was made to and lost
/// something because its queue is full, and for a while after that.
fn outlive(at: SocketAddr, scheme: &str, reasons: &[&str]) {
    let _alone = ALONE.lock();
    let metrics = many_series();
    let telemetry = Telemetry::parse(&exporters(at, scheme), &Rehearsal);
    assert_eq!(telemetry.wrong, []);
    let before = resident_memory_bytes().expect("Linux has /proc");
    let runtime = Runtime::new().expect("a runtime");
    let exporters = runtime.block_on(async {
        Exporters::start(&telemetry, &metrics, "/nowhere".into(), &Drain::new())
    });
    for exporter in &exporters.report().running {
        let name = &exporter.name;
        let lost = || {
            let dropped = exporter_counted(&metrics, "netting.telemetry.dropped", name);
            dropped.iter().any(|(reason, _)| reason == "queue_full")
        };
        until_eq(name, true, lost);
        until_eq(&format!("{name}: {reasons:?}"), true, || {
            let failed = exporter_counted(&metrics, "netting.telemetry.failed", name);
            let failed: Vec<_> = failed.iter().map(|(reason, _)| reason.as_str()).collect();
            let is_one = |reason: &&str| reasons.contains(reason);
            let all = failed.iter().all(|it| is_one(it) || *it == LATE);
            assert!(all, "{name}: {failed:?}");
            failed.iter().any(is_one)
        });
        assert_eq!(exporter.counts.items_sent(), 0, "{name}");
        assert!(exporter.counts.last_failure().is_some(), "{name}");
    }
    // Queues are full now: whatever comes takes the place of something older.
    thread::sleep(Duration::from_secs(2));
    let after = resident_memory_bytes().expect("Linux has /proc");
    let grown = after.saturating_sub(before);
    assert!(grown < MEMORY_BYTES_MAX, "{grown} bytes more than before");
    let begun = Instant::now();
    runtime.block_on(exporters.flush(Duration::ZERO));
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn nobody_listens() {
    // Bound, so that nobody else is given the port meanwhile.
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&any.into()).expect("a free port");
    let addr = socket.local_addr().expect("it is bound");
    outlive(addr.as_socket().expect("it is IP"), "http", &["connect"]);
}

#[test]
fn somebody_listens_and_says_nothing() {
    let silent = server(|mut stream| {
        let mut ignored = [0; 4096];
        while stream.read(&mut ignored).is_ok_and(|read| read > 0) {}
    });
    outlive(silent, "http", &["timeout", "broken"]);
}

#[test]
fn somebody_reads_nothing_either() {
    let stuck = server(|stream| {
        thread::sleep(Duration::from_secs(60));
        drop(stream);
    });
    outlive(stuck, "http", &["timeout", "broken"]);
}

#[test]
fn every_connection_is_reset() {
    // Data that was not read makes a reset of the end.
    outlive(server(drop), "http", &["broken", "connect"]);
}

#[test]
fn tls_is_answered_with_something_else() {
    let rude = server(|mut stream| {
        let _ = stream.write_all(b"220 mail.example ESMTP\r\n");
        let _ = stream.read(&mut [0; 4096]);
    });
    outlive(rude, "https", &["tls"]);
}

#[test]
fn every_answer_is_a_hundred_megabytes() {
    let flood = server(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let head = b"HTTP/1.1 503 Busy\r\ncontent-length: 100000000\r\n\r\n";
        let _ = stream.write_all(head);
        let block = vec![b'x'; 1024 * 1024];
        for _ in 0..100 {
            if stream.write_all(&block).is_err() {
                return;
            }
        }
    });
    outlive(flood, "http", &["unavailable", "broken"]);
}

#[test]
fn a_head_never_ends() {
    let flood = server(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        let line = b"x-flood: 0123456789abcdef0123456789abcdef\r\n".repeat(1000);
        while stream.write_all(&line).is_ok() {}
    });
    outlive(flood, "http", &["broken"]);
}

#[test]
fn a_backend_that_comes_back_has_everything() {
    let runtime = Runtime::new().expect("a runtime");
    let metrics = load::metrics();
    let (grpc, http) = (free_port(), free_port());
    let first = Otlp::at(grpc, http);
    let list = format!(
        "otlp=http://127.0.0.1:{grpc};interval=200ms;signals=metrics, otlp-http=http://127.0.0.1:{http};interval=200ms;signals=metrics"
    );
    let telemetry = Telemetry::parse(&list, &Rehearsal);
    let exporters = runtime.block_on(async {
        Exporters::start(&telemetry, &metrics, "/nowhere".into(), &Drain::new())
    });
    until_eq("a first request", true, || {
        ["grpc", "http"]
            .iter()
            .all(|by| first.received(by)["requests"].as_u64() > Some(0))
    });
    drop(first);
    load::make(&metrics);
    for exporter in &exporters.report().running {
        until_eq("a failure", true, || {
            exporter.counts.last_failure().is_some()
        });
    }
    let second = Otlp::at(grpc, http);
    for by in ["grpc", "http"] {
        until_eq(by, Some(f64::from(load::INBOUND)), || {
            let received = second.received(by);
            let points = &received["metrics"]["netting.proof.requests"]["points"];
            points["netting.direction=inbound"].as_f64()
        });
    }
    runtime.block_on(exporters.flush(Duration::ZERO));
}
