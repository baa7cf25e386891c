//! Which exporters run, and how: a list such as
//! `prometheus, otlp=http://$(HOST_IP):4317;interval=10s`, and the standard `OTEL_*`
//! variables, which may be items of the list.
//!
//! What is wrong with one exporter leaves that exporter out; the others run. Whoever
//! reads a list is told all that is wrong with it at once.

use std::{env, fmt, time::Duration};

mod endpoint;
mod exporter;
mod metrics;
mod options;
mod otel;
mod reference;
mod secret;
mod syntax;

pub use endpoint::{Address, Authority, Url};
pub use exporter::{
    ClientCertificate, Exporter, Histograms, Http, Kind, Otlp, OtlpProtocol, OtlpTarget, Signal,
    StatsdDialect, TagStyle, Temporality,
};
pub use reference::{BadReference, Field, Reference};
pub use secret::Secret;

use crate::{registry::Settings, trace::Propagators};
use metrics::Kept;
use otel::{Otel, Variables};

/// More than anybody has backends. Each one costs a task and a connection.
const EXPORTERS_MAX: usize = 16;

/// Where a process's telemetry goes.
#[derive(Clone, Debug, Default)]
pub struct Telemetry {
    /// Those that run.
    pub exporters: Vec<Exporter>,
    /// `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`: they go over what the
    /// process knows of itself.
    pub resource: Vec<(String, String)>,
    /// What is left out, and why.
    pub wrong: Vec<Wrong>,
    /// What the list refers to, in order, each once.
    pub references: Vec<Reference>,
    /// How metrics are kept, as far as the list says.
    metrics: Kept,
    /// `OTEL_PROPAGATORS`, if it says anything.
    pub propagators: Option<Propagators>,
    /// `OTEL_TRACES_SAMPLER` and its argument, as far as the list has them.
    sampler: Vec<(&'static str, String)>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The item or the variable, as it was written.
    pub item: String,
    /// Goes on where the item ends: `has no port`.
    pub why: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" {}", self.item, self.why)
    }
}

/// What a configuration can ask of where it is read.
pub trait Values {
    /// What a reference stands for.
    fn reference(&self, reference: &Reference) -> Option<String>;
    /// An environment variable of the standard's, such as `OTEL_SERVICE_NAME`.
    fn variable(&self, name: &str) -> Option<String>;
    /// The names of all of them that have a value: they begin with `OTEL_`. Where nobody
    /// sets any, there are none.
    fn variables(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The environment of this process.
#[derive(Clone, Copy, Debug)]
pub struct Environment;

impl Values for Environment {
    fn reference(&self, reference: &Reference) -> Option<String> {
        env::var(reference.variable()).ok()
    }

    fn variable(&self, name: &str) -> Option<String> {
        // The specification has an empty variable mean the same as none.
        env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn variables(&self) -> Vec<String> {
        let set = env::vars_os().filter(|(_, value)| !value.is_empty());
        let names = set.filter_map(|(name, _)| name.into_string().ok());
        names.filter(|name| name.starts_with("OTEL_")).collect()
    }
}

/// No pod yet: references have examples for values, and there are no variables.
#[derive(Clone, Copy, Debug)]
pub struct Rehearsal;

impl Values for Rehearsal {
    fn reference(&self, reference: &Reference) -> Option<String> {
        Some(reference.example())
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}

impl Telemetry {
    /// What a list asks for, and what the variables add to it.
    #[must_use]
    pub fn parse(list: &str, values: &dyn Values) -> Self {
        let mut telemetry = Self::default();
        let items = syntax::items(list);
        let (variables, items): (Vec<_>, Vec<_>) = items.into_iter().partition(otel::is_variable);
        let (wrong, references) = (&mut telemetry.wrong, &mut telemetry.references);
        let mut variables = Variables::new(values, &variables, wrong, references);
        let otel = Otel::read(&mut variables);
        telemetry.sampler = variables.sampler();
        let none = items.iter().any(|item| item.kind == "none");
        for item in items {
            telemetry.add(&item, &otel, values);
        }
        telemetry.resource.clone_from(&otel.resource);
        telemetry.propagators = otel.propagators;
        if let Some(exporter) = otel.exporter(none, &telemetry.exporters) {
            telemetry.exporters.push(exporter);
        }
        if otel.disabled {
            telemetry
                .exporters
                .retain(|exporter| !matches!(exporter.kind, Kind::Otlp(_)));
        }
        telemetry.give_names();
        telemetry
    }

    /// Tells what is wrong with another list, in whose place this one is. It was judged
    /// without a pod, and what it refers to is not here.
    pub fn instead_of(&mut self, list: &str) {
        for wrong in Self::parse(list, &Rehearsal).wrong {
            if !self.wrong.contains(&wrong) {
                self.wrong.push(wrong);
            }
        }
    }

    /// Whether `/metrics` is served.
    #[must_use]
    pub fn prometheus(&self) -> bool {
        let mut kinds = self.exporters.iter().map(|exporter| &exporter.kind);
        kinds.any(|kind| matches!(kind, Kind::Prometheus))
    }

    /// How metrics are kept: a process's own settings with what the list says over them.
    /// No series is idle before each exporter has had the time to see that it is: any
    /// snapshot finds it so, also one that another exporter asks for more often.
    #[must_use]
    pub fn settings(&self, own: Settings) -> Settings {
        let mut settings = self.metrics.over(own);
        let intervals = self.exporters.iter().filter_map(Exporter::metrics_interval);
        let longest = intervals.max().unwrap_or_default();
        settings.idle_after = settings.idle_after.max(longest.saturating_mul(2));
        settings
    }

    /// A variable of the sampler: the list's, or else the environment's.
    pub(crate) fn sampler(&self, name: &str, values: &dyn Values) -> Option<String> {
        let mut listed = self.sampler.iter();
        let listed = listed.find_map(|(of, value)| (*of == name).then(|| value.clone()));
        listed.or_else(|| values.variable(name))
    }

    fn add(&mut self, item: &syntax::Item, otel: &Otel, values: &dyn Values) {
        let mut refuse = |why: String| {
            self.wrong.push(Wrong {
                item: item.text.clone(),
                why,
            });
        };
        if item.kind == "none" {
            if item.target.is_some() || !item.options.is_empty() {
                refuse("takes no target and no options".to_owned());
            }
            return;
        }
        if self.exporters.len() >= EXPORTERS_MAX {
            return refuse(format!("is one more than the {EXPORTERS_MAX} that may be"));
        }
        let mut references = Vec::new();
        let mut value = |reference: &Reference| {
            references.push(reference.clone());
            values.reference(reference)
        };
        if item.kind == "metrics" {
            match Kept::parse(item, &mut value) {
                Ok(_) if self.metrics != Kept::default() => refuse("is there twice".to_owned()),
                Ok(kept) => {
                    self.metrics = kept;
                    self.refer_to(references);
                }
                Err(whys) => whys.into_iter().for_each(refuse),
            }
            return;
        }
        match Exporter::parse(item, otel, &mut value) {
            Ok(exporter) => {
                self.exporters.push(exporter);
                self.refer_to(references);
            }
            Err(whys) => whys.into_iter().for_each(refuse),
        }
    }

    fn refer_to(&mut self, references: Vec<Reference>) {
        for reference in references {
            if !self.references.contains(&reference) {
                self.references.push(reference);
            }
        }
    }

    /// `otlp`, and for a second one of the kind `otlp-2`.
    fn give_names(&mut self) {
        let mut seen: Vec<&'static str> = Vec::new();
        for exporter in &mut self.exporters {
            let kind = exporter.kind.as_str();
            seen.push(kind);
            let nth = seen.iter().filter(|other| **other == kind).count();
            exporter.name = if nth == 1 {
                kind.to_owned()
            } else {
                format!("{kind}-{nth}")
            };
        }
    }
}

/// How long a request may take, where nothing is said.
const TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
