//! The sidecar and the init container as one program, which of them by the name that it
//! is called by: the image holds what they share only once. What a pod loads of it is
//! the pages that it runs.

use std::{env, path::Path, process::ExitCode};

use clap::Parser as _;

fn main() -> ExitCode {
    let called = env::args_os().next().unwrap_or_default();
    let name = Path::new(&called).file_name().unwrap_or_default();
    match name.to_str() {
        Some("netting-iptables-init") => {
            netting_iptables_init::run(&netting_iptables_init::Args::parse())
        }
        Some("netting-sidecar") => netting_sidecar::main(netting_sidecar::Args::parse()),
        _ => {
            eprintln!(
                "netting-data-plane: run it by the name of netting-iptables-init or netting-sidecar"
            );
            ExitCode::from(2)
        }
    }
}
