//! The webhook's binary.

use std::process::ExitCode;

use clap::Parser as _;
use netting_webhook::{args::Args, process};

#[tokio::main]
async fn main() -> ExitCode {
    match process::run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("netting-webhook: {error:#}");
            ExitCode::FAILURE
        }
    }
}
