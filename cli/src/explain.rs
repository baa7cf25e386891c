//! Why things are as they are, step by step, as data: each step says what holds, and
//! the named reason for it where there is one. Nothing here asks anybody.
//!
//! - [`mod@pod`]: why a pod has a sidecar, or has none;
//! - [`service`]: what is behind a service, and how it is treated;
//! - [`connection`]: where a connection of a pod goes.

use std::fmt::Write as _;

use serde::Serialize;

use crate::output::Tone;

pub mod connection;
pub mod pod;
mod redirect;
pub mod service;
#[cfg(test)]
mod tests;

/// An answer to why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// What was asked about.
    pub about: String,
    /// The answer, in a sentence.
    pub verdict: String,
    /// The named reason for it.
    pub reason: String,
    /// How it comes about, first things first.
    pub steps: Vec<Step>,
}

/// One thing that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What it is about: `namespace`, `catalog`, `endpoint`.
    pub about: String,
    /// What holds.
    pub says: String,
    /// Whether it is as one would wish.
    pub mark: Mark,
}

/// What a step means for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// It is just so.
    Plain,
    /// It speaks for it.
    Good,
    /// It is not as somebody may think.
    Warning,
    /// It stands against it.
    Bad,
}

impl Explanation {
    /// With a verdict and no steps yet.
    #[must_use]
    pub fn new(about: impl Into<String>) -> Self {
        Self {
            about: about.into(),
            verdict: String::new(),
            reason: String::new(),
            steps: Vec::new(),
        }
    }

    /// Adds a step.
    pub fn step(&mut self, mark: Mark, about: &str, says: impl Into<String>) {
        self.steps.push(Step {
            about: about.to_owned(),
            says: says.into(),
            mark,
        });
    }

    /// Decides it.
    #[must_use]
    pub fn so(mut self, reason: &str, verdict: impl Into<String>) -> Self {
        self.reason = reason.to_owned();
        self.verdict = verdict.into();
        self
    }

    /// For people.
    #[must_use]
    pub fn render(&self, colours: bool) -> String {
        let width = self
            .steps
            .iter()
            .map(|step| step.about.len())
            .max()
            .unwrap_or(0);
        let mut text = format!("{}\n", self.about);
        for step in &self.steps {
            let (sign, tone) = step.mark.sign();
            let about = format!("{:width$}", step.about);
            let about = Tone::Faint.paint(&about, colours);
            let _ = writeln!(
                text,
                "  {} {about}  {}",
                tone.paint(sign, colours),
                step.says
            );
        }
        let _ = writeln!(text, "=> {} ({})", self.verdict, self.reason);
        text
    }
}

impl Mark {
    fn sign(self) -> (&'static str, Tone) {
        match self {
            Self::Plain => ("-", Tone::Faint),
            Self::Good => ("+", Tone::Good),
            Self::Warning => ("!", Tone::Warning),
            Self::Bad => ("x", Tone::Bad),
        }
    }
}
