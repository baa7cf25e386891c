use std::{fs, net::SocketAddr, path::Path, time::SystemTime};

use super::*;
use crate::{
    access_log::{Entry, Kind},
    connections::Direction,
};

fn entry(path: &[u8]) -> Entry<'_> {
    let addr = SocketAddr::from(([10, 0, 0, 1], 1));
    Entry {
        kind: Kind::Request,
        at: SystemTime::UNIX_EPOCH,
        direction: Direction::Outbound,
        client: addr,
        dst: addr,
        upstream: None,
        protocol: "http1",
        sni: None,
        method: None,
        path: Some(path),
        authority: None,
        user_agent: None,
        status: None,
        grpc_status: None,
        sent: 0,
        received: 0,
        took: Duration::ZERO,
        resent: 0,
        reason: None,
        failed: false,
        trace: None,
        sampled: false,
    }
}

fn start(path: &Path, metrics: &Metrics) -> Writer {
    let format = "%{path}".parse().expect("it is a format");
    let writer = Writer::start(&Output::File(path.to_owned()), format, metrics);
    let writer = writer.expect("the file can be opened");
    writer.expect("it writes somewhere")
}

/// How many lines found no room.
fn dropped(metrics: &Metrics) -> u64 {
    let counts = Counts::new(metrics, NAME, Signal::Logs);
    counts.losing(Reason::QueueFull).get()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[tokio::test]
async fn what_cannot_be_written_is_counted() {
    let metrics = Metrics::new("test", "0");
    // Takes nothing, ever.
    let writer = start(Path::new("/dev/full"), &metrics);
    writer.lines().write(&entry(b"/1"));
    writer.flush(soon()).await;
    let dropped = r#"netting_telemetry_dropped_total{error_type="broken",netting_exporter="access_log",netting_signal="logs"} 1"#;
    let exposition = metrics.expose();
    assert!(exposition.contains(dropped), "{exposition}");
}

#[tokio::test]
async fn lines_of_all_threads_are_written_and_none_is_torn() {
    let directory = tempfile::tempdir().expect("there is room");
    let path = directory.path().join("access.log");
    let metrics = Metrics::new("test", "0");
    let writer = start(&path, &metrics);
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let lines = writer.lines();
            thread::spawn(move || {
                for line in 0..1000 {
                    lines.write(&entry(format!("/{thread}/{line}").as_bytes()));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("it does not panic");
    }
    writer.flush(soon()).await;
    let written = fs::read_to_string(&path).expect("it is there");
    for thread in 0..4 {
        let prefix = format!("/{thread}/");
        let of_thread = written
            .lines()
            .filter_map(|line| line.strip_prefix(&prefix));
        let expected: Vec<_> = (0..1000).map(|line: u32| line.to_string()).collect();
        assert_eq!(of_thread.collect::<Vec<_>>(), expected, "in their order");
    }
    let sent =
        r#"netting_telemetry_sent_total{netting_exporter="access_log",netting_signal="logs"} 4000"#;
    assert!(metrics.expose().contains(sent), "{}", metrics.expose());
}

#[tokio::test]
async fn lines_come_without_being_asked_for() {
    let directory = tempfile::tempdir().expect("there is room");
    let path = directory.path().join("access.log");
    let writer = start(&path, &Metrics::new("test", "0"));
    let lines = writer.lines();
    for line in ["/1\n", "/1\n/2\n"] {
        let last = line.trim_end().rsplit('\n').next().unwrap_or_default();
        lines.write(&entry(last.as_bytes()));
        while fs::read_to_string(&path).expect("it is there") != line {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn who_does_not_read_a_pipe_holds_nobody_up() {
    let directory = tempfile::tempdir().expect("there is room");
    let path = directory.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.expect("coreutils are installed").success());
    // Open, but never read from.
    let _reader = fs::OpenOptions::new().read(true).write(true).open(&path);
    let metrics = Metrics::new("test", "0");
    let writer = start(&path, &metrics);
    let lines = writer.lines();
    let long = vec![b'x'; 1000];
    // The pipe takes some, the writer has some, and then there is no more room: which is
    // told while it is so, not once somebody reads.
    while dropped(&metrics) < 1000 {
        lines.write(&entry(&long));
    }
    let deadline = Instant::now() + Duration::from_millis(50);
    writer.flush(deadline).await;
}
