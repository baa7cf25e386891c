//! What the sidecar tells about the connections that go through it.

use std::{fmt, str::FromStr};

/// Which connections and requests the sidecar writes a line about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessLog {
    /// None.
    #[default]
    Off,
    /// Those that failed.
    Errors,
    /// Every one.
    All,
}

/// Why a choice of access log does not parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not off, errors or all")]
pub struct NotAnAccessLog;

impl AccessLog {
    /// As written in annotations and flags.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Errors => "errors",
            Self::All => "all",
        }
    }
}

impl FromStr for AccessLog {
    type Err = NotAnAccessLog;

    fn from_str(text: &str) -> Result<Self, NotAnAccessLog> {
        [Self::Off, Self::Errors, Self::All]
            .into_iter()
            .find(|choice| choice.as_str() == text)
            .ok_or(NotAnAccessLog)
    }
}

impl fmt::Display for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where the sidecar's measurements go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exporter {
    /// `/metrics` of the admin port, for whoever scrapes it.
    Prometheus,
}

/// Why an item of a list of exporters does not parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not an exporter that this version has (prometheus)")]
pub struct NotAnExporter;

impl FromStr for Exporter {
    type Err = NotAnExporter;

    fn from_str(text: &str) -> Result<Self, NotAnExporter> {
        match text {
            "prometheus" => Ok(Self::Prometheus),
            _ => Err(NotAnExporter),
        }
    }
}

impl fmt::Display for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prometheus => f.write_str("prometheus"),
        }
    }
}
