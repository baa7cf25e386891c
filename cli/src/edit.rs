//! What `inject` and `uninject` have in common: files in, one text out, and what
//! became of each workload on stderr.

use std::{fmt::Write as _, path::PathBuf};

use netting_webhook::documents::{Edited, Outcome, Report};

use crate::{
    exit::Exit,
    files::{self, File},
    output,
};

/// Which files.
#[derive(Clone, Debug, clap::Args)]
pub struct Flags {
    /// The manifests, YAML or JSON; - is stdin
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Say nothing on stderr about what became of each workload
    #[arg(short, long)]
    quiet: bool,
}

impl Flags {
    /// Edits the files, each in view of all, and prints them, unless one of their documents
    /// can't be read, or a file has no object at all: then nothing is printed, so that nobody
    /// applies half of it.
    ///
    /// # Errors
    /// If a file can't be read, or nothing can be printed.
    pub fn run(&self, edit: impl Fn(&str, &[File]) -> Edited) -> anyhow::Result<Exit> {
        let files = files::read(&self.files)?;
        let edited = files.iter().map(|file| edit(&file.text, &files));
        let edited: Vec<Edited> = edited.collect();
        let mut said = String::new();
        let mut faults = 0_usize;
        for (File { name, text }, edited) in files.iter().zip(&edited) {
            let has_objects = has_objects(edited);
            for report in &edited.reports {
                let is_fault = is_fault(&report.outcome, has_objects);
                faults += usize::from(is_fault);
                if !self.quiet || is_fault {
                    say(&mut said, name, text, report);
                }
            }
            if edited.reports.is_empty() {
                let _ = writeln!(said, "{name}: no workload in it, and nothing changed");
            }
        }
        eprint!("{said}");
        if faults > 0 {
            anyhow::bail!(
                "{faults} of the documents can't be read as Kubernetes objects; nothing was printed"
            );
        }
        output::write(&files::join(edited.into_iter().map(|edited| edited.text)))?;
        Ok(Exit::Fine)
    }
}

fn has_objects(edited: &Edited) -> bool {
    let reports = edited.reports.iter();
    let others = reports.filter(|report| report.outcome == Outcome::NotAnObject);
    others.count() < edited.documents
}

/// Whether a document keeps its file from being printed. One that is something else among
/// objects is its author's business.
fn is_fault(outcome: &Outcome, has_objects: bool) -> bool {
    match outcome {
        Outcome::Malformed { .. } => true,
        Outcome::NotAnObject => !has_objects,
        _ => false,
    }
}

/// `shop.yaml: document 2 (line 14): Deployment web: skipped (host_network)`, and
/// what its author should be told.
fn say(said: &mut String, name: &str, text: &str, report: &Report) {
    let _ = writeln!(said, "{name}: {report}");
    for warning in &report.warnings {
        let _ = writeln!(said, "  {warning}");
    }
    if let Some(hint) = hint(text, &report.outcome) {
        let _ = writeln!(said, "  {hint}");
    }
}

/// What to do about a document that is no object or can't be read, where the parser doesn't
/// say it.
fn hint(text: &str, outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::NotAnObject => Some(
            "it has no apiVersion and kind, and stays as it is; is it a values file, or a template that is to be rendered first?",
        ),
        Outcome::Malformed {
            line: Some(line), ..
        } => {
            // A parser may mean the line before, or the one after, by the place where it stopped.
            let lines: Vec<&str> = text.lines().skip(line.saturating_sub(2)).take(3).collect();
            let space = |line: &&str| {
                let content = line.trim_start();
                line[..line.len() - content.len()].contains('\t')
            };
            if lines.iter().any(space) {
                Some("YAML is indented by spaces, never by tabs")
            } else if lines.iter().any(|line| line.contains("{{")) {
                Some("it looks like a template; render it first (helm template)")
            } else {
                None
            }
        }
        _ => None,
    }
}
