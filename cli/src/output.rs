//! What commands print: a table for people, JSON and YAML for programs.

use std::io::{self, Write as _};

use clap::ValueEnum;
use netting_webhook::documents;
use serde::Serialize;

mod table;

pub use table::{Cell, Table, Tone};

/// How a command prints what it found.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Flags {
    /// What to print: a table, one with more columns, JSON or YAML
    #[arg(
        short = 'o',
        long = "output",
        value_name = "FORMAT",
        default_value = "table"
    )]
    pub format: Format,
}

/// What to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table, with colours on a terminal.
    #[default]
    Table,
    /// The same with more columns.
    Wide,
    /// JSON on several lines.
    Json,
    /// YAML.
    Yaml,
}

impl Flags {
    /// Prints a value in the format asked for; `table` is the same for people.
    ///
    /// # Errors
    /// If nothing can be printed.
    pub fn print(self, value: &impl Serialize, table: impl FnOnce() -> Table) -> io::Result<()> {
        let wide = self.format == Format::Wide;
        self.print_text(value, |colours| table().render(wide, colours))
    }

    /// Prints a value in the format asked for; `text` is the same for people, where it
    /// is no table, with colours or without.
    ///
    /// # Errors
    /// If nothing can be printed.
    pub fn print_text(
        self,
        value: &impl Serialize,
        text: impl FnOnce(bool) -> String,
    ) -> io::Result<()> {
        let text = match self.format {
            Format::Table | Format::Wide => text(colours(&io::stdout())),
            Format::Json => format!("{:#}\n", serde_json::to_value(value)?),
            Format::Yaml => documents::yaml(&serde_json::to_value(value)?),
        };
        write(&text)
    }
}

/// Writes to stdout. Unlike `print!` it is an error, not a panic, if nobody reads it.
///
/// # Errors
/// If it can't be written.
pub fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Whether what is printed there may have colours: on a terminal that knows them, where
/// `NO_COLOR` (<https://no-color.org>) is empty or not set.
pub fn colours(stream: &impl io::IsTerminal) -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    stream.is_terminal() && !unwanted && !dumb
}
