//! The webhook, the catalog and the command as one program, which of them by the name
//! that it is called by: the image holds what they share, most of it, only once.

use std::{env, path::Path, process::ExitCode};

use clap::Parser as _;
use mimalloc::MiMalloc;

/// An admission, and an event of a watch, is a tree of JSON in a thousand small pieces:
/// glibc's allocator takes a third of its time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let called = env::args_os().next().unwrap_or_default();
    let name = Path::new(&called).file_name().unwrap_or_default();
    match name.to_str() {
        Some("netting") => netting_cli::run(netting_cli::Args::parse()),
        Some("netting-catalog") => netting_catalog::main(netting_catalog::Args::parse()),
        Some("netting-webhook") => netting_webhook::process::main(netting_webhook::Args::parse()),
        _ => {
            eprintln!(
                "netting-control-plane: run it by the name of netting, netting-catalog or \
                 netting-webhook"
            );
            ExitCode::from(2)
        }
    }
}
