//! What is done, line by line on stderr, while it is done.

use std::io;

use crate::output::{self, Tone};

/// Says what is done.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    colours: bool,
}

impl Progress {
    /// On stderr, with colours if that is a terminal.
    #[must_use]
    pub fn new() -> Self {
        Self {
            colours: output::colours(&io::stderr()),
        }
    }

    /// `  created    Namespace netting`.
    pub fn say(self, tone: Tone, done: &str, what: &str) {
        eprintln!(
            "  {} {what}",
            tone.paint(&format!("{done:<10}"), self.colours)
        );
    }

    /// A line for itself.
    pub fn title(self, text: &str) {
        eprintln!("{text}");
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}
