//! The command line.

use clap::{Parser, Subcommand};

use crate::{cluster, commands, exit::Exit};

/// Installs the Netting service mesh, injects manifests, and says what the mesh does
/// and why
#[derive(Debug, Parser)]
#[command(name = "netting", version, about, after_help = EXAMPLES)]
pub struct Args {
    /// Which cluster is asked.
    #[command(flatten)]
    pub cluster: cluster::Flags,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Exit codes: 0 done, or well; 1 failed, or not well; 2 wrong usage, or no cluster that could be asked.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    // Installing, and leaving again.
    /// Print the manifests of Netting, to apply them in your own way
    Render(commands::render::Args),
    /// Add the sidecar to workloads in files
    Inject(Box<commands::inject::Args>),
    /// Take the sidecar out of workloads in files
    Uninject(commands::uninject::Args),

    // Observing.

    // About the command itself.
    /// Print the versions of this command and of what is installed
    Version(commands::version::Args),
    /// Print a shell's completions
    Completions(commands::completions::Args),
}

impl Args {
    /// Does it.
    ///
    /// # Errors
    /// As [`Exit::of`] tells them apart.
    pub async fn run(self) -> anyhow::Result<Exit> {
        let cluster = self.cluster;
        match self.command {
            Command::Render(args) => args.run(&cluster),
            Command::Inject(args) => args.run(&cluster),
            Command::Uninject(args) => args.run(),
            Command::Version(args) => args.run(&cluster).await,
            Command::Completions(args) => args.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_flag_is_declared_consistently() {
        Args::command().debug_assert();
    }
}
