//! Secrets that are not what they should be, and a renewal from start to end.

use std::time::Duration;

use super::*;
use crate::certificate::self_made;

const HOST: &str = "netting-webhook.netting.svc";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn made_at(now: SystemTime) -> SelfMade {
    self_made::make(HOST, now).expect("the host is a name")
}

fn fresh(now: SystemTime) -> Shared {
    Shared::fresh(made_at(now)).expect("what was made is usable")
}

fn again(shared: &Shared) -> Shared {
    Shared::read(&shared.data(), HOST).expect("what was written can be read")
}

#[test]
fn refuses_what_cannot_be_served_with_and_says_why() {
    let now = SystemTime::now();
    let (good, other) = (fresh(now).data(), fresh(now).data());
    let with = |entry: &str, text: &[u8]| {
        let mut data = good.clone();
        data.insert(entry.to_owned(), ByteString(text.to_vec()));
        data
    };
    let without = |entry: &str| {
        let mut data = good.clone();
        data.remove(entry);
        data
    };
    for (data, says) in [
        (BTreeMap::new(), "no ca.crt"),
        (without(CHAIN), "no tls.crt"),
        (without(KEY), "no tls.key"),
        (with(KEY, b""), "no tls.key"),
        (with(CHAIN, b"garbage"), "tls.crt has no certificate"),
        (with(CHAIN, &[0xff, 0xfe]), "tls.crt has no certificate"),
        (with(KEY, &good[CHAIN].0), "tls.key has no private key"),
        (with(KEY, &other[KEY].0), "belong together"),
        (with(CAS, &other[CAS].0), "is refused by whoever"),
        (with(CAS, b"garbage"), "ca.crt has no certificate"),
    ] {
        let Err(damaged) = Shared::read(&data, HOST) else {
            panic!("read a Secret of which {says}");
        };
        let text = damaged.to_string();
        assert!(text.contains(says), "{text}: expected {says}");
    }
    let renamed = Shared::read(&good, "webhook.elsewhere.svc");
    let why = renamed.err().map(|damaged| damaged.to_string());
    let why = why.expect("it is for another host");
    assert!(
        why.contains("tls.crt is not for webhook.elsewhere.svc"),
        "{why}"
    );
}

#[test]
fn a_renewal_trusts_both_before_it_serves_the_new_one() {
    let begun = SystemTime::now();
    let first = again(&fresh(begun));
    let renew_at = match first.step(begun, true) {
        Step::Wait(until) => until,
        step => panic!("{step:?}"),
    };
    let days = renew_at.duration_since(begun).expect("it is later");
    assert!((59 * DAY..60 * DAY).contains(&days), "{days:?}");
    assert_eq!(first.step(renew_at, false), Step::Stage);

    let staged = again(&first.staged(made_at(renew_at), renew_at).expect("usable"));
    let both = staged.anchors(Origin::Shared, renew_at).cas;
    assert_eq!(both.len(), 2);
    assert_eq!(
        staged.certificate().chain(),
        first.certificate().chain(),
        "the new one is not served yet"
    );
    assert!(matches!(staged.step(renew_at, false), Step::Wait(_)));
    assert_eq!(staged.step(renew_at, true), Step::Promote);

    let promoted = again(&staged.promoted(renew_at));
    assert_ne!(promoted.certificate().chain(), first.certificate().chain());
    assert_eq!(promoted.anchors(Origin::Shared, renew_at).cas, both);
    assert!(!promoted.data().contains_key(NEXT_KEY));
    assert!(matches!(promoted.step(renew_at, true), Step::Wait(_)));

    let later = begun + 91 * DAY;
    let anchors = promoted.anchors(Origin::Shared, later).cas;
    assert_eq!(anchors, both[..1], "the first CA has expired");
}

#[test]
fn what_has_expired_makes_way_at_once() {
    let now = SystemTime::now();
    let old = fresh(now - 91 * DAY);
    assert_eq!(old.step(now, false), Step::Renew);
    assert_eq!(again(&old).step(now, false), Step::Renew);
    assert_eq!(old.anchors(Origin::Shared, now).cas, []);
    let staged = old.staged(made_at(now), now).expect("usable");
    assert_eq!(staged.step(now, false), Step::Promote);
    assert_eq!(staged.anchors(Origin::Shared, now).cas.len(), 1);
    let both_over = fresh(now - 300 * DAY)
        .staged(made_at(now - 200 * DAY), now)
        .expect("usable");
    assert_eq!(both_over.step(now, true), Step::Renew);
}

#[test]
fn a_damaged_next_certificate_is_as_good_as_none() {
    let made = SystemTime::now() - 61 * DAY;
    let now = SystemTime::now();
    let staged = fresh(made).staged(made_at(now), now).expect("usable");
    let mut data = staged.data();
    data.insert(NEXT_KEY.to_owned(), ByteString(b"garbage".to_vec()));
    let read = Shared::read(&data, HOST).expect("the current one is fine");
    assert_eq!(read.step(now, true), Step::Stage);
}

#[test]
fn keys_do_not_get_into_logs() {
    let made = made_at(SystemTime::now());
    let shown = format!("{made:?}");
    assert!(!shown.contains("PRIVATE"), "{shown}");
}
