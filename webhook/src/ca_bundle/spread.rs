//! Since when CAs have been in all bundles, and so which ones every API server knows.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::certificate::CaPem;

/// For so long a CA is in all bundles before what it has signed is served: until each
/// API server has heard of it.
pub const SPREAD: Duration = Duration::from_secs(60);

/// Since when each CA has been in all bundles.
#[derive(Debug, Default)]
pub(super) struct Spread(HashMap<CaPem, Instant>);

impl Spread {
    /// Takes note of who is in all of them, and who is not any more.
    pub(super) fn look(&mut self, bundles: &[&[u8]], now: Instant) {
        let mut bundles = bundles.iter().map(|bundle| CaPem::all_in(bundle));
        let mut everywhere = bundles.next().unwrap_or_default();
        for bundle in bundles {
            everywhere.retain(|ca| bundle.contains(ca));
        }
        self.0.retain(|ca, _| everywhere.contains(ca));
        for ca in everywhere {
            self.0.entry(ca).or_insert(now);
        }
    }

    /// Those that have been there for a time, the longest first.
    pub(super) fn there_for(&self, time: Duration, now: Instant) -> Vec<CaPem> {
        let mut cas: Vec<_> = self
            .0
            .iter()
            .filter(|(_, since)| now.duration_since(**since) >= time)
            .collect();
        cas.sort_by(|(ca, since), (other, than)| (since, &ca.0).cmp(&(than, &other.0)));
        cas.into_iter().map(|(ca, _)| ca.clone()).collect()
    }

    /// When the next one has been there for long enough.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let known_at = self.0.values().map(|since| *since + SPREAD);
        known_at.filter(|at| *at > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ca(body: &str) -> CaPem {
        let text = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        CaPem(text)
    }

    #[test]
    fn a_ca_that_one_bundle_lacks_is_known_nowhere() {
        let (one, other) = (ca("AAAA"), ca("BBBB"));
        let both = format!("{}{}", one.0, other.0);
        let mut spread = Spread::default();
        let begun = Instant::now();
        spread.look(&[], begun);
        assert_eq!(spread.there_for(Duration::ZERO, begun), []);
        spread.look(&[both.as_bytes(), other.0.as_bytes()], begun);
        assert_eq!(
            spread.there_for(Duration::ZERO, begun),
            std::slice::from_ref(&other)
        );
        assert_eq!(spread.there_for(SPREAD, begun), []);
        assert_eq!(spread.next(begun), Some(begun + SPREAD));
        let later = begun + SPREAD;
        spread.look(&[both.as_bytes(), both.as_bytes()], later);
        assert_eq!(spread.there_for(SPREAD, later), [other]);
        assert_eq!(spread.next(later), Some(later + SPREAD));
    }

    #[test]
    fn a_ca_that_comes_back_begins_anew() {
        let one = ca("AAAA");
        let mut spread = Spread::default();
        let begun = Instant::now();
        spread.look(&[one.0.as_bytes()], begun);
        spread.look(&[b""], begun + SPREAD);
        spread.look(&[one.0.as_bytes()], begun + SPREAD);
        assert_eq!(spread.there_for(SPREAD, begun + SPREAD), []);
    }
}
