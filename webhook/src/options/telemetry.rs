//! What the sidecar tells about the connections that go through it.

use std::{fmt, path::PathBuf, str::FromStr};

use netting_telemetry::config::{Address, Exporter, Kind, Reference, Rehearsal, Telemetry, Wrong};
use serde_json::{Value, json};

/// Where the sidecar's measurements go: a list as the sidecar takes it. What is wrong
/// with an exporter is the sidecar's to leave out, and to say again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exporters {
    list: String,
    /// What was written instead, of which nothing is right.
    left_out: Option<String>,
    is_scraped: bool,
    references: Vec<Reference>,
    sockets: Vec<PathBuf>,
}

/// Why a list of exporters does not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadExporters(String);

impl Exporters {
    /// A list, and what is wrong with some of its items. Without a list if nothing is
    /// left of it.
    #[must_use]
    pub fn read(list: &str) -> (Option<Self>, Vec<Wrong>) {
        let telemetry = Telemetry::parse(list, &Rehearsal);
        let is_scraped = telemetry.prometheus();
        let Telemetry {
            exporters,
            references,
            wrong,
            ..
        } = telemetry;
        let sockets = exporters.iter().filter_map(socket).collect();
        let some = wrong.is_empty() || !exporters.is_empty();
        let list = list.trim().to_owned();
        let exporters = Self {
            list,
            left_out: None,
            is_scraped,
            references,
            sockets,
        };
        (some.then_some(exporters), wrong)
    }

    /// These, though a list was written in their place, of which nothing is right: for the
    /// sidecar to say so.
    #[must_use]
    pub fn instead_of(self, list: &str) -> Self {
        let left_out = Some(list.trim().to_owned());
        Self { left_out, ..self }
    }

    /// The list that these are in place of, if nothing of it is right.
    #[must_use]
    pub fn left_out(&self) -> Option<&str> {
        self.left_out.as_deref()
    }

    /// Whether it is what the sidecar does anyway.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.list == "prometheus"
    }

    /// Whether they are there for whoever scrapes the sidecar.
    #[must_use]
    pub fn is_scraped(&self) -> bool {
        self.is_scraped
    }

    /// Variables of a container, with all that the list refers to: whoever reads it looks
    /// for them.
    #[must_use]
    pub fn variables(&self) -> Vec<Value> {
        self.references.iter().map(variable).collect()
    }

    /// Adds those variables to a container's, as far as they aren't there.
    pub fn give(&self, env: &mut Vec<Value>) {
        for variable in self.variables() {
            if env.iter().all(|there| there["name"] != variable["name"]) {
                env.push(variable);
            }
        }
    }

    /// Unix sockets that have to be in the sidecar's file system.
    #[must_use]
    pub fn sockets(&self) -> &[PathBuf] {
        &self.sockets
    }
}

/// A Secret that isn't there costs an exporter, not the pod.
fn variable(reference: &Reference) -> Value {
    let source = match reference {
        Reference::Field(field) => json!({"fieldRef": {"fieldPath": field.path()}}),
        Reference::Secret { name, key } => {
            json!({"secretKeyRef": {"name": name, "key": key, "optional": true}})
        }
    };
    json!({"name": reference.variable(), "valueFrom": source})
}

fn socket(exporter: &Exporter) -> Option<PathBuf> {
    match &exporter.kind {
        Kind::Statsd {
            to: Address::Unix(path),
            ..
        } => Some(path.clone()),
        _ => None,
    }
}

/// Of flags: all of it has to be right.
impl FromStr for Exporters {
    type Err = BadExporters;

    fn from_str(list: &str) -> Result<Self, BadExporters> {
        match Self::read(list) {
            (Some(exporters), wrong) if wrong.is_empty() => Ok(exporters),
            (_, wrong) => {
                let wrong: Vec<_> = wrong.iter().map(ToString::to_string).collect();
                Err(BadExporters(wrong.join("; ")))
            }
        }
    }
}

impl fmt::Display for Exporters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.list)
    }
}
