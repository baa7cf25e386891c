//! The webhook's binary.

use clap::Parser as _;
use netting_webhook::{args::Args, process};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    process::run(Args::parse()).await
}
