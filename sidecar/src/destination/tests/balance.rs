//! Many requests in simulated time: who gets how many of them.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use super::*;

/// An endpoint as the simulation has it: it works on one request at a time, so that
/// what comes faster than it works waits.
struct Server {
    addr: EndpointAddr,
    service_time: Duration,
    free_at: Instant,
    requests: u32,
    busy: Duration,
    failing: bool,
}

struct World {
    destination: Destination,
    servers: Vec<Server>,
    now: Instant,
    /// When each response comes, and which it is.
    responses: BinaryHeap<Reverse<(Instant, usize)>>,
    in_flight: Vec<Option<(InFlight, bool)>>,
}

impl World {
    fn of(service_times_ms: &[u64]) -> Self {
        fastrand::seed(7);
        let address = |n: usize| format!("10.0.0.{}:80", n + 1);
        let endpoints = (0..service_times_ms.len()).map(|n| endpoint(&address(n)));
        let destination = destination(endpoints.collect());
        let now = Instant::now();
        let servers = service_times_ms.iter().enumerate().map(|(n, ms)| Server {
            addr: addr(&address(n)),
            service_time: Duration::from_millis(*ms),
            free_at: now,
            requests: 0,
            busy: Duration::ZERO,
            failing: false,
        });
        Self {
            destination,
            servers: servers.collect(),
            now,
            responses: BinaryHeap::new(),
            in_flight: Vec::new(),
        }
    }

    /// Requests come at random times, so many a second on average.
    fn run(&mut self, a_second: f64, lasts: Duration) {
        let end = self.now + lasts;
        for server in &mut self.servers {
            (server.requests, server.busy) = (0, Duration::ZERO);
        }
        while self.now < end {
            let pause = -(1.0 - fastrand::f64()).ln() / a_second;
            let next = self.now + Duration::from_secs_f64(pause);
            self.answer_until(next);
            self.now = next;
            self.request();
        }
        self.answer_until(end + Duration::from_secs(3600));
        self.now = end;
    }

    fn request(&mut self) {
        let chosen = self.destination.choose(Unit::Request, &[], self.now);
        let chosen = chosen.expect("there are endpoints");
        let server = self.servers.iter_mut().find(|s| s.addr == chosen.addr());
        let server = server.expect("it is one of them");
        let jitter = 0.8 + 0.4 * fastrand::f64();
        let service_time = server.service_time.mul_f64(jitter);
        server.requests += 1;
        server.busy += service_time;
        server.free_at = server.free_at.max(self.now) + service_time;
        let answered = Reverse((server.free_at, self.in_flight.len()));
        self.responses.push(answered);
        let request = chosen.begin(self.now);
        self.in_flight.push(Some((request, server.failing)));
    }

    fn answer_until(&mut self, until: Instant) {
        while let Some(Reverse((at, which))) = self.responses.peek().copied()
            && at <= until
        {
            self.responses.pop();
            let (mut request, failing) = self.in_flight[which].take().expect("it comes once");
            let outcome = if failing {
                Outcome::Unavailable
            } else {
                Outcome::Success
            };
            request.record(outcome, at);
        }
    }

    fn shares(&self, of: impl Fn(&Server) -> f64) -> Vec<f64> {
        let sum: f64 = self.servers.iter().map(&of).sum();
        self.servers.iter().map(|server| of(server) / sum).collect()
    }

    fn shares_of_requests(&self) -> Vec<f64> {
        self.shares(|server| f64::from(server.requests))
    }

    fn shares_of_work(&self) -> Vec<f64> {
        self.shares(|server| server.busy.as_secs_f64())
    }
}

#[test]
fn equal_endpoints_get_equally_many_requests() {
    let mut world = World::of(&[1, 1, 1, 1]);
    for a_second in [200.0, 1000.0, 3000.0] {
        world.run(a_second, Duration::from_secs(20));
        for share in world.shares_of_requests() {
            assert!((0.225..=0.275).contains(&share), "{share} at {a_second}/s");
        }
    }
}

#[test]
fn a_slow_endpoint_gets_its_share_of_the_work_and_not_of_the_requests() {
    let mut world = World::of(&[4, 1, 1, 1]);
    for a_second in [1500.0, 2500.0] {
        world.run(a_second, Duration::from_secs(20));
        let (requests, work) = (world.shares_of_requests()[0], world.shares_of_work()[0]);
        assert!(
            (0.02..=0.09).contains(&requests),
            "{requests} of the requests"
        );
        assert!((0.125..=0.26).contains(&work), "{work} of the work");
    }
}

#[test]
fn an_endpoint_that_is_slow_without_need_is_hardly_used_but_not_forgotten() {
    let mut world = World::of(&[100, 1, 1, 1]);
    world.run(500.0, Duration::from_secs(30));
    let slow = world.servers[0].requests;
    assert!((3..=60).contains(&slow), "{slow} requests in 30 seconds");
}

#[test]
fn a_new_endpoint_is_neither_flooded_nor_starved() {
    let mut world = World::of(&[1, 1, 1, 1]);
    let others = (1..=3).map(|n| endpoint(&format!("10.0.0.{n}:80")));
    world.destination = destination(others.collect());
    world.run(2000.0, Duration::from_secs(5));
    // It comes in, and is slow at first.
    world.destination = Destination::from_snapshot(
        service(
            false,
            (1..=4)
                .map(|n| endpoint(&format!("10.0.0.{n}:80")))
                .collect(),
        ),
        Some(&world.destination),
        &Place::default(),
    )
    .expect("a good snapshot");
    world.servers[3].service_time = Duration::from_millis(50);
    world.run(2000.0, Duration::from_millis(500));
    let first = world.servers[3].requests;
    assert!((1..=40).contains(&first), "{first} while it is slow");
    world.servers[3].service_time = Duration::from_millis(1);
    world.run(2000.0, Duration::from_secs(10));
    world.run(2000.0, Duration::from_secs(10));
    let share = world.shares_of_requests()[3];
    assert!((0.20..=0.30).contains(&share), "{share} once it is warm");
}

#[test]
fn a_restarted_endpoint_is_back_within_seconds() {
    let mut world = World::of(&[1, 1, 1, 1]);
    world.run(1000.0, Duration::from_secs(5));
    // It fails for eight seconds, and is ejected for ten, a fifth more or less.
    world.servers[0].failing = true;
    world.run(1000.0, Duration::from_secs(8));
    let failed = world.servers[0].requests;
    assert!((5..=10).contains(&failed), "{failed} requests failed");
    world.servers[0].failing = false;
    world.run(1000.0, Duration::from_secs(5));
    world.run(1000.0, Duration::from_secs(5));
    let share = world.shares_of_requests()[0];
    assert!((0.20..=0.30).contains(&share), "{share} after its return");
}

#[test]
fn an_endpoint_that_could_not_be_connected_is_back_within_seconds() {
    let mut world = World::of(&[1, 1, 1, 1]);
    world.run(1000.0, Duration::from_secs(5));
    let broken = world.servers[0].addr;
    let others: Vec<_> = world.servers[1..].iter().map(|s| s.addr).collect();
    let chosen = world.destination.choose(Unit::Request, &others, world.now);
    let chosen = chosen.filter(|chosen| chosen.addr() == broken);
    chosen.expect("the only one left").failed(world.now);
    world.run(1000.0, Duration::from_secs(1));
    assert!(world.servers[0].requests <= 5);
    world.run(1000.0, Duration::from_secs(5));
    let share = world.shares_of_requests()[0];
    assert!((0.20..=0.30).contains(&share), "{share} after its return");
}
