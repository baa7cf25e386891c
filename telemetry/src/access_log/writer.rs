//! The thread that writes lines, so that nobody else waits for a disk or a pipe.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, Thread},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{
    format::Format,
    lines::Lines,
    output::{Output, Sink},
};
use crate::{
    Metrics,
    config::Signal,
    export::{Counts, Reason},
};

/// How long lines may wait for others, to be written together.
const LINGER: Duration = Duration::from_millis(100);

/// The log's name among the exporters.
const NAME: &str = "access_log";

/// Lines of all threads, written by one of its own.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    thread: Arc<OnceLock<Thread>>,
    format: Arc<Format>,
    counts: Counts,
    ended: oneshot::Receiver<()>,
}

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Vec<Lines>>,
    stop: AtomicBool,
}

/// What the thread has.
struct Writing {
    shared: Arc<Shared>,
    sink: Sink,
    counts: Counts,
    /// Memory that has been written out.
    spares: Vec<Vec<u8>>,
    fails: bool,
}

impl Writer {
    /// Starts the thread. Nothing, if lines are written nowhere.
    ///
    /// # Errors
    /// If the file cannot be opened, or there is no thread to be had.
    pub fn start(output: &Output, format: Format, metrics: &Metrics) -> io::Result<Option<Self>> {
        let Some(sink) = Sink::open(output)? else {
            return Ok(None);
        };
        let shared = Arc::<Shared>::default();
        let counts = Counts::new(metrics, NAME, Signal::Logs);
        let mut writing = Writing {
            shared: Arc::clone(&shared),
            sink,
            counts: counts.clone(),
            spares: Vec::new(),
            fails: false,
        };
        let (ends, ended) = oneshot::channel();
        let thread = thread::Builder::new().name("netting-log".to_owned());
        let thread = thread.spawn(move || {
            writing.run();
            // Nobody may wait for it.
            let _ = ends.send(());
        })?;
        Ok(Some(Self {
            shared,
            thread: Arc::new(OnceLock::from(thread.thread().clone())),
            format: Arc::new(format),
            counts,
            ended,
        }))
    }

    /// For the lines of one more thread.
    #[must_use]
    pub fn lines(&self) -> Lines {
        let format = Arc::clone(&self.format);
        let lines = Lines::new(format, Arc::clone(&self.thread), self.counts.clone());
        self.shared.lines.lock().push(lines.clone());
        lines
    }

    /// Writes what there is, until the deadline.
    pub async fn flush(self, deadline: Instant) {
        self.shared.stop.store(true, SeqCst);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
        if timeout_at(deadline, self.ended).await.is_err() {
            tracing::warn!("not all of the access log could be written before the end");
        }
    }
}

impl Writing {
    fn run(&mut self) {
        loop {
            let stops = self.shared.stop.load(SeqCst);
            if !stops {
                // Woken by a first line, by many, or by the end.
                thread::park();
                if !self.shared.stop.load(SeqCst) {
                    thread::park_timeout(LINGER);
                }
            }
            self.write();
            if stops {
                return;
            }
        }
    }

    /// Writes what all threads have, together.
    fn write(&mut self) {
        let (mut parts, mut lines) = (Vec::new(), 0);
        for of_thread in &*self.shared.lines.lock() {
            let held = of_thread.take(self.spares.pop().unwrap_or_default());
            lines += held.lines;
            parts.push(held.bytes);
        }
        if lines > 0 {
            match self.sink.write(&parts) {
                Ok(()) => {
                    self.counts.sent(lines);
                    self.fails = false;
                }
                Err(error) => self.failed(&error, lines),
            }
        }
        self.spares.extend(parts);
    }

    fn failed(&mut self, error: &io::Error, lines: u64) {
        self.counts.failed(Reason::Broken, &error.to_string());
        self.counts.dropped(lines, Reason::Broken);
        // Once, not for each batch.
        if !self.fails {
            tracing::warn!(%error, "the access log could not be written");
        }
        self.fails = true;
    }
}

#[cfg(test)]
mod tests;
