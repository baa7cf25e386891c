//! The embedded Kubernetes API.

/// Options of `netting-sandbox api`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Serves the API until it is told to stop.
///
/// # Errors
/// What keeps it from starting.
pub async fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("not yet")
}
