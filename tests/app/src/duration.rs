//! Durations on the command line: a whole number and its unit.

use std::time::Duration;

/// Why a text is no duration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// A bare number could mean anything.
    #[error("a duration is a whole number with a unit (ms, s, m or h), such as 250ms or 10s")]
    Malformed,
    /// More milliseconds than 64 bits hold.
    #[error("the duration is too long to count in milliseconds")]
    TooLong,
}

/// Parses `250ms`, `10s`, `5m`, `1h` or `0`.
///
/// # Errors
///
/// Anything else, a bare number other than 0 included.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit())
        .ok_or(DurationError::Malformed)?;
    let (number, unit) = text.split_at(unit_at);
    let milliseconds_each = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(DurationError::Malformed),
    };
    if number.is_empty() {
        return Err(DurationError::Malformed);
    }
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(milliseconds_each))
        .map(Duration::from_millis)
        .ok_or(DurationError::TooLong)
}

/// Sleeps for `duration`, or never wakes up if it's zero: the flags here mean "for ever" by 0.
pub async fn sleep_or_forever(duration: Duration) {
    if duration.is_zero() {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(duration).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_numbers_without_a_unit_and_units_without_a_number() {
        for text in [
            "", "10", "s", "1.5s", "-1s", "10 s", "10sec", "1s500ms", "ms",
        ] {
            assert_eq!(
                parse_duration(text),
                Err(DurationError::Malformed),
                "{text:?}"
            );
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        for text in ["99999999999999999999ms", "18446744073709551615h"] {
            assert_eq!(
                parse_duration(text),
                Err(DurationError::TooLong),
                "{text:?}"
            );
        }
    }

    #[test]
    fn reads_each_unit() {
        for (text, milliseconds) in [
            ("0", 0),
            ("0s", 0),
            ("250ms", 250),
            ("10s", 10_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text:?}"
            );
        }
    }
}
