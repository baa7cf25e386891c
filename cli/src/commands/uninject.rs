//! `netting uninject`: workloads in files, as they were before they were injected.

use netting_webhook::documents;

use crate::{edit, exit::Exit};

const EXAMPLES: &str = "\
Examples:
  netting uninject injected.yaml > plain.yaml
  kubectl get deployment web -o yaml | netting uninject - | kubectl apply -f -

Everything else in the files stays as it is, byte for byte.";

/// Which files.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Which files.
    #[command(flatten)]
    edit: edit::Flags,
}

impl Args {
    /// Prints them.
    ///
    /// # Errors
    /// If a file can't be read.
    pub fn run(&self) -> anyhow::Result<Exit> {
        self.edit.run(|text, _| documents::uninject(text))
    }
}
