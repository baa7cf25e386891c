//! Receivers of spans and lines, in a network namespace.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::namespace::{Namespace, dst};

/// How long anything may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Where `hack/test.sh telemetry` installs Python's protocol of OpenTelemetry.
const PYTHON: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/../backends/venv/bin/python3");
const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../telemetry/tests/backends/python/otlp.py"
);

/// A receiver of OTLP in Python: gRPC at 4317, HTTP at 4318.
pub(crate) struct Otlp {
    process: Child,
    directory: TempDir,
}

impl Otlp {
    pub(crate) fn start(node: &Namespace, address: &str) -> Self {
        assert!(
            Path::new(PYTHON).exists(),
            "{PYTHON} is missing; `hack/test.sh telemetry` installs it"
        );
        let directory = tempfile::tempdir().expect("a directory can be made");
        let process = node
            .command(&[], PYTHON)
            .args([SCRIPT, "4317", "4318", "received", address])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .spawn()
            .expect("iproute2 and util-linux are installed");
        for port in [4317, 4318] {
            until("the receiver listens", || {
                node.run(|| TcpStream::connect(dst(address, port)).ok())
            });
        }
        Self { process, directory }
    }

    /// What came by `grpc` or `http` in this list, once there are so many.
    pub(crate) fn received(&self, by: &str, list: &str, count: usize) -> Vec<Value> {
        until(&format!("{count} {list} by {by}"), || {
            let text = fs::read_to_string(self.directory.path().join("received")).ok()?;
            let all: Value = serde_json::from_str(&text).ok()?;
            let list = all[by][list].as_array()?.clone();
            (list.len() >= count).then_some(list)
        })
    }
}

impl Drop for Otlp {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A receiver of Zipkin's spans.
#[derive(Clone, Default)]
pub(crate) struct Zipkin(Arc<Mutex<Vec<Value>>>);

impl Zipkin {
    pub(crate) fn start(node: &Namespace, at: SocketAddr) -> Self {
        let (listener, zipkin) = (node.listen(at), Self::default());
        let receiver = zipkin.clone();
        thread::spawn(move || receiver.serve(&listener));
        zipkin
    }

    fn serve(&self, listener: &TcpListener) {
        while let Ok((stream, _)) = listener.accept() {
            let receiver = self.clone();
            thread::spawn(move || while receiver.answer(&stream).is_some() {});
        }
    }

    /// Takes one request.
    fn answer(&self, mut stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let (mut length, mut line) = (0, String::new());
        let mut first = String::new();
        reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
        assert!(first.starts_with("POST /api/v2/spans HTTP/1.1"), "{first}");
        loop {
            line.clear();
            reader.read_line(&mut line).ok()?;
            let line = line.trim_end().to_lowercase();
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().ok()?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let spans: Vec<Value> = serde_json::from_slice(&body).expect("it is a list in JSON");
        self.0.lock().expect("nobody panics").extend(spans);
        let answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer).ok()
    }

    /// All spans, once there are so many.
    pub(crate) fn received(&self, count: usize) -> Vec<Value> {
        until(&format!("{count} spans as Zipkin has them"), || {
            let spans = self.0.lock().expect("nobody panics");
            (spans.len() >= count).then(|| spans.clone())
        })
    }
}

/// Looks until it is there.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begun.elapsed() < PATIENCE, "not yet: {what}");
        thread::sleep(LOOK_AGAIN);
    }
}
