//! The options of one exporter, each asked for once by who knows it.

use std::{fmt::Display, time::Duration};

use super::{
    reference::{self, Reference},
    syntax::Item,
};

/// Options that nobody has asked for yet, and what was wrong so far.
pub(super) struct Options<'a> {
    left: Vec<(String, Option<String>)>,
    known: Vec<&'static str>,
    value: &'a mut dyn FnMut(&Reference) -> Option<String>,
    whys: Vec<String>,
    /// Whether who is sent to takes compressed bodies by its protocol.
    pub(super) may_compress: bool,
    /// What a token is called in `Authorization` there.
    pub(super) scheme: &'static str,
}

/// A value, before and after references took their values.
pub(super) struct Given {
    pub(super) written: String,
    pub(super) value: String,
}

impl Given {
    /// Whether something of it is not for everybody to read in the pod.
    pub(super) fn is_by_reference(&self) -> bool {
        self.written.contains("$(secret:")
    }
}

impl<'a> Options<'a> {
    pub(super) fn new(item: &Item, value: &'a mut dyn FnMut(&Reference) -> Option<String>) -> Self {
        Self {
            left: item.options.clone(),
            known: Vec::new(),
            value,
            whys: Vec::new(),
            may_compress: false,
            scheme: "Bearer",
        }
    }

    /// With references replaced; `None` if they cannot be.
    pub(super) fn expand(&mut self, written: &str) -> Option<String> {
        let expanded = reference::expand(written, self.value);
        self.noted(expanded.map_err(|bad| format!("is not complete: {bad}")))
    }

    /// Keeps the error, if it is one.
    pub(super) fn noted<T>(&mut self, result: Result<T, String>) -> Option<T> {
        result.map_err(|why| self.whys.push(why)).ok()
    }

    /// The option of that name, if it is given.
    pub(super) fn text(&mut self, name: &'static str) -> Option<Given> {
        self.known.push(name);
        let at = self.left.iter().position(|(given, _)| given == name)?;
        let (_, written) = self.left.remove(at);
        self.given(name, written)
    }

    fn given(&mut self, name: &str, written: Option<String>) -> Option<Given> {
        let written = self.noted(
            written
                .filter(|value| !value.is_empty())
                .ok_or_else(|| format!("has the option {name} without a value; write {name}=…")),
        )?;
        let value = self.expand(&written)?;
        Some(Given { written, value })
    }

    /// All options that begin so, such as `header.`, with the rest of their names.
    pub(super) fn prefixed(&mut self, prefix: &'static str) -> Vec<(String, Given)> {
        self.known.push(prefix);
        let left = std::mem::take(&mut self.left);
        let (those, left) = left
            .into_iter()
            .partition::<Vec<_>, _>(|(name, _)| name.starts_with(prefix));
        self.left = left;
        let given = |(name, written): (String, _)| {
            let given = self.given(&name, written)?;
            Some((name[prefix.len()..].to_owned(), given))
        };
        those.into_iter().filter_map(given).collect()
    }

    /// An option that is parsed: `E` says why it is not, as in `is no duration`.
    pub(super) fn parsed<T, E: Display>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let given = self.text(name)?;
        let parsed = parse(&given.value);
        self.noted(parsed.map_err(|why| format!("has {name}={}, which {why}", given.written)))
    }

    /// A duration of at least 100 ms and at most a day.
    pub(super) fn duration(&mut self, name: &'static str) -> Option<Duration> {
        self.parsed(name, |text| match humantime::parse_duration(text) {
            Ok(duration) if duration < Duration::from_millis(100) => Err("is below 100ms"),
            Ok(duration) if duration > Duration::from_secs(86_400) => Err("is over a day"),
            Ok(duration) => Ok(duration),
            Err(_) => Err("is no duration such as 10s or 1m30s"),
        })
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        name: &'static str,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        self.parsed(name, |text| {
            let chosen = choices.iter().find(|(word, _)| *word == text);
            chosen.map(|(_, choice)| *choice).ok_or_else(|| {
                let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
                format!("is not {}", words.join(" or "))
            })
        })
    }

    /// Notes what is wrong with more than one option.
    pub(super) fn refuse(&mut self, why: impl Into<String>) {
        self.whys.push(why.into());
    }

    /// All that was wrong, and what nobody asked for.
    pub(super) fn finish(mut self, kind: &str) -> Vec<String> {
        for (name, _) in &self.left {
            let known: Vec<_> = self
                .known
                .iter()
                .map(|known| match known.ends_with('.') {
                    true => format!("{known}NAME"),
                    false => (*known).to_owned(),
                })
                .collect();
            self.whys.push(if self.known.contains(&name.as_str()) {
                format!("has the option {name} twice")
            } else if known.is_empty() {
                format!("has the option {name}; {kind} takes none")
            } else {
                format!("has the option {name}; {kind} takes {}", known.join(", "))
            });
        }
        self.whys
    }
}
