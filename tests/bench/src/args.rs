//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::Parser;

use crate::scenario::{self, Scenario};

/// Measures two sidecars in a row, as they are injected, between a client and nginx: beside the
/// direct connection, and beside two hops of Envoy.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "hack/bench.sh",
    version,
    after_help = "hack/bench.sh --admissions [REQUESTS] [CLIENTS] measures the webhook instead."
)]
pub struct Args {
    /// What to measure: http1-CONNECTIONS or http2-CONNECTIONSxSTREAMS; may be given several times
    /// [default: http1-1, http1-50, http1-500 and http2-50x10]
    #[arg(long, value_name = "SCENARIO")]
    pub scenario: Vec<Scenario>,

    /// How often each measurement is taken, direct, Netting and Envoy in turns; medians count
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,

    /// How many seconds each measurement lasts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub seconds: u32,

    /// One round of two seconds: a first look, in about a minute
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    pub quick: bool,

    /// File to write everything to, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Also count the proxies' system calls for each request, in a run of its own
    #[arg(long)]
    pub strace: bool,

    /// Also sample where the proxies' time goes (perf), in a run of its own
    #[arg(long)]
    pub profile: bool,

    /// Measure what telemetry costs the sidecars instead: none of it, Prometheus, all exporters;
    /// and what a scrape of 10,000 series takes
    #[arg(long, conflicts_with_all = ["json", "strace", "profile"])]
    pub telemetry: bool,

    /// Let the sidecars relay bytes without a look at their protocol: what is left is what two hops
    /// cost whoever makes them
    #[arg(long, conflicts_with = "telemetry")]
    pub opaque: bool,

    /// Worker threads of each sidecar; 0 is its own default
    #[arg(long, default_value_t = 0)]
    pub sidecar_threads: u32,

    /// Directory of netting-sidecar and netting-iptables-init, optimised
    #[arg(long, hide = true)]
    pub optimised: PathBuf,

    /// Directory of netting-catalog and netting-sandbox
    #[arg(long, hide = true)]
    pub control_plane: PathBuf,

    /// Envoy's binary
    #[arg(long, hide = true)]
    pub envoy: PathBuf,

    /// Directory for configuration, logs and profiles
    #[arg(long, hide = true)]
    pub scratch: PathBuf,
}

/// How long and how often, and what else to look at.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How often each measurement is taken.
    pub rounds: u32,
    /// How long each measurement lasts.
    pub duration: Duration,
    /// Count system calls.
    pub strace: bool,
    /// Sample stacks.
    pub profile: bool,
}

impl Args {
    /// How long and how often.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let (rounds, seconds) = match self.quick {
            true => (1, 2),
            false => (self.rounds, self.seconds),
        };
        Plan {
            rounds,
            duration: Duration::from_secs(seconds.into()),
            strace: self.strace,
            profile: self.profile,
        }
    }

    /// What to measure.
    #[must_use]
    pub fn scenarios(&self) -> Vec<Scenario> {
        match self.scenario.is_empty() {
            true => scenario::ALL.to_vec(),
            false => self.scenario.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIDDEN: [&str; 4] = [
        "--optimised=a",
        "--control-plane=b",
        "--envoy=c",
        "--scratch=d",
    ];

    fn parse(flags: &[&str]) -> Result<Args, String> {
        let all = ["bench"].iter().chain(&HIDDEN).chain(flags);
        Args::try_parse_from(all).map_err(|error| error.to_string())
    }

    #[test]
    fn refuses_what_it_cannot_mean() {
        for flags in [
            &["--rounds=0"][..],
            &["--seconds=0"],
            &["--quick", "--rounds=3"],
            &["--scenario=http3-1"],
            &["--telemetry", "--json=a"],
            &["--telemetry", "--opaque"],
        ] {
            assert!(parse(flags).is_err(), "{flags:?}");
        }
    }

    #[test]
    fn a_quick_run_is_one_round_and_all_scenarios_are_measured_unless_some_are_named() {
        let quick = parse(&["--quick"]).expect("the flags are right");
        assert_eq!(
            (quick.plan().rounds, quick.plan().duration),
            (1, Duration::from_secs(2))
        );
        assert_eq!(quick.scenarios(), scenario::ALL);
        let one = parse(&["--scenario=http1-7"]).expect("the flags are right");
        assert_eq!(one.scenarios().len(), 1);
    }
}
