//! Load, while endpoints come and go, replicas are killed and pods are deleted: no request
//! fails that a retry may save, and memory stays as it is.
//!
//! Takes `NETTING_SOAK_SECONDS`, a few if that is not set; `hack/soak.sh` runs it for
//! longer and shows what came of it.

mod app;
mod catalog;
mod client;
mod end;
mod load;
mod replica;
mod service;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use self::{
    app::Seen,
    catalog::Services,
    end::{End, end},
    load::Load,
    replica::{Replica, Slot},
    service::SERVICES,
};
use crate::harness::{
    namespace::{Namespace, dst},
    node::Node,
    sidecar::{Sidecar, admin, wait_for},
};

/// One endpoint at a time comes and goes, once in this long.
const STEP: Duration = Duration::from_secs(1);
/// Without it, the first connections pass through if the catalog is slow, and nobody is there.
const ENVIRONMENT: [(&str, &str); 1] = [("NETTING_DISCOVERY_TIMEOUT", "60s")];
/// Without a wish.
const SECONDS: u64 = 8;
/// Memory may grow by so much while caches and pools fill.
const GROWTH_KB: u64 = 1024;

/// The client's pod, and what it calls.
struct Cluster {
    sidecar: Sidecar,
    client: Namespace,
    node: Node,
    services: Services,
    seen: Arc<Seen>,
}

/// Lets the loads end, also when the test fails.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

impl Cluster {
    /// Without replicas yet.
    fn start() -> Self {
        let (node, services) = (Node::new(), Services::new());
        let (listener, serving) = (node.listen(dst("10.0.0.1", 15010)), services.clone());
        thread::spawn(move || serving.serve(listener));
        let client = node.pod("client", "10.0.0.2");
        let sidecar = Sidecar::start_with(&client, &ENVIRONMENT);
        wait_for(&client, "/instruments", "\nnetting_discovery_connected 1\n");
        Self {
            sidecar,
            client,
            node,
            services,
            seen: Arc::default(),
        }
    }

    /// Has each replica end once at least, and samples the memory of the client's sidecar.
    fn churn(&self, replicas: &mut [Replica], until: Instant) -> (Vec<End>, Vec<u64>) {
        let (mut ends, mut resident) = (Vec::new(), Vec::new());
        for (round, slot) in (0..).flat_map(|round| Slot::all().map(move |slot| (round, slot))) {
            let begun = Instant::now();
            if round > 0 && begun >= until {
                break;
            }
            let replica = &mut replicas[usize::from(slot.number())];
            end(&self.node, &self.services, slot, replica);
            replica.start(&self.node);
            self.services.publish(Slot::all());
            resident.push(self.sidecar.resident_kb());
            thread::sleep(STEP.saturating_sub(begun.elapsed()));
            let (way, over) = (slot.way(), Instant::now());
            ends.push(End { way, begun, over });
        }
        (ends, resident)
    }

    /// What the client's sidecar has counted of this.
    fn count(&self, name: &str, label: &str) -> u64 {
        let metrics = admin(&self.client, "/instruments").expect("the admin port answers");
        let is_it = |line: &&str| line.starts_with(name) && line.contains(label);
        let counts = metrics.lines().filter(is_it);
        let counts = counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        counts.sum()
    }

    fn assert_none_failed(&self, loads: &[Load], ends: &[End]) {
        // A retry rule that has been used up covers nothing more.
        let spent = self.count("netting_tcp_limits_reached_total{", "retry_budget_spent");
        let failed: usize = loads.iter().map(Load::failed).sum();
        assert!(failed as u64 <= spent, "{failed} failed");
        for load in loads {
            assert!(load.answered > 0, "{load}");
            load.assert_lost_at(ends, &self.seen);
        }
    }

    /// Otherwise nothing was proven.
    fn assert_hit(&self) {
        let retried = |reason| self.count("netting_http_request_retries_total{", reason);
        assert!(retried("connect_refused") > 0, "nobody was killed");
        assert!(retried("stream_refused") > 0, "nobody refused a stream");
        assert!(self.seen.refused() > 0, "nobody refused a stream");
        let deltas = self.count("netting_discovery_messages_total{", "delta");
        assert!(deltas > 0, "nobody was sent a delta");
        assert_eq!(self.services.subscribed(), SERVICES.len());
    }
}

fn assert_flat(resident: &[u64]) {
    let third = resident.len().div_ceil(3);
    let most = |samples: &[u64]| samples.iter().copied().max().unwrap_or_default();
    let (early, late) = (
        most(&resident[..third]),
        most(&resident[resident.len() - third..]),
    );
    assert!(
        late <= early + GROWTH_KB,
        "it grew from {early} kB to {late} kB: {resident:?}"
    );
}

#[test]
fn endpoints_that_come_and_go_cost_no_request_and_no_memory() {
    let seconds = std::env::var("NETTING_SOAK_SECONDS");
    let seconds = seconds.map_or(SECONDS, |text| text.parse().expect("a number of seconds"));
    let cluster = Cluster::start();
    let replica = |slot| Replica::new(&cluster.node, slot, &cluster.seen);
    let mut replicas: Vec<_> = Slot::all().map(replica).collect();
    cluster.services.publish(Slot::all());
    let begun = Instant::now();
    let stopped = Arc::default();
    let (loads, (ends, resident)) = thread::scope(|scope| {
        let stop = Stop(Arc::clone(&stopped));
        let loads = SERVICES.map(|service| {
            let (client, stopped) = (&cluster.client, &stopped);
            scope.spawn(move || client.run(|| Load::run(service, stopped)))
        });
        let churned = cluster.churn(&mut replicas, begun + Duration::from_secs(seconds));
        drop(stop);
        let loads = loads.map(|load| load.join().expect("it does not panic"));
        (loads, churned)
    });
    println!(
        "{} replicas ended in {:?}; resident at first {} kB, at last {} kB",
        ends.len(),
        begun.elapsed(),
        resident.first().copied().unwrap_or_default(),
        resident.last().copied().unwrap_or_default(),
    );
    for load in &loads {
        println!("{load}");
    }
    cluster.assert_none_failed(&loads, &ends);
    cluster.assert_hit();
    assert_flat(&resident);
}
