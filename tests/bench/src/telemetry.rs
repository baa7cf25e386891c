//! What telemetry costs the proxies: the same requests through the same two sidecars, with more and
//! more of it.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::Context as _;

use crate::{
    args::Plan,
    figures::median,
    load::saturating,
    measure::microseconds_each,
    scenario::Scenario,
    testbed::{Meshed, Testbed},
};

/// Connections are made and series there before anything counts.
const WARM_UP: Duration = Duration::from_secs(1);
/// Far more often than anybody scrapes, or sends.
const EVERY: Duration = Duration::from_secs(1);

/// How much telemetry there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    /// Instruments, which are always there, and nobody to tell.
    Nothing,
    /// Prometheus, which scrapes every second.
    Prometheus,
    /// Every exporter there is, each sending every second, and one request in a hundred traced.
    Exporters,
    /// The same, with a span and a line of the access log for every request.
    Everything,
}

const ALL: [Amount; 4] = [
    Amount::Nothing,
    Amount::Prometheus,
    Amount::Exporters,
    Amount::Everything,
];

impl Amount {
    fn as_str(self) -> &'static str {
        match self {
            Amount::Nothing => "none",
            Amount::Prometheus => "prometheus",
            Amount::Exporters => "all exporters",
            Amount::Everything => "all, each request traced and logged",
        }
    }

    /// The sidecars' flags for it. `backends` are all exporters' targets.
    fn flags(self, backends: &str) -> Vec<String> {
        let telemetry = |list: &str| format!("--telemetry={list}");
        match self {
            Amount::Nothing => vec![telemetry("none")],
            Amount::Prometheus => vec![telemetry("prometheus")],
            Amount::Exporters => vec![telemetry(backends)],
            Amount::Everything => vec![
                telemetry(backends),
                "--trace-ratio=1".to_owned(),
                "--access-log=all".to_owned(),
                "--access-log-to=none".to_owned(),
            ],
        }
    }
}

/// One amount's medians over the rounds.
#[derive(Debug)]
pub(crate) struct Measured {
    amount: Amount,
    requests_per_second: f64,
    cpu_us_per_request: f64,
    /// Resident memory of the greater of both sidecars, at most.
    memory_bytes: u64,
}

/// One round of one amount.
struct Round {
    requests_per_second: f64,
    cpu_us_per_request: f64,
    memory_bytes: u64,
}

/// Measures `scenario` with each amount of telemetry, in turns.
pub(crate) fn scenario(
    testbed: &Testbed,
    scenario: Scenario,
    plan: &Plan,
) -> anyhow::Result<Vec<Measured>> {
    let backends = testbed.backends()?;
    let mut rounds = ALL.map(|amount| (amount, Vec::new()));
    for _ in 0..plan.rounds {
        for (amount, rounds) in &mut rounds {
            let flags = amount.flags(&backends.as_telemetry());
            let meshed = testbed.meshed(scenario.protocol, &flags)?;
            let round = round(&meshed, *amount, scenario, plan.duration)
                .with_context(|| format!("with telemetry: {}", amount.as_str()))?;
            rounds.push(round);
        }
    }
    Ok(rounds
        .map(|(amount, rounds)| measured(amount, &rounds))
        .into())
}

fn round(
    meshed: &Meshed<'_>,
    amount: Amount,
    scenario: Scenario,
    duration: Duration,
) -> anyhow::Result<Round> {
    let subject = &meshed.subject;
    let load = |duration| saturating::run(subject.client, subject.target, scenario, duration);
    load(WARM_UP)?;
    let before = subject.cpu_time()?;
    let is_over = AtomicBool::new(false);
    let saturated = thread::scope(|scope| {
        let scraped = scope.spawn(|| match amount {
            Amount::Nothing => Ok(()),
            _ => scrape(meshed, &is_over),
        });
        let saturated = load(duration);
        is_over.store(true, Ordering::Relaxed);
        let scraped = scraped.join();
        scraped.map_err(|_| anyhow::anyhow!("the scraper panicked"))??;
        saturated
    })?;
    let used = subject.cpu_time()? - before;
    // With a span and a line for each of so many requests, no backend can keep up.
    if amount == Amount::Exporters {
        meshed.check_exported()?;
    }
    Ok(Round {
        requests_per_second: saturated.requests_per_second,
        cpu_us_per_request: microseconds_each(used, saturated.requests),
        memory_bytes: subject.memory(|memory| memory.peak)?,
    })
}

fn scrape(meshed: &Meshed<'_>, is_over: &AtomicBool) -> anyhow::Result<()> {
    while !is_over.load(Ordering::Relaxed) {
        thread::sleep(EVERY);
        meshed.scrape().context("scraping")?;
    }
    Ok(())
}

fn measured(amount: Amount, rounds: &[Round]) -> Measured {
    Measured {
        amount,
        requests_per_second: median(rounds.iter().map(|round| round.requests_per_second)),
        cpu_us_per_request: median(rounds.iter().map(|round| round.cpu_us_per_request)),
        memory_bytes: rounds
            .iter()
            .map(|round| round.memory_bytes)
            .max()
            .unwrap_or_default(),
    }
}

impl fmt::Display for Measured {
    #[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 bytes")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<36} {:>10.0} {:>12.1} {:>8.1}",
            self.amount.as_str(),
            self.requests_per_second,
            self.cpu_us_per_request,
            self.memory_bytes as f64 / 1e6,
        )
    }
}

/// The columns' names.
pub(crate) fn heading(scenario: Scenario) -> String {
    format!(
        "{:<36} {:>10} {:>12} {:>8}",
        format!("{scenario}, telemetry"),
        "requests/s",
        "CPU µs each",
        "MB each"
    )
}
