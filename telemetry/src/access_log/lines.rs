//! Lines on their way out.

use std::{
    sync::{Arc, OnceLock},
    thread::Thread,
};

use parking_lot::Mutex;

use super::{entry::Entry, format::Format};
use crate::{
    export::{Counts, Reason},
    instrument::Counter,
};

/// What one thread's lines may take up while the writer is elsewhere. They are about
/// two hundred bytes each.
const BYTES_MAX: usize = 256 * 1024;

/// The lines of one thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lines {
    held: Arc<Mutex<Held>>,
    format: Arc<Format>,
    writer: Arc<OnceLock<Thread>>,
    counts: Counts,
    /// What counts those that found no room, once there was one.
    lost: Arc<OnceLock<Counter>>,
}

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Whole lines.
    pub(super) bytes: Vec<u8>,
    /// How many.
    pub(super) lines: u64,
}

impl Lines {
    pub(super) fn new(format: Arc<Format>, writer: Arc<OnceLock<Thread>>, counts: Counts) -> Self {
        Self {
            held: Arc::default(),
            format,
            writer,
            counts,
            lost: Arc::default(),
        }
    }

    /// Writes a line, or counts it as lost if there is no room for it: here, for a writer
    /// that is stuck counts nothing. It holds the lock only to change places with an empty
    /// vector.
    pub fn write(&self, entry: &Entry<'_>) {
        let mut held = self.held.lock();
        let before = held.bytes.len();
        self.format.write(entry, &mut held.bytes);
        let after = held.bytes.len();
        if after > BYTES_MAX {
            held.bytes.truncate(before);
            drop(held);
            let lost = || self.counts.losing(Reason::QueueFull);
            return self.lost.get_or_init(lost).inc();
        }
        held.lines += 1;
        drop(held);
        // The first is what the writer waits for; once there is much it is not to wait
        // for more.
        let much = BYTES_MAX / 4;
        if before == 0 || (before < much && after >= much) {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    /// Takes all of it, and leaves an empty vector whose memory is used again.
    pub(super) fn take(&self, mut spare: Vec<u8>) -> Held {
        spare.clear();
        let mut held = self.held.lock();
        std::mem::replace(
            &mut *held,
            Held {
                bytes: spare,
                ..Held::default()
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::{Metrics, access_log::Kind, config::Signal, connections::Direction};

    fn entry(path: &[u8]) -> Entry<'_> {
        Entry {
            kind: Kind::Request,
            at: SystemTime::UNIX_EPOCH,
            direction: Direction::Inbound,
            client: ([10, 0, 0, 1], 1).into(),
            dst: ([10, 0, 0, 2], 2).into(),
            upstream: None,
            protocol: "http1",
            sni: None,
            method: Some(b"GET"),
            path: Some(path),
            authority: None,
            user_agent: None,
            status: Some(200),
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

    fn lines() -> Lines {
        lines_of(&Metrics::new("test", "0"))
    }

    fn lines_of(metrics: &Metrics) -> Lines {
        let format = "%{path}".parse().expect("it is a format");
        let counts = Counts::new(metrics, "access_log", Signal::Logs);
        Lines::new(Arc::new(format), Arc::default(), counts)
    }

    #[test]
    fn a_line_without_room_is_counted_and_leaves_nothing_behind() {
        let metrics = Metrics::new("test", "0");
        let lines = lines_of(&metrics);
        let most = vec![b'a'; BYTES_MAX - 2];
        lines.write(&entry(&most));
        lines.write(&entry(b"bb"));
        lines.write(&entry(b""));
        let dropped = r#"netting_telemetry_dropped_total{error_type="queue_full",netting_exporter="access_log",netting_signal="logs"} 2"#;
        let exposition = metrics.expose();
        assert!(
            exposition.contains(dropped),
            "before anybody writes: {exposition}"
        );
        let held = lines.take(Vec::new());
        assert_eq!(held.lines, 1);
        assert!(held.bytes.ends_with(b"aa\n") && held.bytes.len() == BYTES_MAX - 1);
    }

    #[test]
    fn memory_goes_back_and_forth() {
        let lines = lines();
        lines.write(&entry(b"/1"));
        let first = lines.take(Vec::with_capacity(100));
        assert_eq!(first.bytes, b"/1\n");
        lines.write(&entry(b"/2"));
        let second = lines.take(first.bytes);
        assert_eq!(
            (second.bytes.as_slice(), second.bytes.capacity() >= 100),
            (&b"/2\n"[..], true)
        );
    }
}
