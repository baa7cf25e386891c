//! Makes the box and starts its parts.

/// Options of `netting-sandbox up`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs a box until it is told to stop.
///
/// # Errors
/// What keeps it from starting.
pub fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("not yet")
}
