//! `netting-catalog`: see the library.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    netting_catalog::main(netting_catalog::Args::parse())
}
