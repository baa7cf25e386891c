//! What exporters say about themselves, for `/config`.

use serde::Serialize;

use super::{Report, Running};
use crate::config::Wrong;

/// Exporters, and what is left out. Fields are only ever added.
#[derive(Debug, Serialize)]
pub struct Dump {
    exporters: Vec<Exporter>,
    left_out: Vec<LeftOut>,
}

#[derive(Debug, Serialize)]
struct Exporter {
    name: String,
    /// `metrics`, `traces` or `logs`.
    signal: &'static str,
    target: String,
    items_sent: u64,
    last_failure: Option<String>,
}

/// An item of the configuration, or a variable of `OTEL_*`, and what is wrong with it.
#[derive(Debug, Serialize)]
struct LeftOut {
    item: String,
    why: String,
}

impl Report {
    /// As it is now.
    #[must_use]
    pub fn dump(&self) -> Dump {
        let exporter = |running: &Running| Exporter {
            name: running.name.clone(),
            signal: running.signal.as_str(),
            target: running.target.clone(),
            items_sent: running.counts.items_sent(),
            last_failure: running.counts.last_failure(),
        };
        let left_out = |Wrong { item, why }: &Wrong| LeftOut {
            item: item.clone(),
            why: why.clone(),
        };
        Dump {
            exporters: self.running.iter().map(exporter).collect(),
            left_out: self.wrong.iter().map(left_out).collect(),
        }
    }
}
