//! `netting-bench`: started by `hack/bench.sh`, which gives it namespaces of its own.

use clap::Parser as _;

fn main() -> anyhow::Result<()> {
    netting_bench::run(&netting_bench::Args::parse())
}
