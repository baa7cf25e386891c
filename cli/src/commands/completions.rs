//! `netting completions`: what a shell needs to complete the command line.

use std::io::{self, Write as _};

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::exit::Exit;

const EXAMPLES: &str = "\
Examples:
  source <(netting completions bash)
  netting completions zsh > \"${fpath[1]}/_netting\"
  netting completions fish > ~/.config/fish/completions/netting.fish";

/// Whose completions.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The shell
    shell: Shell,
}

impl Args {
    /// Prints them.
    ///
    /// # Errors
    /// If nothing can be printed.
    pub fn run(self) -> anyhow::Result<Exit> {
        let mut script = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut crate::Args::command(),
            "netting",
            &mut script,
        );
        io::stdout().write_all(&script)?;
        Ok(Exit::Fine)
    }
}
