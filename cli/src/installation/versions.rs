//! Which version may follow which.

use std::collections::BTreeMap;

/// Why an upgrade is refused, and what would allow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// What is there is newer.
    Downgrade {
        /// The part, and its version.
        there: String,
    },
    /// A minor version lies between the two, over which sidecars and control plane are
    /// not tested with each other.
    Skips {
        /// The part, and its version.
        there: String,
    },
}

/// Whether this version may follow what is there. A version that can't be read may be
/// followed by any: there would be no way on otherwise.
#[must_use]
pub fn upgrade_refusal(there: &BTreeMap<&str, &str>, own: &str) -> Option<Refusal> {
    let own = read(own)?;
    there.iter().find_map(|(part, version)| {
        let old = read(version)?;
        let there = format!("{part} {version}");
        if old > own {
            Some(Refusal::Downgrade { there })
        } else if old.0 != own.0 || own.1 - old.1 > 1 {
            Some(Refusal::Skips { there })
        } else {
            None
        }
    })
}

/// Major, minor and patch of a version (<https://semver.org>), pre-releases left out.
fn read(version: &str) -> Option<(u32, u32, u32)> {
    let core = version.trim_start_matches('v').split(['-', '+']).next()?;
    let mut numbers = core.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(there: &str, own: &str) -> Option<&'static str> {
        let there = [("netting-webhook", there)].into();
        upgrade_refusal(&there, own).map(|refusal| match refusal {
            Refusal::Downgrade { .. } => "downgrade",
            Refusal::Skips { .. } => "skips",
        })
    }

    #[test]
    fn downgrades_and_skipped_versions_are_refused() {
        for (there, own, expected) in [
            ("0.2.0", "0.1.9", Some("downgrade")),
            ("0.1.1", "0.1.0", Some("downgrade")),
            ("1.0.0", "0.9.0", Some("downgrade")),
            ("0.1.0", "0.3.0", Some("skips")),
            ("0.9.0", "1.0.0", Some("skips")),
            ("0.1.0", "0.1.0", None),
            ("0.1.0", "0.1.7", None),
            ("0.1.7", "0.2.0", None),
            ("0.2.0-rc.1", "0.2.0", None),
            ("unknown", "0.2.0", None),
        ] {
            assert_eq!(refusal(there, own), expected, "{there} to {own}");
        }
    }

    #[test]
    fn the_part_that_stands_in_the_way_is_named() {
        let there = [("netting-catalog", "0.1.0"), ("netting-webhook", "0.2.0")].into();
        let refused = upgrade_refusal(&there, "0.1.0");
        let there = "netting-webhook 0.2.0".to_owned();
        assert_eq!(refused, Some(Refusal::Downgrade { there }));
    }
}
