//! Writes log lines without being held up by whoever reads them.
//!
//! A container's log is a pipe. If its reader stands still, since the node's disk is full,
//! say, the pipe takes 64 KiB more and then stops everybody who logs a line: in a sidecar,
//! the threads that all connections are on. So a line is only written where there is room,
//! after a moment at most, and else it is lost; the next one that is written says how many
//! were.

use std::{
    io::{self, Write},
    os::fd::AsFd,
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing_subscriber::fmt::{
    MakeWriter,
    format::Writer as Text,
    time::{FormatTime as _, SystemTime},
};

use super::LogFormat;

/// How long a line waits for room, in milliseconds. After one that waited in vain, others
/// don't, until there is room again.
const PATIENCE_MS: u16 = 100;
/// A pipe that has room takes so much without a wait (`PIPE_BUF`, pipe(7)).
const AT_ONCE: usize = 4096;

/// What lines are written to.
pub(super) struct Patient<W> {
    format: LogFormat,
    state: Mutex<State<W>>,
}

struct State<W> {
    out: W,
    /// Since the last one that was written.
    lost: u64,
    /// The last line was cut.
    is_torn: bool,
}

impl<W: Write + AsFd> Patient<W> {
    pub(super) fn new(out: W, format: LogFormat) -> Self {
        let state = Mutex::new(State {
            out,
            lost: 0,
            is_torn: false,
        });
        Self { format, state }
    }

    fn state(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Write + AsFd> State<W> {
    fn line(&mut self, line: &[u8], format: LogFormat) -> io::Result<()> {
        if self.lost > 0 {
            if !self.has_room(0) {
                self.lost += 1;
                return Ok(());
            }
            let torn = if self.is_torn { "\n" } else { "" };
            let told = lost(self.lost, format);
            self.out.write_all(format!("{torn}{told}\n").as_bytes())?;
            (self.lost, self.is_torn) = (0, false);
        }
        for (nth, part) in line.chunks(AT_ONCE).enumerate() {
            if !self.has_room(PATIENCE_MS) {
                self.lost = 1;
                self.is_torn = nth > 0;
                return Ok(());
            }
            self.out.write_all(part)?;
        }
        Ok(())
    }

    /// Whether there is, after so many milliseconds at most. What is broken has: to write
    /// to it fails, and does not wait.
    fn has_room(&self, wait: u16) -> bool {
        let mut out = [PollFd::new(self.out.as_fd(), PollFlags::POLLOUT)];
        !matches!(poll(&mut out, PollTimeout::from(wait)), Ok(0))
    }
}

/// What is said of lines that are missing.
fn lost(lines: u64, format: LogFormat) -> String {
    let mut now = String::new();
    // A clock that cannot be read is no reason to say nothing.
    let _ = SystemTime.format_time(&mut Text::new(&mut now));
    let message = "log lines were lost, for nobody read the log";
    match format {
        LogFormat::Json => {
            format!(
                r#"{{"timestamp":"{now}","level":"WARN","message":"{message}","lines":{lines}}}"#
            )
        }
        LogFormat::Text => format!("{now}  WARN {message} lines={lines}"),
    }
}

impl<'w, W: Write + AsFd + 'w> MakeWriter<'w> for Patient<W> {
    type Writer = &'w Self;

    fn make_writer(&'w self) -> Self::Writer {
        self
    }
}

impl<W: Write + AsFd> Write for &Patient<W> {
    /// Takes a whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // There is nobody to tell of an error.
        let _ = self.state().line(line, self.format);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.state().out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, PipeReader, pipe},
        sync::mpsc,
        thread,
        time::Duration,
    };

    use super::*;

    /// More than a pipe takes.
    const MANY: usize = 10_000;

    /// A log that got so many lines, numbered from 0, before anybody read it.
    fn unread(lines: usize, format: LogFormat) -> (Patient<io::PipeWriter>, BufReader<PipeReader>) {
        let (reader, writer) = pipe().expect("a pipe");
        let log = Patient::new(writer, format);
        let (done, is_done) = mpsc::channel();
        thread::spawn(move || {
            for nth in 0..lines {
                let line = format!("line {nth}\n");
                (&log).write_all(line.as_bytes()).expect("it is open");
            }
            done.send(log).expect("it is waited for");
        });
        let log = is_done.recv_timeout(Duration::from_secs(60));
        let log = log.expect("nobody is held up");
        (log, BufReader::new(reader))
    }

    fn next(reader: &mut impl io::BufRead) -> String {
        let mut line = String::new();
        reader.read_line(&mut line).expect("it is UTF-8");
        line
    }

    #[test]
    fn a_log_that_nobody_reads_holds_nobody_up_and_tells_what_was_lost() {
        let (log, mut reader) = unread(MANY, LogFormat::Text);
        let lost = log.state().lost;
        let written = MANY as u64 - lost;
        assert!(lost > 0 && written > 1000, "{lost} were lost");
        for nth in 0..written {
            assert_eq!(next(&mut reader), format!("line {nth}\n"));
        }
        (&log).write_all(b"once more\n").expect("it is open");
        let told = next(&mut reader);
        let said = format!(" WARN log lines were lost, for nobody read the log lines={lost}\n");
        assert!(told.ends_with(&said), "{told}");
        assert_eq!(next(&mut reader), "once more\n");
        (&log).write_all(b"and again\n").expect("it is open");
        assert_eq!(next(&mut reader), "and again\n");
    }

    #[test]
    fn a_line_that_is_cut_is_the_last_of_its_line() {
        let (log, mut reader) = unread(0, LogFormat::Json);
        let long = "a".repeat(1 << 20);
        (&log).write_all(long.as_bytes()).expect("it is open");
        while !log.state().has_room(0) {
            let there = reader.fill_buf().expect("it is open").len();
            reader.consume(there);
        }
        (&log).write_all(b"{}\n").expect("it is open");
        let end = next(&mut reader);
        assert!(end.trim_end().chars().all(|c| c == 'a'), "{end}");
        let told = next(&mut reader);
        assert!(told.contains(r#""lines":1}"#), "{told}");
        assert_eq!(next(&mut reader), "{}\n");
    }

    #[test]
    fn a_log_whose_reader_has_gone_is_no_error() {
        let (log, reader) = unread(0, LogFormat::Text);
        drop(reader);
        (&log)
            .write_all(b"to nobody\n")
            .expect("it is nobody's fault");
    }
}
