//! `netting-test-app`: parse, run the mode, exit with its code.

use std::process::ExitCode;

use clap::Parser;
use netting_test_app::args::Args;
use netting_test_app::terminate::Terminate;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("netting-test-app: {error:#}");
            ExitCode::FAILURE
        }
    }
}

// One thread is enough, and keeps the application out of the way of what is measured beside it.
#[tokio::main(flavor = "current_thread")]
async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let terminate = Terminate::on_signals()?;
    netting_test_app::run(args, terminate).await
}
