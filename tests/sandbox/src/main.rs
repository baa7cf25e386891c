//! `netting-sandbox`: see the library for what the parts do.

use anyhow::Context as _;
use clap::Parser;
use netting_sandbox::{api, node, up};

#[derive(Parser, Debug)]
#[command(name = "netting-sandbox", version, about)]
enum Command {
    /// Start a cluster in a box and print how to reach it.
    Up(up::Args),
    /// Serve only the embedded Kubernetes API.
    Api(api::Args),
    /// Run only the node agent, against any Kubernetes API.
    Node(node::Args),
    /// Become one container's process.
    #[command(hide = true)]
    RunContainer(node::launcher::Args),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        // These two make namespaces and fork, which must happen before there are threads.
        Command::Up(args) => up::run(args),
        Command::RunContainer(args) => node::launcher::run(args),
        Command::Api(args) => runtime()?.block_on(api::run(args)),
        Command::Node(args) => runtime()?.block_on(node::run(args)),
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Runtime::new().context("start the async runtime")
}
