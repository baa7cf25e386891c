use netting_proto::v1;

use super::*;
use crate::destination::Place;

/// A state that follows `before`, with these endpoints.
fn known_at(endpoints: &[EndpointAddr], before: Option<&Destination>) -> Arc<Destination> {
    of(endpoints, None, before)
}

fn known(retries: u32) -> Arc<Destination> {
    of(&[at()], Some(retries), None)
}

fn of(
    endpoints: &[EndpointAddr],
    retries: Option<u32>,
    before: Option<&Destination>,
) -> Arc<Destination> {
    let policy = v1::ServicePolicy {
        retries,
        retry_on: Some(v1::RetryOn {
            statuses: vec![503],
            ..Default::default()
        }),
        ..Default::default()
    };
    let endpoint = |at: &EndpointAddr| v1::Endpoint {
        address: Some(at.0.into()),
        ready: true,
        ..Default::default()
    };
    let snapshot = v1::Snapshot {
        destination: Some(v1::Destination {
            policy: Some(policy),
            ..Default::default()
        }),
        endpoints: endpoints.iter().map(endpoint).collect(),
        ..Default::default()
    };
    let known = Destination::from_snapshot(snapshot, before, &Place::default());
    Arc::new(known.expect("a good snapshot"))
}

fn at() -> EndpointAddr {
    other(1)
}

fn other(n: u8) -> EndpointAddr {
    EndpointAddr(([10, 0, 0, n], 80).into())
}

fn begin(known: &Arc<Destination>, now: Instant) -> Tries {
    let tries = Tries::begin(Some(Arc::clone(known)), Kind::Idempotent, now);
    tries.expect("nobody waits")
}

/// A failure at the one endpoint, of which nothing else has become known.
fn again(tries: &mut Tries, failure: Failure, replayable: bool, now: Instant) -> bool {
    let known = tries.known.clone();
    tries.again((failure, at()), replayable, || known.clone(), now)
}

const FAILURES: [Failure; 3] = [Failure::Connect, Failure::Refused, Failure::Status(503)];

#[test]
fn what_became_unknown_meanwhile_is_not_sent_to_where_it_was() {
    let now = Instant::now();
    for failure in FAILURES {
        let before = known_at(&[at(), other(2)], None);
        let mut tries = begin(&before, now);
        let again = tries.again((failure, at()), true, || None, now);
        // What may go to the original destination, as any other request does now, may
        // be sent again; there is nothing else to connect.
        assert_eq!(again, failure != Failure::Connect, "{failure:?}");
        assert!(!again || tries.choose(now).is_none(), "{failure:?}");
    }
}

#[test]
fn an_endpoint_that_went_meanwhile_is_not_tried() {
    let now = Instant::now();
    for failure in FAILURES {
        let before = known_at(&[at(), other(2)], None);
        let after = known_at(&[at()], Some(&before));
        let mut tries = begin(&before, now);
        let latest = || Some(Arc::clone(&after));
        let again = tries.again((failure, at()), true, latest, now);
        // The one that is left can be asked once more, but is no other to connect.
        assert_eq!(again, failure != Failure::Connect, "{failure:?}");
        if again {
            let next = tries.choose(now).expect("one is left");
            assert_eq!(next.addr(), at(), "{failure:?}");
        }
    }
}

#[test]
fn an_endpoint_that_came_meanwhile_is_tried_on_the_same_account() {
    let now = Instant::now();
    for failure in FAILURES {
        let before = known_at(&[at()], None);
        let left = before.budget().left(now);
        let mut tries = begin(&before, now);
        let after = known_at(&[other(3)], Some(&before));
        let latest = || Some(Arc::clone(&after));
        assert!(
            tries.again((failure, at()), true, latest, now),
            "{failure:?}"
        );
        let next = tries.choose(now).expect("it is there");
        assert_eq!(next.addr(), other(3), "{failure:?}");
        assert_eq!(after.endpoints[0].requests(), 1, "it counts there");
        assert_eq!(after.budget().left(now), left - 1, "{failure:?}");
        assert_eq!(after.waiting(), 1, "it is the same request");
        tries.answered();
        assert_eq!(after.waiting(), 0);
    }
}

#[test]
fn what_the_sidecar_lacks_for_all_endpoints_costs_no_try() {
    let now = Instant::now();
    for (reason, is_tried) in [
        (Reason::ConnectRefused, true),
        (Reason::LocalAddressUnavailable, true),
        (Reason::LocalResourcesExhausted, false),
    ] {
        let known = known_at(&[at(), other(2)], None);
        let (left, mut tries) = (known.budget().left(now), begin(&known, now));
        let latest = || Some(Arc::clone(&known));
        let again = tries.unconnected((at(), reason), latest, now);
        assert_eq!(again, is_tried, "{reason}");
        let spent = left - known.budget().left(now);
        assert_eq!(spent, u64::from(is_tried), "{reason}");
    }
}

#[test]
fn what_may_have_been_looked_at_or_is_gone_is_not_sent_again() {
    let (known, now) = (known(0), Instant::now());
    for (failure, replayable) in [
        (Failure::Connect, true),
        (Failure::Reset, true),
        (Failure::TimedOut, true),
        (Failure::Status(503), true),
        (Failure::Refused, false),
    ] {
        let mut tries = begin(&known, now);
        assert!(!again(&mut tries, failure, replayable, now), "{failure:?}");
    }
}

#[test]
fn what_nobody_looked_at_is_sent_once_more_without_retries_and_without_budget() {
    let now = Instant::now();
    let (unwanted, spent) = (known(0), known(2));
    while spent.budget().retry(now) {}
    for known in [unwanted, spent] {
        let mut tries = begin(&known, now);
        assert!(again(&mut tries, Failure::Refused, true, now));
        assert!(!again(&mut tries, Failure::Refused, true, now), "twice");
    }
}

#[test]
fn may_go_on_until_no_try_could_be_granted() {
    let now = Instant::now();
    for (retries, further) in [(0, 1), (1, 1), (2, 2)] {
        let mut tries = begin(&known(retries), now);
        for _ in 0..further {
            assert!(tries.may_go_on());
            assert!(again(&mut tries, Failure::Refused, true, now));
        }
        assert!(!tries.may_go_on());
        assert!(!again(&mut tries, Failure::Refused, true, now));
    }
}
