//! Which CAs belong in a webhook's bundle, and which have been there for too long.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use crate::certificate::{
    CaPem, Validity,
    serving::{Anchors, Origin},
};

/// Of replicas that each have a CA of their own, the oldest beyond this many are
/// dropped: those that are gone, as long as no more than this run at a time. A bundle
/// of them has some 40 KiB.
pub(super) const BUNDLE_MAX: usize = 64;

/// How long a CA that is not in the Secret stays, before it is dropped. It may belong
/// to a replica that does not share the Secret, such as one of an earlier version
/// while it is replaced: the two would take turns in writing the bundle otherwise.
const STRANGERS_STAY: Duration = Duration::from_secs(10 * 60);

/// CAs that nobody has explained, and since when they have been seen.
#[derive(Debug, Default)]
pub(super) struct Strangers(HashMap<CaPem, Instant>);

impl Strangers {
    /// What a bundle should be: all of the anchors, in front of those of the others
    /// that may stay. As it is, if that is right already.
    pub(super) fn right(
        &self,
        bundle: &[u8],
        anchors: &Anchors,
        now: (SystemTime, Instant),
    ) -> Vec<CaPem> {
        let there = CaPem::all_in(bundle);
        let own = &anchors.cas;
        let stays = |ca: &&CaPem| own.contains(ca) || self.may_stay(ca, anchors.origin, now);
        let kept: Vec<_> = there.iter().filter(stays).cloned().collect();
        if own.iter().all(|ca| kept.contains(ca)) && kept.len() <= BUNDLE_MAX.max(own.len()) {
            return kept;
        }
        let others = kept.into_iter().filter(|ca| !own.contains(ca));
        let others = others.take(BUNDLE_MAX.saturating_sub(own.len()));
        own.iter().cloned().chain(others).collect()
    }

    fn may_stay(&self, ca: &CaPem, origin: Origin, (time, now): (SystemTime, Instant)) -> bool {
        if origin == Origin::Given {
            return true;
        }
        let validity = ca.der().and_then(|der| Validity::of(&der));
        let over = validity.is_some_and(|validity| validity.expired(time));
        let since = self.0.get(ca);
        let stayed = since.is_some_and(|since| now - *since >= STRANGERS_STAY);
        !over && (origin != Origin::Shared || !stayed)
    }

    /// Takes note of who is there: who is new, and who has gone.
    pub(super) fn look(&mut self, bundles: &[&[u8]], anchors: &Anchors, now: Instant) {
        let there: Vec<_> = bundles
            .iter()
            .flat_map(|bundle| CaPem::all_in(bundle))
            .collect();
        self.0.retain(|ca, _| there.contains(ca));
        for ca in there {
            if !anchors.cas.contains(&ca) {
                self.0.entry(ca).or_insert(now);
            }
        }
        self.0.retain(|ca, _| !anchors.cas.contains(ca));
    }

    /// When the first of them has stayed for long enough; never, where they may stay
    /// for good.
    pub(super) fn next_to_go(&self, origin: Origin) -> Option<Instant> {
        let first = self.0.values().min().filter(|_| origin == Origin::Shared);
        first.map(|since| *since + STRANGERS_STAY)
    }
}

/// Whether others have left no place in it.
pub(super) fn is_full_of_others(bundle: &[u8], own: &[CaPem]) -> bool {
    let there = CaPem::all_in(bundle);
    there.len() >= BUNDLE_MAX && !own.iter().all(|ca| there.contains(ca))
}

/// The CAs as one text.
pub(super) fn text(cas: &[CaPem]) -> String {
    cas.iter().map(|ca| ca.0.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::self_made;

    fn ca(body: &str) -> CaPem {
        let text = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        CaPem(text)
    }

    fn anchors(origin: Origin, cas: &[&CaPem]) -> Anchors {
        let cas = cas.iter().copied().cloned().collect();
        Anchors { cas, origin }
    }

    fn now() -> (SystemTime, Instant) {
        (SystemTime::now(), Instant::now())
    }

    #[test]
    fn replicas_with_cas_of_their_own_do_not_take_each_others_out() {
        // Each begins with what those before it have left, among it CAs of replicas
        // that are long gone.
        let gone: Vec<_> = (0..2 * BUNDLE_MAX)
            .map(|n| ca(&format!("GONE{n}")))
            .collect();
        let mut bundle = text(&gone);
        let replicas: Vec<_> = (0..BUNDLE_MAX).map(|n| ca(&format!("AAA{n}"))).collect();
        let settle = |bundle: String, own: &CaPem| {
            let anchors = anchors(Origin::Memory, &[own]);
            text(&Strangers::default().right(bundle.as_bytes(), &anchors, now()))
        };
        for _ in 0..2 {
            bundle = replicas.iter().fold(bundle, settle);
        }
        for own in &replicas {
            assert_eq!(
                settle(bundle.clone(), own),
                bundle,
                "there is nothing to do"
            );
        }
        let one_more = [ca("BBBB")];
        assert!(is_full_of_others(bundle.as_bytes(), &one_more));
        assert!(!is_full_of_others(bundle.as_bytes(), &replicas[..1]));
        assert!(!is_full_of_others(one_more[0].0.as_bytes(), &replicas[..1]));
    }

    #[test]
    fn the_cas_of_other_replicas_are_kept_and_the_oldest_dropped() {
        let mut bundle = String::new();
        for replica in 0..100 {
            let own = ca(&format!("AAA{replica}"));
            let anchors = anchors(Origin::Memory, &[&own]);
            bundle = text(&Strangers::default().right(bundle.as_bytes(), &anchors, now()));
        }
        let kept = CaPem::all_in(bundle.as_bytes());
        assert_eq!(kept.len(), BUNDLE_MAX);
        assert_eq!(kept[0], ca("AAA99"));
        let again = anchors(Origin::Memory, &[&ca("AAA95")]);
        let right = Strangers::default().right(bundle.as_bytes(), &again, now());
        assert_eq!(right, kept);
    }

    #[test]
    fn what_is_no_certificate_is_dropped() {
        let own = ca("AAAA");
        let anchors = anchors(Origin::Shared, &[&own]);
        for garbage in [
            "\u{fffd}".as_bytes(),
            b"Cg==",
            b"-----BEGIN CERTIFICATE-----",
            b"-----END CERTIFICATE-----",
            &[0xff, 0xfe],
            own.0.replace('\n', "\r\n").as_bytes(),
        ] {
            let right = Strangers::default().right(garbage, &anchors, now());
            assert_eq!(right, std::slice::from_ref(&own), "{garbage:?}");
        }
    }

    #[test]
    fn a_ca_that_has_expired_is_dropped_at_once_unless_the_team_put_it_there() {
        let long_ago = SystemTime::now() - 2 * self_made::LIFETIME;
        let expired = self_made::make("host", long_ago).expect("a name").ca;
        let own = ca("AAAA");
        let bundle = text(&[expired.clone(), own.clone()]);
        for (origin, kept) in [
            (Origin::Shared, vec![own.clone()]),
            (Origin::Memory, vec![own.clone()]),
            (Origin::Given, vec![expired, own.clone()]),
        ] {
            let anchors = anchors(origin, &[&own]);
            let right = Strangers::default().right(bundle.as_bytes(), &anchors, now());
            assert_eq!(right, kept, "{origin:?}");
        }
    }

    #[test]
    fn strangers_stay_for_a_while_beside_a_shared_ca_and_for_good_beside_others() {
        let (own, stranger) = (ca("AAAA"), ca("BBBB"));
        let bundle = text(&[own.clone(), stranger.clone()]);
        let (time, begun) = now();
        for (origin, gone_in_the_end) in [
            (Origin::Shared, true),
            (Origin::Memory, false),
            (Origin::Given, false),
        ] {
            let anchors = anchors(origin, &[&own]);
            let mut strangers = Strangers::default();
            strangers.look(&[bundle.as_bytes()], &anchors, begun);
            let right = |at| strangers.right(bundle.as_bytes(), &anchors, (time, at));
            assert_eq!(right(begun).len(), 2, "{origin:?}");
            let next = Some(begun + STRANGERS_STAY).filter(|_| gone_in_the_end);
            assert_eq!(strangers.next_to_go(origin), next);
            let in_the_end = right(begun + STRANGERS_STAY);
            let gone = in_the_end == std::slice::from_ref(&own);
            assert_eq!(gone, gone_in_the_end, "{origin:?}");
        }
    }

    #[test]
    fn a_stranger_that_turns_out_to_be_ours_is_none() {
        let (own, other) = (ca("AAAA"), ca("BBBB"));
        let bundle = text(&[own.clone(), other.clone()]);
        let mut strangers = Strangers::default();
        let begun = Instant::now();
        strangers.look(
            &[bundle.as_bytes()],
            &anchors(Origin::Shared, &[&own]),
            begun,
        );
        let both = anchors(Origin::Shared, &[&own, &other]);
        strangers.look(&[bundle.as_bytes()], &both, begun);
        assert_eq!(strangers.next_to_go(Origin::Shared), None);
    }
}
