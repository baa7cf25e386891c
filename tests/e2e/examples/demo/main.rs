//! The demo behind `hack/demo.sh`: a mesh from end to end on this machine, told
//! while it happens.

mod measure;
mod show;
mod story;

use std::{process::ExitCode, time::Instant};

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// Shows Netting at work in a sandbox of its own.
#[derive(Parser)]
#[command(name = "demo")]
struct Args {
    /// Leave it running afterwards, with the commands to look around, until Ctrl-C.
    #[arg(long)]
    keep: bool,

    /// Requests a second.
    #[arg(long, default_value_t = 200)]
    rate: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let begun = Instant::now();
    let told = tokio::select! {
        told = story::tell(&args) => told,
        () = interrupted() => {
            println!("\ninterrupted; everything is cleaned up");
            return ExitCode::from(130);
        }
    };
    match told {
        Ok(()) => {
            println!(
                "\nThe demo took {:.0} s. All of it worked.",
                begun.elapsed().as_secs_f64()
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("\nThe demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn interrupted() {
    let both = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    );
    let (Ok(mut interrupt), Ok(mut terminate)) = both else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
