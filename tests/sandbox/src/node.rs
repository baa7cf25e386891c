//! The node agent: runs the pods that are bound to its node as processes.

pub mod launcher;

/// Options of `netting-sandbox node`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs the node agent until it is told to stop.
///
/// # Errors
/// What keeps it from starting.
pub async fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("the node agent is not part of this build")
}
