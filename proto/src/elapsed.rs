//! How long ago the change was that a message tells of.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time since `changed_at_us`, as messages carry it: microseconds since the Unix
/// epoch, by the catalog's clock. `None` for 0, which stands for no time, and for
/// garbage. A clock that runs behind the catalog's makes it zero.
#[must_use]
pub fn since(changed_at_us: i64) -> Option<Duration> {
    let then = u64::try_from(changed_at_us).ok().filter(|us| *us > 0)?;
    let then = UNIX_EPOCH + Duration::from_micros(then);
    Some(SystemTime::now().duration_since(then).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_and_garbage_are_no_time_ago() {
        for none in [0, -1, i64::MIN] {
            assert_eq!(since(none), None);
        }
    }

    #[test]
    fn the_future_is_now() {
        assert_eq!(since(i64::MAX), Some(Duration::ZERO));
    }

    #[test]
    fn the_first_microsecond_is_long_ago() {
        assert!(since(1) > Some(Duration::from_secs(1_000_000_000)));
    }
}
