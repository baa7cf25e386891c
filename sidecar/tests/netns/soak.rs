//! Load, while endpoints come and go and replicas are killed: no request fails that a
//! retry may save, and memory stays as it is.
//!
//! Takes `NETTING_SOAK_SECONDS`, a few if that is not set; `hack/soak.sh` runs it for
//! longer and shows what came of it.

pub(crate) mod catalog;
pub(crate) mod load;
mod replica;

use std::{
    thread,
    time::{Duration, Instant},
};

use self::{
    catalog::Services,
    load::{Load, Speaks},
    replica::{Replica, SLOTS},
};
use crate::harness::pod::Pod;

/// One endpoint at a time comes and goes, once in this long.
const STEP: Duration = Duration::from_secs(1);
/// The catalog hears of a replica's death so much later.
const UNNOTICED: Duration = Duration::from_millis(300);
/// Without a wish.
const SECONDS: u64 = 8;
/// Memory may grow by so much while caches and pools fill.
const GROWTH_KB: u64 = 1024;

/// Lets replicas come and go, and samples memory.
fn churn(pod: &Pod, services: &Services, mut replicas: Vec<Replica>, until: Instant) -> Vec<u64> {
    let mut resident = Vec::new();
    let all: Vec<_> = (0..SLOTS).collect();
    for step in 0.. {
        let begun = Instant::now();
        if begun >= until {
            break;
        }
        let slot = step % SLOTS;
        let others: Vec<_> = (0..SLOTS).filter(|other| *other != slot).collect();
        // Every other one is killed; the rest go as they should, removed first.
        if step % 2 == 0 {
            replicas[slot].kill();
            thread::sleep(UNNOTICED);
            services.publish(&others);
        } else {
            services.publish(&others);
            thread::sleep(UNNOTICED);
            replicas[slot].kill();
        }
        replicas[slot] = Replica::start(pod, slot);
        services.publish(&all);
        resident.push(pod.resident_kb());
        thread::sleep(STEP.saturating_sub(begun.elapsed()));
    }
    resident
}

#[test]
fn endpoints_that_come_and_go_cost_no_request_and_no_memory() {
    let seconds = std::env::var("NETTING_SOAK_SECONDS");
    let seconds = seconds.map_or(SECONDS, |text| text.parse().expect("a number of seconds"));
    let services = Services::new();
    let serving = services.clone();
    let pod = Pod::start_with_catalog(move |listener| serving.serve(listener));
    let replicas = (0..SLOTS).map(|slot| Replica::start(&pod, slot)).collect();
    services.publish(&(0..SLOTS).collect::<Vec<_>>());
    let until = Instant::now() + Duration::from_secs(seconds);
    let (resident, loads) = thread::scope(|scope| {
        let loads = [Speaks::Http1, Speaks::Http2].map(|speaks| {
            let pod = &pod;
            scope.spawn(move || pod.run(|| Load::run(speaks, until)))
        });
        let resident = churn(&pod, &services, replicas, until + STEP);
        let ended = loads.map(|load| load.join().expect("it does not panic"));
        (resident, ended)
    });
    let metrics = pod.admin("/metrics");
    let retries = metrics
        .lines()
        .filter(|line| line.contains("_request_retries_total{"));
    for line in retries {
        println!("{line}");
    }
    println!("resident kB, once a second: {resident:?}");
    for load in &loads {
        println!("{load}");
        load.assert_none_failed();
    }
    let killed = r#"_request_retries_total{direction="outbound",reason="connect_refused""#;
    assert!(metrics.contains(killed), "nobody was killed: {metrics}");
    let third = resident.len().div_ceil(3);
    let most = |samples: &[u64]| samples.iter().copied().max().unwrap_or_default();
    let (early, late) = (
        most(&resident[..third]),
        most(&resident[resident.len() - third..]),
    );
    assert!(
        late <= early + GROWTH_KB,
        "it grew from {early} kB to {late} kB"
    );
}
