//! Measures what two sidecars in a row cost between a client and nginx, beside the direct
//! connection and beside two hops of Envoy.
//!
//! In reading order: `scenario` says what is asked of each `subject` (direct, Netting, Envoy), and
//! `measure` asks it, in turns. `testbed` is the network with all that runs in it, made of
//! `network` and `process`. `load` has the clients: as much as goes (wrk, h2load), and at a fixed
//! rate (its own). `figures` turns what was seen into medians and differences, `report` prints them,
//! and `inside` looks at where the proxies' time goes. `telemetry` asks what that costs the sidecars.

mod args;
mod figures;
mod inside;
mod load;
mod measure;
mod network;
mod process;
mod report;
mod scenario;
mod subject;
mod telemetry;
mod testbed;

pub use args::Args;

use std::{fs, time::SystemTime};

use anyhow::Context as _;

use report::{Machine, Report};
use testbed::Testbed;

/// Measures all scenarios, prints a table for each, and writes the JSON that was asked for.
///
/// # Errors
/// If something can't be started, or an answer is missing or wrong.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let plan = args.plan();
    let started_at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let load_average_before = report::load_average()?;
    let testbed = Testbed::start(args)?;
    let mut report = Report {
        started_at,
        machine: Machine::here()?,
        load_average_before,
        load_average_after: String::new(),
        rounds: plan.rounds,
        opaque: args.opaque,
        seconds: plan.duration.as_secs_f64(),
        scenarios: Vec::new(),
    };
    println!("{}", report.heading());
    if args.telemetry {
        return telemetry(&testbed, args, &plan);
    }
    for scenario in args.scenarios() {
        let measured = measure::scenario(&testbed, scenario, &plan)
            .with_context(|| format!("in {scenario}; logs are in {}", testbed.logs.display()))?;
        println!("{measured}");
        report.scenarios.push(measured);
    }
    report.load_average_after = report::load_average()?;
    println!("load average afterwards: {}", report.load_average_after);
    if let Some(file) = &args.json {
        let json = serde_json::to_string_pretty(&report)? + "\n";
        fs::write(file, json).with_context(|| format!("could not write {}", file.display()))?;
    }
    Ok(())
}

/// Prints a table of what each amount of telemetry costs.
fn telemetry(testbed: &Testbed, args: &Args, plan: &args::Plan) -> anyhow::Result<()> {
    for scenario in args.scenarios() {
        let measured = telemetry::scenario(testbed, scenario, plan)
            .with_context(|| format!("in {scenario}; logs are in {}", testbed.logs.display()))?;
        println!("{}", telemetry::heading(scenario));
        measured.iter().for_each(|measured| println!("{measured}"));
    }
    println!("load average afterwards: {}", report::load_average()?);
    Ok(())
}
