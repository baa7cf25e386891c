//! One scenario: direct, Netting and Envoy in turns, so that what else the machine does meets all
//! of them alike.

use std::{thread, time::Duration};

use anyhow::Context as _;

use crate::{
    args::Plan,
    figures::{Figures, Memory, Round, median},
    inside,
    load::{paced, saturating},
    report::Measured,
    scenario::Scenario,
    subject::Subject,
    testbed::Testbed,
};

/// Connections are made, caches filled and the catalog's answer is there, before anything counts.
const WARM_UP: Duration = Duration::from_secs(1);
/// What a proxy gives back, it gives back within this.
const COOL_DOWN: Duration = Duration::from_secs(2);
/// The fixed rate, as a part of what goes without a proxy.
const PACED_PART: f64 = 0.2;
/// It is less where that is more than this part of what goes through the slowest proxies: latencies
/// tell nothing when requests pile up.
const PACED_PART_OF_SLOWEST: f64 = 0.5;

/// What a client saw, and the proxies' CPU time for it.
type Counted<Seen> = (Seen, Duration);

/// Measures `scenario` with fresh proxies.
pub(crate) fn scenario(
    testbed: &Testbed,
    scenario: Scenario,
    plan: &Plan,
) -> anyhow::Result<Measured> {
    let subjects = testbed.subjects(scenario.protocol)?;
    let idle = memories(&subjects, |memory| memory.resident)?;
    for subject in &subjects {
        saturate(subject, scenario, WARM_UP)?;
    }
    testbed.check_meshed()?;

    let mut saturated = Vec::new();
    for _ in 0..plan.rounds {
        saturated.push(each(&subjects, |subject| {
            saturate(subject, scenario, plan.duration)
        })?);
    }
    let paced_rate = paced_rate(&saturated);
    let mut rounds = [const { Vec::new() }; 3];
    for saturated in saturated {
        let paced = each(&subjects, |subject| {
            pace(subject, scenario, paced_rate, plan.duration)
        })?;
        for (rounds, seen) in rounds.iter_mut().zip(saturated.into_iter().zip(paced)) {
            rounds.push(round(seen));
        }
    }
    let loaded = memories(&subjects, |memory| memory.peak)?;
    let extra = inside::look(&subjects, scenario, plan, &testbed.logs)?;
    thread::sleep(COOL_DOWN);
    let after = memories(&subjects, |memory| memory.resident)?;

    let [direct, netting, envoy] = rounds;
    let memory = |subject: usize| Memory {
        idle_bytes: idle[subject],
        loaded_bytes: loaded[subject],
        after_bytes: after[subject],
    };
    Ok(Measured {
        scenario: scenario.to_string(),
        paced_rate,
        netting: Figures::of_proxies(&netting, &direct, memory(1)),
        envoy: Figures::of_proxies(&envoy, &direct, memory(2)),
        direct: Figures::of_direct(&direct),
        extra,
    })
}

fn each<'a, R>(
    subjects: &[Subject<'a>; 3],
    mut measure: impl FnMut(&Subject<'a>) -> anyhow::Result<R>,
) -> anyhow::Result<[R; 3]> {
    let mut named = |subject: &Subject<'a>| {
        measure(subject).with_context(|| format!("measuring {}", subject.kind.as_str()))
    };
    let [direct, netting, envoy] = subjects;
    Ok([named(direct)?, named(netting)?, named(envoy)?])
}

fn memories(
    subjects: &[Subject<'_>; 3],
    which: fn(crate::process::Memory) -> u64,
) -> anyhow::Result<[u64; 3]> {
    each(subjects, |subject| subject.memory(which))
}

fn saturate(
    subject: &Subject<'_>,
    scenario: Scenario,
    duration: Duration,
) -> anyhow::Result<Counted<saturating::Saturated>> {
    let before = subject.cpu_time()?;
    let saturated = saturating::run(subject.client, subject.target, scenario, duration)?;
    Ok((saturated, subject.cpu_time()? - before))
}

/// The same for all, so that what they add can be compared.
fn paced_rate(saturated: &[[Counted<saturating::Saturated>; 3]]) -> f64 {
    let rates = |subject: usize| {
        let rounds = saturated.iter();
        median(rounds.map(|round| round[subject].0.requests_per_second))
    };
    let slowest = rates(1).min(rates(2));
    (rates(0) * PACED_PART).min(slowest * PACED_PART_OF_SLOWEST)
}

fn pace(
    subject: &Subject<'_>,
    scenario: Scenario,
    rate: f64,
    duration: Duration,
) -> anyhow::Result<Counted<paced::Latencies>> {
    let before = subject.cpu_time()?;
    let latencies = paced::run(subject.client, subject.target, scenario, rate, duration)?;
    Ok((latencies, subject.cpu_time()? - before))
}

fn round(
    ((saturated, saturated_cpu), (paced, paced_cpu)): (
        Counted<saturating::Saturated>,
        Counted<paced::Latencies>,
    ),
) -> Round {
    Round {
        requests_per_second: saturated.requests_per_second,
        cpu_us_per_request: microseconds_each(saturated_cpu, saturated.requests),
        paced_cpu_us_per_request: microseconds_each(paced_cpu, paced.requests),
        p50_us: microseconds_each(paced.p50, 1),
        p99_us: microseconds_each(paced.p99, 1),
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody sends 2^53 requests")]
pub(crate) fn microseconds_each(time: Duration, requests: u64) -> f64 {
    time.as_secs_f64() * 1e6 / requests as f64
}
