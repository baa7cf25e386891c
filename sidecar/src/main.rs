//! `netting-sidecar`: see the library.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    netting_sidecar::main(netting_sidecar::Args::parse())
}
