//! The webhook's binary.

use std::process::ExitCode;

use clap::Parser as _;
use netting_webhook::{args::Args, process};

fn main() -> ExitCode {
    process::main(Args::parse())
}
