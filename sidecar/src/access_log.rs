//! One line for each connection or request, at its end.

use std::{sync::Arc, time::Duration};

use netting_runtime::logging::LogFormat;
use netting_telemetry::{
    Metrics,
    access_log::{Entry, Format, Lines, Record, Writer},
    buffer::Buffer,
};
use tokio::time::Instant;

use crate::args::{AccessLog as Which, AccessLogArgs};

/// How long the last lines may take, in which a pipe or a disk is well.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The access log of a process.
#[derive(Debug)]
pub struct AccessLogs {
    /// Without a place for lines of a thread.
    common: AccessLog,
    writer: Option<Writer>,
}

/// The access log of one thread.
#[derive(Clone, Debug)]
pub struct AccessLog {
    which: Which,
    /// A request that took as long is as good as one that failed.
    slow: Option<Duration>,
    lines: Option<Lines>,
    records: Option<Arc<Records>>,
}

/// Lines that are sent rather than written.
#[derive(Debug)]
struct Records {
    buffer: Arc<Buffer<Record>>,
    format: Format,
}

impl AccessLogs {
    /// Starts what is asked for; `records` is where lines are put that are sent. A file
    /// that cannot be opened costs its lines, and no connection.
    #[must_use]
    pub fn start(
        args: &AccessLogArgs,
        log_format: LogFormat,
        metrics: &Metrics,
        records: Option<Arc<Buffer<Record>>>,
    ) -> Self {
        let format = args.access_log_format.clone();
        let format = format.unwrap_or_else(|| match log_format {
            LogFormat::Json => Format::Json,
            LogFormat::Text => Format::text(),
        });
        let (which, output) = (args.access_log, &args.access_log_to);
        let writer = match which {
            Which::Off => Ok(None),
            Which::All | Which::Errors => Writer::start(output, format.clone(), metrics),
        };
        let writer = writer.unwrap_or_else(|error| {
            tracing::error!(%output, %error, "the access log cannot be opened, and is left out");
            None
        });
        // What people read there has its attributes beside it.
        let format = match format {
            Format::Json => Format::text(),
            template => template,
        };
        let records = records.map(|buffer| Arc::new(Records { buffer, format }));
        Self {
            common: AccessLog {
                which,
                slow: args.access_log_slow,
                lines: None,
                records,
            },
            writer,
        }
    }

    /// For one more thread.
    #[must_use]
    pub fn of_thread(&self) -> AccessLog {
        AccessLog {
            lines: self.writer.as_ref().map(Writer::lines),
            ..self.common.clone()
        }
    }

    /// Writes what there is.
    pub async fn flush(self) {
        if let Some(writer) = self.writer {
            writer.flush(Instant::now() + FLUSH_TIMEOUT).await;
        }
    }
}

impl AccessLog {
    /// One that has nothing.
    #[must_use]
    pub fn off() -> Self {
        Self {
            which: Which::Off,
            slow: None,
            lines: None,
            records: None,
        }
    }

    /// Whether something that ended well, or not, is to be written.
    #[must_use]
    pub fn wants(&self, failed: bool, took: Duration) -> bool {
        match self.which {
            Which::Off => false,
            Which::All => true,
            Which::Errors => failed || self.slow.is_some_and(|slow| took >= slow),
        }
    }

    /// Writes a line that is wanted.
    pub(crate) fn write(&self, entry: &Entry<'_>) {
        if let Some(lines) = &self.lines {
            lines.write(entry);
        }
        if let Some(Records { buffer, format }) = self.records.as_deref() {
            buffer.push(Record::of(entry, format));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(which: Which, slow: Option<Duration>) -> AccessLog {
        AccessLog {
            which,
            slow,
            ..AccessLog::off()
        }
    }

    #[test]
    fn has_what_failed_or_was_slow_or_all_or_nothing() {
        let (fast, slow) = (Duration::from_millis(1), Duration::from_secs(1));
        for (which, limit, failed, took, wanted) in [
            (Which::Off, Some(slow), true, slow, false),
            (Which::All, None, false, fast, true),
            (Which::Errors, None, true, fast, true),
            (Which::Errors, None, false, slow, false),
            (Which::Errors, Some(slow), false, fast, false),
            (Which::Errors, Some(slow), false, slow, true),
        ] {
            let log = log(which, limit);
            assert_eq!(
                log.wants(failed, took),
                wanted,
                "{which:?} {limit:?} {failed} {took:?}"
            );
        }
    }
}
