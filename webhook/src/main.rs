//! The webhook's binary.

use std::process::ExitCode;

use clap::Parser as _;
use mimalloc::MiMalloc;
use netting_webhook::{args::Args, process};

/// As in the image, where it is one program with the catalog.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    process::main(Args::parse())
}
