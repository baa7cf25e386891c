//! Logs on stderr, as JSON or text, with a filter that can be changed at run time; nobody
//! waits for whoever reads them.

mod patient;

use std::{io, str::FromStr};

use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    fmt::{MakeWriter, time::SystemTime},
    layer::SubscriberExt as _,
    reload,
    util::SubscriberInitExt as _,
};

use patient::Patient;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line, fields at its top level.
    Json,
    /// One line for people.
    #[default]
    Text,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "json" => Ok(LogFormat::Json),
            "text" => Ok(LogFormat::Text),
            other => Err(format!("\"{other}\" is no log format; use json or text")),
        }
    }
}

/// Why logging could not be set up, or its filter not be changed.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter does not parse.
    #[error(
        "\"{filter}\" is no log filter; use a level (error, warn, info, debug, trace) or directives such as info,netting_sidecar=debug"
    )]
    Filter {
        /// What was given.
        filter: String,
    },
    /// The process has a subscriber already, or has lost it.
    #[error("the log subscriber is not this one's to change")]
    Subscriber,
}

/// Changes the filter of a running process.
#[derive(Clone)]
pub struct LogHandle {
    filter: reload::Handle<Targets, Registry>,
}

impl LogHandle {
    /// The filter in force, as directives.
    #[must_use]
    pub fn current(&self) -> String {
        self.filter
            .with_current(ToString::to_string)
            .unwrap_or_default()
    }

    /// Puts another filter in force.
    ///
    /// # Errors
    /// If it does not parse; the one before it stays.
    pub fn set(&self, filter: &str) -> Result<(), LoggingError> {
        self.filter
            .reload(parse(filter)?)
            .map_err(|_| LoggingError::Subscriber)
    }
}

/// Sets up the process's logging. Call it once, before anything logs.
///
/// # Errors
/// If `filter` does not parse, or the process already has a subscriber.
pub fn init(filter: &str, format: LogFormat) -> Result<LogHandle, LoggingError> {
    let log = Patient::new(io::stderr(), format);
    let (subscriber, handle) = subscriber(filter, format, log)?;
    subscriber
        .try_init()
        .map_err(|_| LoggingError::Subscriber)?;
    Ok(handle)
}

/// A handle to a filter that nothing logs through.
#[cfg(test)]
pub(crate) fn detached(filter: &str) -> LogHandle {
    let (layer, handle) = reload::Layer::new(parse(filter).expect("tests give a good filter"));
    // The handle reaches its layer only while that lives.
    std::mem::forget(layer);
    LogHandle { filter: handle }
}

fn subscriber<W>(
    filter: &str,
    format: LogFormat,
    writer: W,
) -> Result<(impl Subscriber + Send + Sync + use<W>, LogHandle), LoggingError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    let lines = tracing_subscriber::fmt::layer()
        .with_timer(SystemTime)
        .with_ansi(false)
        .with_writer(writer);
    let lines = match format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.boxed(),
    };
    let subscriber = Registry::default().with(filter).with(lines);
    Ok((subscriber, LogHandle { filter: handle }))
}

/// A level, or directives for modules, each `module=level`. A word that is neither
/// is no filter: taken for a module, as `tracing` would, it would log nothing.
fn parse(filter: &str) -> Result<Targets, LoggingError> {
    let meant = |directive: &str| {
        let level = directive.rsplit('=').next().unwrap_or_default();
        !level.is_empty() && level.parse::<LevelFilter>().is_ok()
    };
    let parsed = filter.parse().ok();
    let parsed = parsed.filter(|_| filter.split(',').all(meant));
    parsed.ok_or_else(|| LoggingError::Filter {
        filter: filter.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no writer panics").write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn text(&self) -> String {
            let bytes = self.0.lock().expect("no writer panics").clone();
            String::from_utf8(bytes).expect("log lines are UTF-8")
        }
    }

    fn logging_to(lines: &Lines, filter: &str, format: LogFormat) -> (impl Subscriber, LogHandle) {
        let lines = lines.clone();
        subscriber(filter, format, move || lines.clone()).expect("the filter parses")
    }

    #[test]
    fn refuses_a_filter_that_does_not_parse_and_says_what_would() {
        for filter in ["", "loud", "netting=loud", "info,", "info,netting"] {
            let refused = parse(filter).expect_err("it names no level");
            assert!(refused.to_string().contains("info"), "{refused}");
        }
    }

    #[test]
    fn refuses_an_unknown_format() {
        assert!("xml".parse::<LogFormat>().is_err());
    }

    #[test]
    fn json_lines_carry_fields_at_the_top_level() {
        let lines = Lines::default();
        let (subscriber, _handle) = logging_to(&lines, "info", LogFormat::Json);
        tracing::subscriber::with_default(subscriber, || tracing::info!(port = 15001, "listening"));
        let text = lines.text();
        assert!(text.contains(r#""port":15001"#), "{text}");
    }

    #[test]
    fn a_refused_filter_leaves_the_old_one_in_force() {
        let lines = Lines::default();
        let (subscriber, handle) = logging_to(&lines, "warn", LogFormat::Text);
        tracing::subscriber::with_default(subscriber, || {
            assert!(handle.set("netting=loud").is_err());
            tracing::info!("quiet");
            handle.set("info").expect("info is a level");
            tracing::info!("heard");
            assert_eq!(handle.current(), "info");
        });
        let text = lines.text();
        assert!(!text.contains("quiet") && text.contains("heard"), "{text}");
    }
}
