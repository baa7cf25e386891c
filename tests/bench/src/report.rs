//! A table for people, JSON for programs.

use std::{fmt, fs, thread};

use anyhow::Context as _;
use serde::Serialize;

use crate::{
    figures::{Cost, Figures},
    inside::Extra,
};

/// What Netting may cost at most, as a part of what Envoy does.
const CPU_TARGET: f64 = 0.4;
const ADDED_P99_TARGET: f64 = 0.7;
/// What a sidecar may hold at 50 connections.
const MEMORY_TARGET_BYTES: f64 = 10e6;
const MEMORY_TARGET_SCENARIO: &str = "http1-50";

/// Everything.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) started_at: String,
    pub(crate) machine: Machine,
    /// Over 1, 5 and 15 minutes.
    pub(crate) load_average_before: String,
    pub(crate) load_average_after: String,
    pub(crate) rounds: u32,
    /// Whether the sidecars relayed bytes only.
    pub(crate) opaque: bool,
    /// How long each measurement lasted.
    pub(crate) seconds: f64,
    pub(crate) scenarios: Vec<Measured>,
}

/// Where it ran.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cpus: usize,
    cpu: String,
    kernel: String,
}

/// One scenario.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) scenario: String,
    /// Requests a second at which latencies were taken.
    pub(crate) paced_rate: f64,
    pub(crate) direct: Figures,
    pub(crate) netting: Figures,
    pub(crate) envoy: Figures,
    /// What was asked for beyond the figures.
    pub(crate) extra: Vec<Extra>,
}

impl Machine {
    pub(crate) fn here() -> anyhow::Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").context("/proc is not mounted")?;
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| line.split_once(": "));
        Ok(Self {
            cpus: thread::available_parallelism()?.get(),
            cpu: model.map_or("unknown", |(_, model)| model).to_owned(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
        })
    }
}

/// The first three numbers of `/proc/loadavg`.
pub(crate) fn load_average() -> anyhow::Result<String> {
    let line = fs::read_to_string("/proc/loadavg").context("/proc is not mounted")?;
    Ok(line.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

impl Report {
    pub(crate) fn heading(&self) -> String {
        let Machine { cpus, cpu, kernel } = &self.machine;
        let opaque = match self.opaque {
            true => "the sidecars relay bytes only; ",
            false => "",
        };
        format!(
            "{}, {cpus} CPUs ({cpu}), Linux {kernel}, load average {} before\n\
             {opaque}medians of {} rounds of {} s; CPU and memory are the proxies' alone\n",
            self.started_at, self.load_average_before, self.rounds, self.seconds
        )
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, .. } = self;
        let paced = format!("at {:.0}/s", self.paced_rate);
        line(f, scenario, ["direct", "netting", "envoy", "ratio", ""])?;
        let rate = [&self.direct, &self.netting, &self.envoy];
        let rate = rate.map(|figures| Some(figures.requests_per_second));
        row(f, "requests/s", 0, rate, None)?;
        let mut cost = |name: &str, decimals, figure: fn(&Cost) -> f64, target| {
            let of = |figures: &Figures| figures.cost.as_ref().map(figure);
            let values = [None, of(&self.netting), of(&self.envoy)];
            row(f, name, decimals, values, target)
        };
        let cpu = Some(Target::OfEnvoy(CPU_TARGET));
        cost("CPU µs/request", 1, |cost| cost.cpu_us_per_request, cpu)?;
        let name = format!("CPU µs/request {paced}");
        cost(&name, 1, |cost| cost.paced_cpu_us_per_request, None)?;
        let name = format!("added p50 µs {paced}");
        cost(&name, 0, |cost| cost.added_p50_us, None)?;
        let name = format!("added p99 µs {paced}");
        let p99 = Some(Target::OfEnvoy(ADDED_P99_TARGET));
        cost(&name, 0, |cost| cost.added_p99_us, p99)?;
        cost(
            "MB each, idle",
            1,
            |cost| megabytes(cost.memory.idle_bytes),
            None,
        )?;
        let is_its = scenario == MEMORY_TARGET_SCENARIO;
        let loaded = is_its.then_some(Target::Below(MEMORY_TARGET_BYTES / 1e6));
        cost(
            "MB each, loaded",
            1,
            |cost| megabytes(cost.memory.loaded_bytes),
            loaded,
        )?;
        cost(
            "MB each, afterwards",
            1,
            |cost| megabytes(cost.memory.after_bytes),
            None,
        )?;
        self.extra.iter().try_for_each(|extra| write!(f, "{extra}"))
    }
}

enum Target {
    /// A part of what Envoy costs.
    OfEnvoy(f64),
    /// An amount.
    Below(f64),
}

/// One figure of direct, Netting and Envoy, the last two's ratio, and what it should be.
fn row(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    decimals: usize,
    values: [Option<f64>; 3],
    target: Option<Target>,
) -> fmt::Result {
    let ratio = match values {
        // Noise can make what is added negative, which has no ratio.
        [_, Some(netting), Some(envoy)] if envoy > 0.0 => Some(netting / envoy),
        _ => None,
    };
    let [direct, netting, envoy] =
        values.map(|value| value.map_or_else(String::new, |value| format!("{value:.decimals$}")));
    let verdict = target.map(|target| target.verdict(values[1], ratio));
    let ratio = ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
    let verdict = verdict.unwrap_or_default();
    line(f, name, [&direct, &netting, &envoy, &ratio, &verdict])
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, cells: [&str; 5]) -> fmt::Result {
    let [direct, netting, envoy, ratio, verdict] = cells;
    let line = format!("{name:<28} {direct:>9} {netting:>9} {envoy:>9} {ratio:>7}   {verdict}");
    writeln!(f, "{}", line.trim_end())
}

impl Target {
    fn verdict(&self, netting: Option<f64>, ratio: Option<f64>) -> String {
        let (is, most, unit) = match *self {
            Target::OfEnvoy(most) => (ratio, most, ""),
            Target::Below(most) => (netting, most, " MB"),
        };
        match is {
            None => format!("target {most}{unit}: cannot be told"),
            Some(is) if is <= most => format!("target {most}{unit}: met"),
            Some(_) => format!("target {most}{unit}: missed"),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "no process has 2^53 bytes")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{Memory, Round};

    fn figures(us: f64, mb: u64) -> Figures {
        let round = Round {
            requests_per_second: 1000.0,
            cpu_us_per_request: us,
            paced_cpu_us_per_request: us,
            p50_us: us,
            p99_us: us,
        };
        let memory = Memory {
            idle_bytes: mb * 1_000_000,
            loaded_bytes: mb * 1_000_000,
            after_bytes: mb * 1_000_000,
        };
        let direct = Round {
            p99_us: 10.0,
            ..round
        };
        Figures::of_proxies(&[round], &[direct], memory)
    }

    fn measured(netting: Figures, envoy: Figures) -> String {
        let measured = Measured {
            scenario: MEMORY_TARGET_SCENARIO.to_owned(),
            paced_rate: 200.0,
            direct: Figures::of_direct(&netting.rounds),
            netting,
            envoy,
            extra: Vec::new(),
        };
        measured.to_string()
    }

    #[test]
    fn a_target_that_is_missed_is_told() {
        let table = measured(figures(50.0, 11), figures(100.0, 40));
        let missed: Vec<_> = table.lines().filter(|l| l.ends_with("missed")).collect();
        assert_eq!(missed.len(), 2, "{table}");
        assert!(missed[0].starts_with("CPU µs/request") && missed[0].contains("0.50"));
        assert!(missed[1].starts_with("MB each, loaded"), "{table}");
    }

    #[test]
    fn what_envoy_does_not_add_has_no_ratio() {
        let table = measured(figures(50.0, 5), figures(5.0, 40));
        let told = "target 0.7: cannot be told";
        assert!(table.lines().any(|line| line.ends_with(told)), "{table}");
    }

    #[test]
    fn targets_that_are_met_are_told_too() {
        let table = measured(figures(30.0, 5), figures(100.0, 40));
        let met = table.lines().filter(|line| line.ends_with("met"));
        assert_eq!(met.count(), 3, "{table}");
    }
}
