//! The `netting` binary.

use std::process::ExitCode;

use clap::Parser as _;
use netting_cli::{Args, Exit};

#[tokio::main]
async fn main() -> ExitCode {
    let exit = match Args::parse().run().await {
        Ok(exit) => exit,
        Err(error) => {
            let exit = Exit::of(&error);
            if exit != Exit::Fine {
                eprintln!("netting: {error:#}");
            }
            exit
        }
    };
    exit.into()
}
