//! From when until when a certificate holds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::{certificate::X509Certificate, prelude::FromDer as _, time::ASN1Time};

/// A certificate's lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// It is refused before.
    pub not_before: SystemTime,
    /// It is refused from then on.
    pub not_after: SystemTime,
}

impl Validity {
    /// That of a certificate in DER; `None` if it is no certificate.
    #[must_use]
    pub fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let validity = certificate.validity();
        Some(Self {
            not_before: system_time(validity.not_before),
            not_after: system_time(validity.not_after),
        })
    }

    /// When its successor should be made: after two thirds of its life, which leaves
    /// a third for whatever is in the way of that.
    #[must_use]
    pub fn renew_at(self) -> SystemTime {
        let lifetime = self.not_after.duration_since(self.not_before);
        self.not_before + lifetime.unwrap_or_default() * 2 / 3
    }

    /// Whether a client accepts it at this time.
    #[must_use]
    pub fn holds(self, at: SystemTime) -> bool {
        self.not_before <= at && !self.expired(at)
    }

    /// Whether it is over.
    #[must_use]
    pub fn expired(self, now: SystemTime) -> bool {
        self.not_after <= now
    }
}

/// What is before 1970 counts as 1970: both are long over.
fn system_time(time: ASN1Time) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_has_no_validity() {
        for der in [b"".as_slice(), b"0", &[0x30, 0x82, 0xff, 0xff]] {
            assert_eq!(Validity::of(der), None);
        }
    }

    #[test]
    fn is_renewed_at_two_thirds() {
        let at = |days: u64| UNIX_EPOCH + Duration::from_secs(days * 24 * 60 * 60);
        let validity = Validity {
            not_before: at(100),
            not_after: at(190),
        };
        assert_eq!(validity.renew_at(), at(160));
        assert!(!validity.expired(at(189)));
        assert!(validity.expired(at(190)));
        let held: Vec<_> = [99, 100, 189, 190]
            .into_iter()
            .filter(|day| validity.holds(at(*day)))
            .collect();
        assert_eq!(held, [100, 189]);
        let backwards = Validity {
            not_before: at(190),
            not_after: at(100),
        };
        assert_eq!(backwards.renew_at(), at(190));
    }
}
