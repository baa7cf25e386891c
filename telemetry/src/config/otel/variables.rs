//! Where variables come from: the environment, and over it the list.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::value;
use crate::config::{
    Reference, Values, Wrong,
    exporter::{names_a_secret, refer_to_a_secret},
    reference,
    syntax::Item,
};

/// What all of them begin with.
const PREFIX: &str = "OTEL_";
/// Those that are read, beside those of OTLP.
const READ: [&str; 13] = [
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
    "OTEL_LOGS_EXPORTER",
    "OTEL_METRICS_EXPORTER",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_METRIC_EXPORT_TIMEOUT",
    "OTEL_PROPAGATORS",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SDK_DISABLED",
    "OTEL_SERVICE_NAME",
    "OTEL_TRACES_EXPORTER",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
];
/// Those of OTLP, after `OTEL_EXPORTER_OTLP_` and perhaps a signal.
const OF_OTLP: [&str; 8] = [
    "CERTIFICATE",
    "CLIENT_CERTIFICATE",
    "CLIENT_KEY",
    "COMPRESSION",
    "ENDPOINT",
    "HEADERS",
    "PROTOCOL",
    "TIMEOUT",
];

/// Variables by their names, and what is wrong with them.
pub(in crate::config) struct Variables<'a> {
    values: &'a dyn Values,
    /// Those of the list, as they were written.
    listed: Vec<(String, String)>,
    wrong: &'a mut Vec<Wrong>,
    references: &'a mut Vec<Reference>,
}

/// A variable's value.
enum Said {
    /// By the environment, whole.
    Here(String),
    /// By the list, with references in it.
    Listed(String),
}

/// Whether an item is a variable.
pub(in crate::config) fn is_variable(item: &Item) -> bool {
    item.kind.starts_with(PREFIX)
}

fn is_read(name: &str) -> bool {
    let of_otlp = name.strip_prefix("OTEL_EXPORTER_OTLP_").map(|rest| {
        let signals = ["METRICS_", "TRACES_", "LOGS_"];
        let of_signal = signals.iter().find_map(|signal| rest.strip_prefix(signal));
        of_signal.unwrap_or(rest)
    });
    READ.contains(&name) || of_otlp.is_some_and(|name| OF_OTLP.contains(&name))
}

impl<'a> Variables<'a> {
    /// Those of the environment, and these items.
    pub(in crate::config) fn new(
        values: &'a dyn Values,
        items: &[Item],
        wrong: &'a mut Vec<Wrong>,
        references: &'a mut Vec<Reference>,
    ) -> Self {
        let mut variables = Self {
            values,
            listed: Vec::new(),
            wrong,
            references,
        };
        for item in items {
            variables.add(item);
        }
        variables.tell_what_is_not_read();
        variables
    }

    fn add(&mut self, item: &Item) {
        let name = &item.kind;
        let why = match &item.target {
            _ if item.unclosed => "has a quotation mark without a second one",
            _ if !is_read(name) => "is none of the variables that are read",
            _ if !item.options.is_empty() => {
                "takes no options; put quotation marks around a value with a semicolon"
            }
            None => "has no value",
            Some(_) if self.listed(name).is_some() => "is there twice",
            Some(value) => return self.listed.push((name.clone(), value.clone())),
        };
        self.refuse(name, why.to_owned());
    }

    /// Who sets a variable counts on it.
    fn tell_what_is_not_read(&mut self) {
        let mut names = self.values.variables();
        names.retain(|name| name.starts_with(PREFIX) && !is_read(name));
        names.sort_unstable();
        for name in names {
            self.refuse(&name, "is none of the variables that are read".to_owned());
        }
    }

    fn listed(&self, name: &str) -> Option<&String> {
        let found = self.listed.iter().find(|(listed, _)| listed == name);
        found.map(|(_, value)| value)
    }

    fn said(&self, name: &str) -> Option<Said> {
        match self.listed(name) {
            // As the specification has it for those of the environment.
            Some(written) if written.is_empty() => None,
            Some(written) => Some(Said::Listed(written.clone())),
            None => self.values.variable(name).map(Said::Here),
        }
    }

    /// Those of the sampler, which is asked for later, as far as the list has them.
    pub(in crate::config) fn sampler(&mut self) -> Vec<(&'static str, String)> {
        let names = ["OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"];
        let listed = names.into_iter().filter_map(|name| {
            self.listed(name)?;
            Some((name, self.text(name)?))
        });
        listed.collect()
    }

    /// Whether it has a value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.said(name).is_some()
    }

    /// Its value, with what is referred to.
    pub(in crate::config) fn text(&mut self, name: &str) -> Option<String> {
        match self.said(name)? {
            Said::Here(text) => Some(text),
            Said::Listed(written) => self.expanded(name, &written),
        }
    }

    /// The same, as something else. What is wrong is noted.
    pub(super) fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(name)?;
        let parsed = parse(&text);
        parsed.map_err(|why| self.refuse(name, why)).ok()
    }

    /// Headers. In the list, those with secrets have to refer to them.
    pub(super) fn headers(&mut self, name: &str) -> Option<HeaderMap> {
        let said = self.said(name)?;
        let (Said::Here(text) | Said::Listed(text)) = &said;
        let pairs = value::pairs(text).map_err(|why| self.refuse(name, why));
        let mut headers = HeaderMap::new();
        for (header, mut text) in pairs.ok()? {
            let Ok(key) = HeaderName::try_from(&header) else {
                self.refuse(name, format!("has no header in {header}"));
                return None;
            };
            if let Said::Listed(_) = said {
                if names_a_secret(&key) && !text.contains("$(secret:") {
                    self.refuse(name, refer_to_a_secret(&header));
                    return None;
                }
                // After pairs were told apart: a secret may have any character in it.
                text = self.expanded(name, &text)?;
            }
            let Ok(mut value) = HeaderValue::try_from(text.trim_end()) else {
                self.refuse(name, format!("has a line break in {header}"));
                return None;
            };
            value.set_sensitive(true);
            headers.append(key, value);
        }
        Some(headers)
    }

    /// Certificates or a key in PEM: of a file that is here, or of a Secret.
    pub(super) fn pem(&mut self, name: &str) -> Option<String> {
        match self.said(name)? {
            Said::Here(path) => {
                let read = value::file(&path);
                read.map_err(|why| self.refuse(name, why)).ok()
            }
            Said::Listed(written) if written.starts_with("$(secret:") => {
                self.expanded(name, &written)
            }
            Said::Listed(_) => {
                let why =
                    "names a file, which nobody mounts; refer to a Secret: $(secret:NAME/KEY)";
                self.refuse(name, why.to_owned());
                None
            }
        }
    }

    /// How much is wrong so far.
    pub(super) fn wrong(&self) -> usize {
        self.wrong.len()
    }

    fn expanded(&mut self, name: &str, written: &str) -> Option<String> {
        let references = &mut *self.references;
        let expanded = reference::expand(written, &mut |reference| {
            if !references.contains(reference) {
                references.push(reference.clone());
            }
            self.values.reference(reference)
        });
        let expanded = expanded.map_err(|bad| format!("is not complete: {bad}"));
        expanded.map_err(|why| self.refuse(name, why)).ok()
    }

    pub(super) fn refuse(&mut self, name: &str, why: String) {
        // Not as it was written: it may be a header with a secret.
        let item = name.to_owned();
        // The three signals share variables.
        let wrong = Wrong { item, why };
        if !self.wrong.contains(&wrong) {
            self.wrong.push(wrong);
        }
    }
}
