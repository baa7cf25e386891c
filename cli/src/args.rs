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
    /// Install Netting in a cluster
    Install(Box<commands::install::Args>),
    /// Bring Netting to the version of this command, or change its settings
    Upgrade(Box<commands::upgrade::Args>),
    /// Remove Netting from a cluster, all of it
    Uninstall(commands::uninstall::Args),
    /// Print the manifests of Netting, to apply them in your own way
    Render(commands::render::Args),
    /// Add the sidecar to workloads in files
    Inject(Box<commands::inject::Args>),
    /// Take the sidecar out of workloads in files
    Uninject(commands::uninject::Args),

    // Observing.
    /// Say what is well with the mesh and what is not, and what to do about it
    Check(commands::check::Args),
    /// Say why a pod has a sidecar, what is behind a service, where a connection goes
    Explain(commands::explain::Args),
    /// Print requests a second, success and latency by workload
    Stat(commands::stat::Args),
    /// Show the same live, until q
    Top(commands::top::Args),
    /// Print who talks to whom
    Edges(commands::edges::Args),
    /// Print what a pod's sidecar holds
    Config(commands::config::Args),
    /// Print what the catalog knows of services and endpoints
    Catalog(commands::catalog::Args),
    /// Print or change what a pod of the mesh logs
    LogLevel(commands::log_level::Args),
    /// Collect what a report about a fault needs, without secrets
    SupportBundle(commands::support_bundle::Args),

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
            Command::Install(args) => args.run(&cluster).await,
            Command::Upgrade(args) => args.run(&cluster).await,
            Command::Uninstall(args) => args.run(&cluster).await,
            Command::Render(args) => args.run(&cluster),
            Command::Inject(args) => args.run(&cluster),
            Command::Uninject(args) => args.run(),
            Command::Check(args) => Box::pin(args.run(&cluster)).await,
            Command::Explain(args) => Box::pin(args.run(&cluster)).await,
            Command::Stat(args) => Box::pin(args.run(&cluster)).await,
            Command::Top(args) => Box::pin(args.run(&cluster)).await,
            Command::SupportBundle(args) => Box::pin(args.run(&cluster)).await,
            Command::Edges(args) => Box::pin(args.run(&cluster)).await,
            Command::Config(args) => Box::pin(args.run(&cluster)).await,
            Command::Catalog(args) => Box::pin(args.run(&cluster)).await,
            Command::LogLevel(args) => Box::pin(args.run(&cluster)).await,
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
