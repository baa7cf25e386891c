//! Backends that are dead, silent, rude or flooding, or killed meanwhile, while requests go
//! through two sidecars: none of them fails, memory is what queues hold, and counters say
//! what is lost.

use std::{
    fs::{self, Permissions},
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    process::{Child, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use socket2::SockRef;

use crate::{
    NODE, application,
    harness::{
        namespace::{Namespace, dst},
        sidecar,
    },
    pods::Pods,
    process::{directory, file, until, until_eq},
};

/// Who asks at the same time, each over a connection that stays.
const CLIENTS: usize = 4;
/// Requests after queues are full, during which memory has to stay what it is.
const REQUESTS_MORE: u64 = 1_000;
/// Of a path and of what the client calls itself: a client's span tells twice of the one, a
/// server's of both, so that queues are soon full.
const TEXT_BYTES: usize = 1_000;

/// What one exporter's queue holds for one signal, and what is encoded at once.
const QUEUE_BYTES: u64 = 4 * 1024 * 1024;
const BATCH_SPANS: u64 = 256;
/// Six full queues of spans and as many of lines, what is being encoded and sent, and the
/// allocator's own.
const MEMORY_KB_MAX: u64 = 160 * 1024;
/// Between two looks while queues are full: what an allocator takes more of.
const GROWTH_KB_MAX: u64 = 24 * 1024;

/// What a backend does with a connection, on a thread of its own for each.
type Conduct = fn(TcpStream);

const DEAD: u16 = 7001;
const CONDUCTS: [(u16, Conduct); 6] = [
    (SILENT, read_all),
    (VANISHING, read_all),
    (STUCK, |stream| {
        // Not a byte is taken from the kernel's buffers.
        let _ = stream.peek(&mut [0]);
        thread::park_timeout(Duration::from_secs(120));
    }),
    (RESETTING, |mut stream| {
        let _ = stream.read(&mut [0; 512]);
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    }),
    (FLOODING, |mut stream| {
        let _ = stream.read(&mut [0; 65536]);
        let _ = stream.write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 100000000\r\n\r\n");
        let block = vec![b'x'; 1024 * 1024];
        for _ in 0..100 {
            if stream.write_all(&block).is_err() {
                return;
            }
        }
    }),
    (RUDE, |mut stream| {
        let _ = stream.write_all(b"220 mail.example ESMTP\r\n");
        let _ = stream.read(&mut [0; 4096]);
    }),
];
fn read_all(mut stream: TcpStream) {
    let mut ignored = [0; 65536];
    while stream.read(&mut ignored).is_ok_and(|read| read > 0) {}
}

const SILENT: u16 = 7002;
const STUCK: u16 = 7003;
const RESETTING: u16 = 7004;
const FLOODING: u16 = 7005;
const RUDE: u16 = 7006;
const GOOD: u16 = 7007;
/// Silent, until whatever is sent there is lost.
const VANISHING: u16 = 7008;

/// Those that take spans, by their names, with why they fail. The good one is `otlp-6`.
const FAILING: [(&str, &[&str]); 6] = [
    ("otlp", &["connect"]),
    ("otlp-2", &["timeout", "broken"]),
    ("otlp-3", &["broken", "connect"]),
    ("otlp-4", &["unavailable", "broken"]),
    ("otlp-5", &["tls"]),
    ("zipkin", &["timeout", "broken"]),
];
/// Those that take metrics and never answer.
const SPOKEN_TO: [(&str, &[&str]); 4] = [
    ("graphite", &["timeout"]),
    ("statsd", &["broken"]),
    ("dogstatsd", &["timeout"]),
    ("influxdb-2", &["broken"]),
];
const VANISHES: &str = "graphite-2";
/// What any failure may become on a busy machine.
const LATE: &str = "timeout";
const WITH_THE_GOOD_ONE: &str = "otlp-6";

fn list(socket: &str) -> String {
    let at = |port: u16| format!("{NODE}:{port}");
    let hasty = [
        format!("otlp=http://{}", at(DEAD)),
        format!("otlp=http://{}", at(SILENT)),
        format!("otlp-http=http://{}", at(RESETTING)),
        format!("otlp-http=http://{}", at(FLOODING)),
        format!("otlp=https://{}", at(RUDE)),
        format!("zipkin=http://{}/api/v2/spans", at(STUCK)),
        format!("remote-write=http://{}/api/v1/write", at(FLOODING)),
        format!("influxdb=http://{}/write?db=x", at(RESETTING)),
        format!("influxdb=udp://{}", at(DEAD)),
        format!("graphite=tcp://{}", at(STUCK)),
        format!("graphite=tcp://{}", at(VANISHING)),
        format!("statsd=udp://{}", at(DEAD)),
        format!("dogstatsd=unix://{socket}"),
    ]
    .map(|exporter| match exporter.starts_with("zipkin") {
        true => format!("{exporter};timeout=500ms"),
        false => format!("{exporter};timeout=500ms;interval=1s"),
    });
    let good = format!("otlp-http=http://{};signals=traces", at(GOOD));
    format!("prometheus, {}, {good}", hasty.join(", "))
}

fn listen(node: &Namespace) {
    for (port, conduct) in CONDUCTS {
        let listener = node.listen(dst(NODE, port));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || conduct(stream));
            }
        });
    }
}

/// A backend that takes all there is, until it is killed.
struct Good(Child);

impl Good {
    fn start(node: &Namespace) -> Self {
        let process = node
            .command(&[], "python3")
            .arg(file("python/taking.py"))
            .args([NODE, &GOOD.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .expect("iproute2, util-linux and python3 are installed");
        until("it takes what it is sent", || {
            node.run(|| TcpStream::connect(dst(NODE, GOOD)).ok())
        });
        Self(process)
    }
}

impl Drop for Good {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Requests, one after the other for each client.
#[derive(Default)]
struct Load {
    answered: AtomicU64,
    failed: Mutex<Vec<String>>,
    over: AtomicBool,
}

impl Load {
    fn make(&self, pods: &Pods) {
        let text = "x".repeat(TEXT_BYTES);
        let (path, fields) = (format!("/200/{text}"), format!("User-Agent: {text}\r\n"));
        let stream = pods.connect(80);
        while !self.over.load(SeqCst) {
            let status = application::ask(&stream, &path, &fields);
            if !status.as_ref().is_ok_and(|line| line == "HTTP/1.1 200 -") {
                let said = format!("{status:?}");
                return self.failed.lock().expect("nobody panics").push(said);
            }
            self.answered.fetch_add(1, SeqCst);
        }
    }

    fn failed(&self) -> Vec<String> {
        self.failed.lock().expect("nobody panics").clone()
    }

    /// Waits for so many more answers.
    fn goes_on(&self, more: u64) {
        let goal = self.answered.load(SeqCst) + more;
        until(&format!("{more} more answers"), || {
            assert_eq!(self.failed(), Vec::<String>::new());
            (self.answered.load(SeqCst) >= goal).then_some(())
        });
    }
}

/// It ends also if the test does.
struct Over<'l>(&'l Load);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, SeqCst);
    }
}

/// What a sidecar's exporter has counted of a signal, by reason, in one scrape.
fn by_reason(pod: &Namespace, what: &str, exporter: &str, signal: &str) -> Vec<(String, u64)> {
    let metrics = sidecar::admin(pod, "/instruments").expect("the admin port answers");
    let begin = format!("netting_telemetry_{what}_total{{");
    let value = |labels: &str, key: &str| {
        let (_, rest) = labels.split_once(&format!("{key}=\""))?;
        rest.split('"').next().map(str::to_owned)
    };
    let series = metrics.lines().filter_map(|line| {
        let (labels, count) = line.strip_prefix(&begin)?.split_once("} ")?;
        let is_it = value(labels, "netting_exporter").as_deref() == Some(exporter)
            && value(labels, "netting_signal").as_deref() == Some(signal);
        let reason = value(labels, "error_type").unwrap_or_default();
        is_it.then(|| (reason, count.parse().expect("it is a number")))
    });
    series.collect()
}

/// The same for all reasons together.
fn counted(pod: &Namespace, what: &str, exporter: &str, signal: &str) -> u64 {
    let counts = by_reason(pod, what, exporter, signal);
    counts.into_iter().map(|(_, count)| count).sum()
}

fn spans(pod: &Namespace, what: &str, exporter: &str) -> u64 {
    counted(pod, what, exporter, "traces")
}

/// The client's pod and the server's.
fn both(pods: &Pods) -> [&Namespace; 2] {
    [&pods.client, &pods.server]
}

fn resident_kb(pods: &Pods) -> [u64; 2] {
    [0, 1].map(|side| pods.sidecars[side].resident_kb())
}

/// Waits until an exporter has failed as it was made to.
fn until_failed(pod: &Namespace, exporter: &str, signal: &str, reasons: &[&str]) {
    until(&format!("{exporter} has failed: {reasons:?}"), || {
        let failed = by_reason(pod, "failed", exporter, signal);
        let is_one = |(it, _): &(String, u64)| reasons.contains(&it.as_str());
        let is_late = |(it, _): &(String, u64)| it == LATE;
        let all = failed.iter().all(|it| is_one(it) || is_late(it));
        assert!(all, "{exporter}: {failed:?}");
        failed.iter().any(is_one).then_some(())
    });
}

/// Waits until each that fails has, and has lost something because its queue is full.
fn until_queues_are_full(pods: &Pods) {
    for pod in both(pods) {
        for (exporter, reasons) in FAILING {
            until_failed(pod, exporter, "traces", reasons);
            until(&format!("{exporter} is full"), || {
                let dropped = by_reason(pod, "dropped", exporter, "traces");
                dropped
                    .iter()
                    .find(|(reason, _)| reason == "queue_full")
                    .map(drop)
            });
        }
    }
}

/// Waits until each that never answers has failed, and what was lost in datagrams is
/// counted.
fn until_those_spoken_to_fail(pods: &Pods) {
    for pod in both(pods) {
        for (exporter, reasons) in SPOKEN_TO {
            until_failed(pod, exporter, "metrics", reasons);
            // Lines are kept for another attempt.
            if exporter != "graphite" {
                let lost = || counted(pod, "dropped", exporter, "metrics") > 0;
                until_eq(exporter, true, lost);
            }
        }
    }
}

/// A reader's host goes without a word, which is noticed. Returns how many lines it had.
fn a_reader_vanishes(pods: &Pods) -> [u64; 2] {
    for pod in both(pods) {
        let is_sent = || counted(pod, "sent", VANISHES, "metrics") > 0;
        until_eq(VANISHES, true, is_sent);
    }
    let port = VANISHING.to_string();
    let rule = ["-I", "INPUT", "-p", "tcp", "--dport", &port, "-j", "DROP"];
    let dropped = pods.node.command(&[], "iptables").args(rule).status();
    assert!(dropped.expect("iptables is installed").success());
    for pod in both(pods) {
        until_failed(pod, VANISHES, "metrics", &[LATE]);
    }
    lines_sent(pods)
}

fn lines_sent(pods: &Pods) -> [u64; 2] {
    both(pods).map(|pod| counted(pod, "sent", VANISHES, "metrics"))
}

/// Every request is one span, which was sent, is counted as lost, or waits.
fn assert_all_are_accounted_for(pods: &Pods, requests: u64) {
    let waiting_max = QUEUE_BYTES / (2 * TEXT_BYTES as u64) + 2 * BATCH_SPANS;
    for pod in both(pods) {
        for (exporter, _) in FAILING {
            assert_eq!(spans(pod, "sent", exporter), 0, "{exporter}");
            // The last ones are gathered within a second.
            until(&format!("what {exporter} has lost"), || {
                let lost = spans(pod, "dropped", exporter);
                assert!(lost <= requests, "{exporter} lost {lost} of {requests}");
                (lost + waiting_max >= requests).then_some(())
            });
        }
        until_eq("all but what the good one was not told", requests, || {
            spans(pod, "sent", WITH_THE_GOOD_ONE) + spans(pod, "dropped", WITH_THE_GOOD_ONE)
        });
    }
}

#[test]
fn bad_backends_cost_no_request_and_no_more_memory_than_their_queues() {
    let mut pods = Pods::new();
    application::serve(pods.server.listen(dst("10.0.0.3", 80)));
    listen(&pods.node);
    let good = Good::start(&pods.node);
    let directory = directory();
    let socket = directory.path().join("dsd.socket");
    // Nobody reads from it.
    let _stuck = UnixDatagram::bind(&socket).expect("a free path");
    // The sidecar is another user.
    let to_all = Permissions::from_mode(0o777);
    fs::set_permissions(&socket, to_all).expect("it is ours");
    let list = list(&socket.display().to_string());
    let variables = [
        ("NETTING_TELEMETRY", list.as_str()),
        ("NETTING_ACCESS_LOG", "all"),
        ("NETTING_ACCESS_LOG_TO", "none"),
        ("NETTING_TRACE_RATIO", "1"),
    ];
    pods.mesh_with([&variables, &variables]);
    let pods = &pods;
    let before = resident_kb(pods);

    let load = Load::default();
    thread::scope(|scope| {
        let over = Over(&load);
        for _ in 0..CLIENTS {
            scope.spawn(|| load.make(pods));
        }
        until_those_spoken_to_fail(pods);
        let sent = a_reader_vanishes(pods);
        until_queues_are_full(pods);
        drop(good);
        for pod in both(pods) {
            until("the good one is missed", || {
                (spans(pod, "failed", WITH_THE_GOOD_ONE) > 0).then_some(())
            });
        }
        let full = resident_kb(pods);
        load.goes_on(REQUESTS_MORE);
        // The kernel would take more for a quarter of an hour.
        assert_eq!(lines_sent(pods), sent);
        let after = resident_kb(pods);
        for side in [0, 1] {
            let grown = after[side].saturating_sub(before[side]);
            assert!(grown < MEMORY_KB_MAX, "{grown} kB more than at first");
            let grown = after[side].saturating_sub(full[side]);
            assert!(grown < GROWTH_KB_MAX, "{grown} kB more while all is full");
        }
        drop(over);
    });
    assert_eq!(load.failed(), Vec::<String>::new());
    let _good = Good::start(&pods.node);
    assert_all_are_accounted_for(pods, load.answered.load(SeqCst));
}
