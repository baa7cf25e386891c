use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::test_cluster::{Object, addr, key, member, service, slice, with};

const CART: &str = "10.96.0.1:80";

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn apply(publisher: &Publisher, seconds: u64, object: &Value) {
    publisher.update(at(seconds), |index| Object::parse(object).apply(index));
}

fn cart() -> Value {
    service(
        "cart",
        "10.96.0.1",
        json!([{"name": "http", "port": 80}, {"name": "db", "port": 90}]),
    )
}

fn behind(ip: &str) -> Value {
    let ports = json!([{"name": "http", "port": 8080}]);
    slice("a", "cart", ports, json!([member(ip, "cart-1")]))
}

#[test]
fn tells_a_reader_of_the_addresses_that_it_follows_alone() {
    let publisher = Publisher::new();
    apply(&publisher, 1, &cart());
    let (one, other) = (publisher.reader(), publisher.reader());
    assert!(publisher.follow(&one, addr(CART)).state.is_some());
    assert!(
        publisher
            .follow(&other, addr("10.96.0.1:90"))
            .state
            .is_some()
    );
    apply(&publisher, 2, &behind("10.244.0.1"));
    assert_eq!(one.take(), [addr(CART)].into());
    // The same service's other port has nothing behind it, before and after.
    assert!(other.take().is_empty());
}

#[test]
fn says_when_the_change_was_heard_of_and_what_differs() {
    let publisher = Publisher::new();
    apply(&publisher, 1, &cart());
    let reader = publisher.reader();
    let first = publisher.follow(&reader, addr(CART));
    assert_eq!(first.changed_at_us, 0);
    apply(&publisher, 2, &behind("10.244.0.1"));
    apply(&publisher, 3, &service("shelf", "10.96.0.2", json!([])));
    let second = publisher.follow(&reader, addr(CART));
    assert_eq!(second.changed_at_us, 2_000_000);
    let diff = second.diff.expect("it was known before and after");
    assert_eq!(Some(diff.base), first.state.map(|state| state.hash));
    assert_eq!(diff.upserted.len(), 1);
}

#[test]
fn works_a_state_out_once_for_all_who_follow_it() {
    let publisher = Publisher::new();
    apply(&publisher, 1, &cart());
    let readers = [publisher.reader(), publisher.reader()];
    let states = readers
        .each_ref()
        .map(|r| publisher.follow(r, addr(CART)).state);
    let [Some(one), Some(other)] = states else {
        panic!("the service is known");
    };
    assert!(Arc::ptr_eq(&one, &other));
}

#[test]
fn forgets_what_nobody_follows() {
    let publisher = Publisher::new();
    apply(&publisher, 1, &cart());
    let (one, other) = (publisher.reader(), publisher.reader());
    for reader in [&one, &one, &other] {
        let _ = publisher.follow(reader, addr(CART));
    }
    publisher.unfollow(&one, [addr(CART), addr("10.0.0.9:9")]);
    assert_eq!(publisher.sizes().1, 1);
    publisher.unfollow(&other, [addr(CART)]);
    assert_eq!(publisher.sizes().1, 0);
    apply(&publisher, 2, &behind("10.244.0.1"));
    assert!(one.take().is_empty() && other.take().is_empty());
}

#[tokio::test]
async fn a_mark_that_nobody_waited_for_is_not_lost() {
    let publisher = Publisher::new();
    let reader = publisher.reader();
    assert!(publisher.follow(&reader, addr(CART)).state.is_none());
    for round in 0..1000 {
        apply(&publisher, round, &cart());
        apply(
            &publisher,
            round,
            &behind(&format!("10.244.{}.1", round % 200)),
        );
    }
    reader.marked().await;
    assert_eq!(reader.take(), [addr(CART)].into());
}

#[test]
fn versions_grow_with_each_change_and_say_when_a_service_went() {
    let publisher = Publisher::new();
    let version = |service: &str| publisher.read(|_, modified| modified.of(&key(service)));
    apply(&publisher, 5, &cart());
    let first = version("cart").expect("it was made");
    assert_eq!(first, 5000);
    // A clock that is set back doesn't take versions back.
    apply(&publisher, 1, &behind("10.244.0.1"));
    assert_eq!(version("cart"), Some(first + 1));
    apply(&publisher, 6, &behind("10.244.0.1"));
    assert_eq!(version("cart"), Some(first + 1));
    publisher.update(at(7), |index| index.delete_service(&key("cart")));
    assert_eq!(version("cart"), None);
    assert_eq!(publisher.read(|_, modified| modified.gone()), 7000);
    assert_eq!(*publisher.version().borrow(), 7000);
}

#[test]
fn a_name_changes_with_its_services_in_any_namespace_and_is_forgotten_with_the_last() {
    let publisher = Publisher::new();
    let version = || publisher.read(|_, modified| modified.of_name("cart"));
    let elsewhere = with(cart(), "/metadata/namespace", json!("stall"));
    assert_eq!(version(), None);
    apply(&publisher, 1, &cart());
    apply(&publisher, 2, &elsewhere);
    assert_eq!(version(), Some(2000));
    apply(&publisher, 3, &behind("10.244.0.1"));
    assert_eq!(version(), Some(3000), "what is behind it counts too");
    apply(&publisher, 4, &service("shelf", "10.96.0.2", json!([])));
    assert_eq!(version(), Some(3000));
    publisher.update(at(5), |index| index.delete_service(&key("cart")));
    assert_eq!(version(), Some(3000), "there is one left");
    publisher.update(at(6), |index| {
        index.delete_service(&Key::new("stall", "cart"))
    });
    assert_eq!(version(), None);
}
