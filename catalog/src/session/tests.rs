use std::{collections::BTreeMap, sync::Arc};

use netting_proto::v1::stream_request::Kind;

use super::*;
use crate::{
    index::state::{Destination, Endpoint, Kind as DestinationKind},
    test_cluster::addr,
};

const CART: &str = "10.96.0.1:80";
const SHELF: &str = "10.96.0.2:80";

/// A session that has been greeted, and the world it talks about.
struct Talk {
    session: Session,
    world: BTreeMap<SocketAddr, Arc<State>>,
}

fn terms() -> Terms {
    Terms {
        heartbeat_interval_ms: 10_000,
        subscriptions_max: 3,
    }
}

fn request(kind: Kind) -> v1::StreamRequest {
    v1::StreamRequest { kind: Some(kind) }
}

fn hello() -> v1::StreamRequest {
    request(Kind::Hello(v1::Hello::default()))
}

fn subscription(address: &str, known_hash: &[u8]) -> v1::Subscription {
    v1::Subscription {
        address: Some(addr(address).into()),
        known_hash: known_hash.to_vec(),
    }
}

fn subscribe(subscriptions: Vec<v1::Subscription>) -> v1::StreamRequest {
    request(Kind::Subscribe(v1::Subscribe { subscriptions }))
}

fn state(ready: &[bool]) -> Arc<State> {
    let destination = Destination {
        kind: DestinationKind::Service,
        namespace: "shop".into(),
        name: "cart".into(),
        port_name: "http".into(),
        protocol_hint: "http".into(),
        node_local: false,
        traffic: Arc::default(),
    };
    let endpoints = ready.iter().enumerate().map(|(at, ready)| Endpoint {
        addr: SocketAddr::from(([10, 244, 0, at as u8], 8080)),
        ready: *ready,
        serving: true,
        terminating: false,
        weight: 1,
        node: Arc::default(),
        zone: Arc::default(),
        hints: None,
        workload: None,
    });
    Arc::new(State::new(destination, endpoints.collect()))
}

impl Talk {
    fn begun() -> Self {
        let mut talk = Self {
            session: Session::new(terms()),
            world: BTreeMap::new(),
        };
        talk.hear(hello());
        assert!(matches!(talk.next(), Some(Message::Welcome(_))));
        talk
    }

    fn hear(&mut self, request: v1::StreamRequest) -> Heard {
        self.session.hear(request).expect("a good request")
    }

    fn next(&mut self) -> Option<Message> {
        let world = &self.world;
        self.session.next(true, |addr| Published {
            state: world.get(&addr).cloned(),
            changed_at_us: 77,
            diff: None,
        })
    }

    fn set(&mut self, address: &str, state: Option<Arc<State>>) {
        match state {
            Some(state) => self.world.insert(addr(address), state),
            None => self.world.remove(&addr(address)),
        };
        self.session.changed(addr(address));
    }

    /// What is said next, in a word and with its time.
    fn said(&mut self) -> Option<(&'static str, i64)> {
        Some(match self.next()? {
            Message::Welcome(_) => ("welcome", 0),
            Message::Snapshot(snapshot) => ("snapshot", snapshot.changed_at_us),
            Message::Delta(delta) => ("delta", delta.changed_at_us),
            Message::Unknown(unknown) => ("unknown", unknown.changed_at_us),
            Message::Unchanged(_) => ("unchanged", 0),
            Message::Heartbeat(_) => ("heartbeat", 0),
            Message::Place(_) => ("place", 0),
            Message::ApplicationEnded(_) => ("application ended", 0),
        })
    }
}

#[test]
fn refuses_whatever_comes_before_hello() {
    for first in [
        subscribe(vec![]),
        request(Kind::Heartbeat(v1::Heartbeat { sequence: 1 })),
        v1::StreamRequest { kind: None },
    ] {
        let heard = Session::new(terms()).hear(first);
        assert_eq!(heard.err(), Some(Fault::NoHello));
    }
}

#[test]
fn refuses_a_second_hello() {
    let mut talk = Talk::begun();
    assert_eq!(talk.session.hear(hello()).err(), Some(Fault::SecondHello));
}

#[test]
fn garbage_in_one_subscription_does_not_lose_the_others() {
    let mut talk = Talk::begun();
    let garbage = |ip: &[u8], port| v1::Subscription {
        address: Some(v1::Address {
            ip: ip.to_vec(),
            port,
        }),
        known_hash: Vec::new(),
    };
    let heard = talk.hear(subscribe(vec![
        subscription(CART, &[]),
        garbage(&[10, 0, 0], 80),
        garbage(&[10, 0, 0, 1], 0),
        garbage(&[10, 0, 0, 1], 65_536),
        v1::Subscription::default(),
        subscription(SHELF, &[]),
    ]));
    assert_eq!(heard.ignored, [Ignored::BadAddress; 4]);
    assert_eq!(talk.said(), Some(("unknown", 0)));
    assert_eq!(talk.said(), Some(("unknown", 0)));
    assert_eq!(talk.said(), None);
}

#[test]
fn subscriptions_beyond_the_limit_pass_through_and_the_others_stay() {
    let mut talk = Talk::begun();
    talk.world.insert(addr("10.0.0.4:80"), state(&[true]));
    let many = (1..=5).map(|at| subscription(&format!("10.0.0.{at}:80"), &[]));
    let heard = talk.hear(subscribe(many.collect()));
    assert_eq!(heard.ignored, [Ignored::TooManySubscriptions; 2]);
    assert_eq!(talk.session.followed().len(), 3);
    for _ in 0..5 {
        assert_eq!(talk.said(), Some(("unknown", 0)));
    }
    assert_eq!(talk.said(), None);
    // One that is followed already takes no place, and one that left frees its own.
    let again = talk.hear(subscribe(vec![subscription("10.0.0.1:80", &[])]));
    assert!(again.ignored.is_empty());
    talk.hear(request(Kind::Unsubscribe(v1::Unsubscribe {
        addresses: vec![addr("10.0.0.1:80").into()],
    })));
    talk.hear(subscribe(vec![subscription("10.0.0.4:80", &[])]));
    assert_eq!(talk.said(), Some(("snapshot", 0)));
}

#[test]
fn who_asks_on_and_on_without_reading_fills_no_queue() {
    let mut talk = Talk::begun();
    for round in 0..1000_u32 {
        let ip = std::net::Ipv4Addr::from(round);
        let address = format!("{ip}:80");
        talk.hear(subscribe(vec![subscription(&address, &[])]));
        talk.hear(subscribe(vec![subscription(CART, &[])]));
        talk.hear(request(Kind::Unsubscribe(v1::Unsubscribe {
            addresses: vec![addr(CART).into()],
        })));
        talk.session.beat();
    }
    assert!(talk.session.queue.len() <= 3);
    assert!(talk.session.declined.len() <= 3);
}

#[test]
fn an_unknown_kind_of_request_is_ignored() {
    let mut talk = Talk::begun();
    let heard = talk.hear(v1::StreamRequest { kind: None });
    assert_eq!(heard.ignored, [Ignored::UnknownRequest]);
    assert_eq!(talk.said(), None);
}

#[test]
fn answers_in_order_and_says_empty_and_unknown_apart() {
    let mut talk = Talk::begun();
    talk.world.insert(addr(SHELF), state(&[]));
    let empty = talk.world[&addr(SHELF)].hash.0;
    talk.hear(subscribe(vec![
        subscription(CART, &[]),
        subscription(SHELF, &[]),
        subscription("10.96.0.3:80", &[]),
    ]));
    assert_eq!(talk.said(), Some(("unknown", 0)));
    let Some(Message::Snapshot(snapshot)) = talk.next() else {
        panic!("an empty service is known");
    };
    assert!(snapshot.endpoints.is_empty());
    assert_eq!(snapshot.hash, empty);
    assert_eq!(talk.said(), Some(("unknown", 0)));
    assert_eq!(talk.said(), None);
}

#[test]
fn a_current_hash_is_answered_by_unchanged_and_updated_by_delta() {
    let mut talk = Talk::begun();
    talk.world.insert(addr(CART), state(&[true, true]));
    let hash = talk.world[&addr(CART)].hash.0;
    talk.hear(subscribe(vec![subscription(CART, &hash)]));
    assert_eq!(talk.said(), Some(("unchanged", 0)));
    talk.set(CART, Some(state(&[true, false])));
    let Some(Message::Delta(delta)) = talk.next() else {
        panic!("one of two endpoints is less than both");
    };
    assert_eq!(delta.base_hash, hash);
    assert_eq!(delta.upserted.len(), 1);
}

#[test]
fn a_hash_that_is_not_current_is_answered_by_a_snapshot() {
    for stale in [vec![0; 16], vec![1; 32], vec![2; 3], vec![3; 100_000]] {
        let mut talk = Talk::begun();
        talk.world.insert(addr(CART), state(&[true]));
        talk.hear(subscribe(vec![subscription(CART, &stale)]));
        assert_eq!(talk.said(), Some(("snapshot", 0)));
    }
}

#[test]
fn what_is_followed_already_is_answered_again() {
    let mut talk = Talk::begun();
    talk.world.insert(addr(CART), state(&[true]));
    for _ in 0..2 {
        talk.hear(subscribe(vec![subscription(CART, &[])]));
        assert_eq!(talk.said(), Some(("snapshot", 0)));
    }
    talk.hear(subscribe(vec![
        subscription(CART, &[]),
        subscription(CART, &[]),
    ]));
    assert_eq!(talk.said(), Some(("snapshot", 0)));
    assert_eq!(talk.said(), None);
}

#[test]
fn many_changes_are_one_message_about_the_newest() {
    let mut talk = Talk::begun();
    talk.world.insert(addr(CART), state(&[true; 8]));
    talk.hear(subscribe(vec![subscription(CART, &[])]));
    assert_eq!(talk.said(), Some(("snapshot", 0)));
    for round in 0..100 {
        let mut ready = [true; 8];
        ready[round % 8] = false;
        talk.set(CART, Some(state(&ready)));
    }
    assert_eq!(talk.said(), Some(("delta", 77)));
    assert_eq!(talk.said(), None);
}

#[test]
fn a_change_that_is_taken_back_is_not_worth_a_word() {
    let mut talk = Talk::begun();
    talk.world.insert(addr(CART), state(&[true, true]));
    talk.hear(subscribe(vec![subscription(CART, &[])]));
    assert_eq!(talk.said(), Some(("snapshot", 0)));
    talk.set(CART, Some(state(&[true, false])));
    talk.set(CART, Some(state(&[true, true])));
    assert_eq!(talk.said(), None);
    talk.set(CART, None);
    assert_eq!(talk.said(), Some(("unknown", 77)));
    talk.set(CART, Some(state(&[true])));
    talk.set(CART, None);
    assert_eq!(talk.said(), None);
}

#[test]
fn a_delta_that_is_no_smaller_is_a_snapshot() {
    let mut talk = Talk::begun();
    talk.world.insert(addr(CART), state(&[true, true]));
    talk.hear(subscribe(vec![subscription(CART, &[])]));
    assert_eq!(talk.said(), Some(("snapshot", 0)));
    talk.set(CART, Some(state(&[false, false])));
    assert_eq!(talk.said(), Some(("snapshot", 77)));
    talk.set(CART, Some(state(&[])));
    assert_eq!(talk.said(), Some(("snapshot", 77)));
}

#[test]
fn nothing_is_said_of_what_is_not_followed_any_more() {
    let mut talk = Talk::begun();
    talk.world.insert(addr(CART), state(&[true]));
    talk.hear(subscribe(vec![subscription(CART, &[])]));
    assert_eq!(talk.said(), Some(("snapshot", 0)));
    talk.set(CART, Some(state(&[])));
    let heard = talk.hear(request(Kind::Unsubscribe(v1::Unsubscribe {
        addresses: vec![
            addr(CART).into(),
            addr(SHELF).into(),
            v1::Address::default(),
        ],
    })));
    assert_eq!(heard.unfollowed, [addr(CART)]);
    assert_eq!(heard.ignored, [Ignored::BadAddress]);
    talk.set(CART, None);
    assert_eq!(talk.said(), None);
}

#[test]
fn nothing_is_unknown_before_everything_was_listed() {
    let mut talk = Talk::begun();
    talk.hear(subscribe(vec![subscription(CART, &[])]));
    assert!(talk.session.owes_answers());
    assert!(!talk.session.has_due(false));
    let unlisted = talk.session.next(false, |_| Published::default());
    assert_eq!(unlisted, None);
    // A sidecar that waits still hears that the catalog is alive.
    talk.session.beat();
    let beat = talk.session.next(false, |_| Published::default());
    assert!(matches!(beat, Some(Message::Heartbeat(_))));
    assert!(talk.session.has_due(true));
    assert_eq!(talk.said(), Some(("unknown", 0)));
}

#[test]
fn a_heartbeat_is_answered_with_its_own_number() {
    let mut talk = Talk::begun();
    for sequence in [1, 2] {
        talk.session.beat();
        talk.hear(request(Kind::Heartbeat(v1::Heartbeat { sequence })));
        let expected = Message::Heartbeat(v1::Heartbeat { sequence });
        assert_eq!(talk.next(), Some(expected));
        assert_eq!(talk.said(), None);
    }
    talk.session.beat();
    let unasked = Message::Heartbeat(v1::Heartbeat { sequence: 0 });
    assert_eq!(talk.next(), Some(unasked));
}

#[test]
fn the_end_of_the_application_is_said_once() {
    let mut talk = Talk::begun();
    assert!(!talk.session.has_due(false));
    talk.session.application_ended();
    assert!(talk.session.has_due(false));
    assert_eq!(talk.said(), Some(("application ended", 0)));
    talk.session.application_ended();
    assert_eq!(talk.said(), None);
}

#[test]
fn where_the_sidecar_is_is_said_once_and_before_any_answer() {
    let mut talk = Talk::begun();
    talk.set(CART, Some(state(&[true])));
    talk.hear(subscribe(vec![subscription(CART, b"")]));
    assert!(talk.session.is_nowhere());
    talk.session.is_in_zone("zone-1".into());
    talk.session.is_in_zone("zone-2".into());
    let Some(Message::Place(place)) = talk.next() else {
        panic!("the place comes first");
    };
    assert_eq!(place.zone, "zone-1");
    assert!(matches!(talk.next(), Some(Message::Snapshot(_))));
    assert!(talk.next().is_none());
}
