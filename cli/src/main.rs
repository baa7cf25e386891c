//! The `netting` binary.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    netting_cli::run(netting_cli::Args::parse())
}
