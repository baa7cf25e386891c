//! The init container of a meshed pod.

use std::process::ExitCode;

use clap::Parser;
use netting_iptables_init::{Args, run};

fn main() -> ExitCode {
    run(&Args::parse())
}
