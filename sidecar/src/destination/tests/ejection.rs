//! Endpoints that fail, and requests that wait.

use std::time::Duration;

use super::*;

fn four() -> Destination {
    destination(
        (1..=4)
            .map(|n| endpoint(&format!("10.0.0.{n}:80")))
            .collect(),
    )
}

/// Sends a request to one endpoint of the destination.
fn send(destination: &Destination, to: &str, outcome: Outcome, now: Instant) {
    let to = addr(to);
    let endpoint = destination.endpoint_at(to).expect("it is one of them");
    let among = Arc::clone(&destination.candidates);
    let chosen = Chosen::new(Arc::clone(endpoint), among, Unit::Request);
    chosen.begin(now).record(outcome, now);
}

fn ejected(destination: &Destination, now: Instant) -> Vec<String> {
    let ejected = destination
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.ejected_until(now).is_some());
    ejected.map(|endpoint| endpoint.addr.to_string()).collect()
}

fn ejected_of(destination: &Destination, at: &str, now: Instant) -> Option<Instant> {
    let endpoint = destination.endpoint_at(addr(at));
    endpoint.expect("it is one of them").ejected_until(now)
}

fn with_policy(policy: v1::ServicePolicy, endpoints: Vec<v1::Endpoint>) -> Destination {
    let mut snapshot = service(false, endpoints);
    if let Some(destination) = &mut snapshot.destination {
        destination.policy = Some(policy);
    }
    Destination::from_snapshot(snapshot, None, &Place::default()).expect("a good snapshot")
}

#[test]
fn five_failures_in_a_row_eject_and_a_success_between_does_not() {
    let (four, now) = (four(), Instant::now());
    for outcome in [
        Outcome::Unavailable,
        Outcome::Reset,
        Outcome::TimedOut,
        Outcome::ConnectFailed,
        Outcome::Success,
        Outcome::Unavailable,
        Outcome::Unavailable,
        Outcome::Unavailable,
        Outcome::ServerError,
        Outcome::Cancelled,
        Outcome::Refused,
        Outcome::Unavailable,
    ] {
        send(&four, "10.0.0.1:80", outcome, now);
        assert_eq!(ejected(&four, now), [""; 0]);
    }
    send(&four, "10.0.0.1:80", Outcome::Unavailable, now);
    assert_eq!(ejected(&four, now), ["10.0.0.1:80"]);
    for _ in 0..100 {
        let next = four.choose(Unit::Request, &[], now).expect("others");
        assert_ne!(next.addr(), addr("10.0.0.1:80"));
    }
    assert_eq!(ejected(&four, now + Duration::from_secs(12)), [""; 0]);
}

#[test]
fn a_service_says_when_and_for_how_long() {
    let two = || vec![endpoint("10.0.0.1:80"), endpoint("10.0.0.2:80")];
    let policy = v1::ServicePolicy {
        eject_after: Some(1),
        eject_for_ms: Some(100),
        ..Default::default()
    };
    let now = Instant::now();
    let strict = with_policy(policy, two());
    send(&strict, "10.0.0.1:80", Outcome::Unavailable, now);
    assert_eq!(ejected(&strict, now), ["10.0.0.1:80"]);
    assert_eq!(ejected(&strict, now + Duration::from_millis(120)), [""; 0]);
    let never = v1::ServicePolicy {
        eject_after: Some(0),
        ..Default::default()
    };
    let lenient = with_policy(never, two());
    for _ in 0..100 {
        send(&lenient, "10.0.0.1:80", Outcome::Unavailable, now);
    }
    assert_eq!(ejected(&lenient, now), [""; 0]);
}

/// Each of four endpoints is sent so many requests, at even times over twenty seconds.
/// The first one fails every other, the rest every so manyth. Returns which was ejected
/// first.
fn one_of_four_fails(four: &Destination, requests: u32, others_fail_every: u32) -> Vec<String> {
    let begun = Instant::now();
    for sent in 0..requests {
        let now = begun + Duration::from_secs(20) * sent / requests;
        for n in 1..=4 {
            let every = if n == 1 { 2 } else { others_fail_every };
            let outcome = if sent % every == 0 {
                Outcome::ServerError
            } else {
                Outcome::Success
            };
            send(four, &format!("10.0.0.{n}:80"), outcome, now);
            let ejected = ejected(four, now);
            if !ejected.is_empty() {
                return ejected;
            }
        }
    }
    Vec::new()
}

#[test]
fn one_that_fails_far_more_often_than_the_others_is_ejected() {
    for (requests, others_fail_every, expected) in [
        (100, 1000, &["10.0.0.1:80"][..]),
        (100, 10, &["10.0.0.1:80"]),
        (100, 2, &[]),
        (100, 3, &[]),
        (40, 1000, &[]),
    ] {
        let ejected = one_of_four_fails(&four(), requests, others_fail_every);
        assert_eq!(ejected, expected, "{requests} {others_fail_every}");
    }
}

#[test]
fn what_it_takes_to_stand_out_is_the_services_to_say() {
    let endpoints = || (1..=4).map(|n| endpoint(&format!("10.0.0.{n}:80")));
    for (eject_after, eject_gap_percent, expected) in [
        (None, Some(60), 0),
        (None, Some(0), 0),
        (Some(0), None, 0),
        (Some(0), Some(20), 1),
    ] {
        let policy = v1::ServicePolicy {
            eject_after,
            eject_gap_percent,
            ..Default::default()
        };
        let four = with_policy(policy, endpoints().collect());
        let ejected = one_of_four_fails(&four, 100, 1000);
        let shown = format!("{eject_after:?} {eject_gap_percent:?}");
        assert_eq!(ejected.len(), expected, "{shown}");
    }
}

#[test]
fn half_of_the_endpoints_stay_though_all_fail() {
    let (four, now) = (four(), Instant::now());
    for _ in 0..20 {
        for n in 1..=4 {
            send(&four, &format!("10.0.0.{n}:80"), Outcome::Unavailable, now);
        }
    }
    assert_eq!(ejected(&four, now), ["10.0.0.1:80", "10.0.0.2:80"]);
    let one = destination(vec![endpoint("10.0.0.1:80")]);
    for _ in 0..20 {
        send(&one, "10.0.0.1:80", Outcome::Unavailable, now);
    }
    assert_eq!(ejected(&one, now), [""; 0]);
}

#[test]
fn half_of_those_that_are_left_stay_when_others_go() {
    let (four, now) = (four(), Instant::now());
    for n in 1..=2 {
        for _ in 0..5 {
            send(&four, &format!("10.0.0.{n}:80"), Outcome::Unavailable, now);
        }
    }
    let left = service(
        false,
        vec![endpoint("10.0.0.1:80"), endpoint("10.0.0.2:80")],
    );
    let left = Destination::from_snapshot(left, Some(&four), &Place::default());
    let left = left.expect("a good snapshot");
    left.replace(&four, now);
    assert_eq!(ejected(&left, now).len(), 1);
}

#[test]
fn an_endpoint_that_is_ready_again_is_back_on_probation() {
    let (mut state, mut now) = (four(), Instant::now());
    let failing = "10.0.0.1:80";
    let others = || (2..=4).map(|n| endpoint(&format!("10.0.0.{n}:80")));
    let after = |state: &Destination, first: v1::Endpoint, now| {
        let snapshot = service(false, std::iter::once(first).chain(others()).collect());
        let after = Destination::from_snapshot(snapshot, Some(state), &Place::default());
        let after = after.expect("a good snapshot");
        after.replace(state, now);
        after
    };
    let unready = || v1::Endpoint {
        ready: false,
        ..endpoint(failing)
    };
    // It crashes again and again, and is out for longer each time.
    for _ in 0..4 {
        now = ejected_of(&state, failing, now).unwrap_or(now);
        for _ in 0..5 {
            send(&state, failing, Outcome::Unavailable, now);
        }
    }
    let until = ejected_of(&state, failing, now).expect("it is ejected");
    assert!(until - now > Duration::from_secs(60));
    for same in [endpoint(failing), unready(), unready()] {
        state = after(&state, same, now);
        assert_eq!(ejected_of(&state, failing, now), Some(until), "not ready");
    }
    now += Duration::from_secs(5);
    state = after(&state, endpoint(failing), now);
    assert_eq!(ejected(&state, now), [""; 0]);
    let mut asked = (0..100).filter_map(|_| state.choose(Unit::Request, &[], now));
    assert!(asked.any(|chosen| chosen.addr() == addr(failing)));
    send(&state, failing, Outcome::Unavailable, now);
    assert_eq!(ejected(&state, now), [failing], "one failure is enough");
    state = after(&state, terminating(failing), now);
    let terminates_no_more = unready();
    state = after(&state, terminates_no_more, now);
    assert!(ejected_of(&state, failing, now).is_some());
}

#[test]
fn an_endpoint_is_current_until_the_catalog_takes_it_away() {
    let (before, now) = (four(), Instant::now());
    let held: Vec<_> = before.endpoints.iter().map(Arc::clone).collect();
    let after = service(
        false,
        vec![endpoint("10.0.0.1:80"), terminating("10.0.0.2:80")],
    );
    let after = Destination::from_snapshot(after, Some(&before), &Place::default());
    let after = after.expect("a good snapshot");
    assert!(
        held.iter().all(|endpoint| endpoint.is_current()),
        "not in force yet"
    );
    after.replace(&before, now);
    let current: Vec<_> = held.iter().map(|endpoint| endpoint.is_current()).collect();
    assert_eq!(current, [true, true, false, false]);
    after.retire();
    assert!(held.iter().all(|endpoint| !endpoint.is_current()));
}

#[test]
fn as_many_requests_wait_as_the_service_says() {
    let policy = v1::ServicePolicy {
        max_pending: Some(2),
        ..Default::default()
    };
    let limited = with_policy(policy, vec![]);
    let waiting: Vec<_> = (0..3).map(|_| limited.admit()).collect();
    let admitted: Vec<_> = waiting.iter().map(Option::is_some).collect();
    assert_eq!(admitted, [true, true, false]);
    assert_eq!(limited.waiting(), 2, "who is turned away does not wait");
    drop(waiting);
    assert_eq!(limited.waiting(), 0);
    assert!(limited.admit().is_some());
    let unlimited = destination(vec![]);
    let waiting: Vec<_> = (0..1000).filter_map(|_| unlimited.admit()).collect();
    assert_eq!(waiting.len(), 1000);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_was_cancelled_and_is_pending_no_more() {
    let one = destination(vec![endpoint("10.0.0.1:80")]);
    let send = || {
        let now = Instant::now();
        let chosen = one.choose(Unit::Request, &[], now).expect("there is one");
        chosen.begin(now)
    };
    let load = || one.endpoints[0].load(Unit::Request, Instant::now());
    let mut answered = send();
    assert_eq!((load().pending, one.endpoints[0].open()), (1, 0));
    tokio::time::advance(Duration::from_millis(10)).await;
    answered.record(Outcome::Success, Instant::now());
    assert_eq!(
        (load().pending, load().seconds),
        (1, Some(0.01)),
        "its body is still coming"
    );
    drop(answered);
    let given_up = send();
    tokio::time::advance(Duration::from_secs(1)).await;
    drop(given_up);
    assert_eq!((load().pending, load().seconds), (0, Some(1.0)));
}
