//! What the sidecar logs: a level, or levels by module.

use std::{fmt, str::FromStr};

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// A filter is a handful of directives; more is a file pasted by mistake.
const CHARS_MAX: usize = 256;

/// `info`, or `info,netting_sidecar=debug`. Spans and fields, which `tracing`
/// would take too, are left out: what is checked here must parse over there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

/// Why a filter does not parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a log level (off, error, warn, info, debug, trace)")]
pub struct NotALogFilter;

impl FromStr for LogFilter {
    type Err = NotALogFilter;

    fn from_str(text: &str) -> Result<Self, NotALogFilter> {
        let known = |directive: &str| match directive.split_once('=') {
            None => LEVELS.contains(&directive),
            Some((target, level)) => is_module(target) && LEVELS.contains(&level),
        };
        if text.len() <= CHARS_MAX && text.split(',').all(known) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotALogFilter)
        }
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_module(target: &str) -> bool {
    target
        .split("::")
        .all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_the_sidecar_could_not_parse() {
        for text in [
            "",
            "loud",
            "INFO ",
            "info,",
            "a=b",
            "=info",
            "a::=info",
            "a[b]=info",
            "info;rm",
        ] {
            assert_eq!(text.parse::<LogFilter>(), Err(NotALogFilter), "{text:?}");
        }
        let endless = "info,".repeat(100) + "info";
        assert_eq!(endless.parse::<LogFilter>(), Err(NotALogFilter));
    }

    #[test]
    fn takes_levels_and_directives() {
        for text in ["info", "off", "warn,netting_sidecar::outbound=trace"] {
            let filter: LogFilter = text.parse().expect("it is a filter");
            assert_eq!(filter.to_string(), text);
        }
    }
}
