//! When a CronJob is due: five fields as cron(8) has them, or a word for them. In UTC, as the
//! controllers of most clusters are.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax>

use k8s_openapi::jiff::{Timestamp, tz::TimeZone};

const MINUTE_SECONDS: i64 = 60;
/// More minutes than a sandbox lives: how far back what was missed is looked for.
const MINUTES_BACK_MAX: i64 = 100_000;

/// A minute, as the number of them since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Minute(i64);

impl Minute {
    /// The one that a moment lies in.
    pub(crate) fn of(time: Timestamp) -> Self {
        Self(time.as_second().div_euclid(MINUTE_SECONDS))
    }

    /// The number itself.
    pub(crate) fn number(self) -> i64 {
        self.0
    }

    /// When it begins.
    pub(crate) fn begin(self) -> Timestamp {
        Timestamp::from_second(self.0 * MINUTE_SECONDS).unwrap_or(Timestamp::MAX)
    }

    /// The one after it.
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A schedule that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schedule {
    minutes: Field,
    hours: Field,
    days: Field,
    months: Field,
    weekdays: Field,
}

/// The numbers of a field; `*` is told apart for the days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    /// Bit n is set for number n.
    bits: u64,
    is_star: bool,
}

impl Schedule {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, in the words of the parser that Kubernetes uses where that has some.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let fields = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            _ if text.starts_with('@') => {
                return Err(format!("unrecognized descriptor: {text}"));
            }
            fields => fields,
        };
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            let (found, fields) = (fields.len(), fields.join(" "));
            return Err(format!(
                "expected exactly 5 fields, found {found}: [{fields}]"
            ));
        };
        Ok(Self {
            minutes: Field::parse(minutes, 0, 59)?,
            hours: Field::parse(hours, 0, 23)?,
            days: Field::parse(days, 1, 31)?,
            months: Field::parse(months, 1, 12)?,
            weekdays: Field::parse(weekdays, 0, 6)?,
        })
    }

    /// The last minute that was due after the moment `earliest` and has begun by `now`.
    pub(crate) fn last_due(&self, earliest: Timestamp, now: Timestamp) -> Option<Minute> {
        let last = Minute::of(now).number();
        let mut back = (0..MINUTES_BACK_MAX).map(|ago| Minute(last - ago));
        back.find(|minute| minute.begin() <= earliest || self.is_due(*minute))
            .filter(|minute| minute.begin() > earliest)
    }

    fn is_due(&self, minute: Minute) -> bool {
        let time = minute.begin().to_zoned(TimeZone::UTC);
        let is_day = self.days.has(time.day());
        let is_weekday = self.weekdays.has(time.weekday().to_sunday_zero_offset());
        // If both say something, either will do.
        let is_today = match (self.days.is_star, self.weekdays.is_star) {
            (false, false) => is_day || is_weekday,
            _ => is_day && is_weekday,
        };
        is_today
            && self.minutes.has(time.minute())
            && self.hours.has(time.hour())
            && self.months.has(time.month())
    }
}

impl Field {
    fn has(self, number: i8) -> bool {
        u32::try_from(number).is_ok_and(|number| self.bits >> number & 1 == 1)
    }

    /// A comma list of `*`, numbers and ranges, each with a step or without.
    fn parse(text: &str, first: u32, last: u32) -> Result<Self, String> {
        let mut field = Self {
            bits: 0,
            is_star: false,
        };
        for item in text.split(',') {
            let (range, step) = item.split_once('/').unwrap_or((item, "1"));
            let step = number(step)?;
            if step == 0 {
                return Err(format!("step of range should be a positive number: {item}"));
            }
            let (begin, end) = match range.split_once('-') {
                _ if range == "*" => (first, last),
                Some((begin, end)) => (number(begin)?, number(end)?),
                // `5/10` goes on to the end.
                None if item.contains('/') => (number(range)?, last),
                None => (number(range)?, number(range)?),
            };
            if begin < first {
                return Err(format!(
                    "beginning of range ({begin}) below minimum ({first}): {item}"
                ));
            }
            if end > last {
                return Err(format!(
                    "end of range ({end}) above maximum ({last}): {item}"
                ));
            }
            if begin > end {
                return Err(format!(
                    "beginning of range ({begin}) beyond end of range ({end}): {item}"
                ));
            }
            field.is_star |= item == "*";
            let step = usize::try_from(step).unwrap_or(usize::MAX);
            for number in (begin..=end).step_by(step) {
                field.bits |= 1 << number;
            }
        }
        Ok(field)
    }
}

/// Names of months and days are beyond a sandbox.
fn number(text: &str) -> Result<u32, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_number);
    number.ok_or_else(|| format!("failed to parse int from {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("it is a moment")
    }

    fn schedule(text: &str) -> Schedule {
        Schedule::parse(text).expect("it is a schedule")
    }

    /// The last time in two months, at the end of Sunday, 22 November 2026.
    fn last(text: &str) -> String {
        let now = at("2026-11-22T23:59:30Z");
        let due = schedule(text).last_due(at("2026-09-20T00:00:00Z"), now);
        due.map_or_else(|| "never".to_owned(), |due| due.begin().to_string())
    }

    #[test]
    fn refuses_what_is_no_schedule() {
        for (text, why) in [
            ("", "expected exactly 5 fields, found 0: []"),
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            (
                "* * * * * *",
                "expected exactly 5 fields, found 6: [* * * * * *]",
            ),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            (
                "9-1 * * * *",
                "beginning of range (9) beyond end of range (1): 9-1",
            ),
            (
                "*/0 * * * *",
                "step of range should be a positive number: */0",
            ),
            ("* * * jan *", "failed to parse int from jan"),
            ("+1 * * * *", "failed to parse int from +1"),
            ("1, * * * *", "failed to parse int from "),
            ("@reboot", "unrecognized descriptor: @reboot"),
            ("@every 1h", "unrecognized descriptor: @every 1h"),
        ] {
            assert_eq!(Schedule::parse(text), Err(why.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn every_field_counts() {
        for (text, due) in [
            ("* * * * *", "2026-11-22T23:59:00Z"),
            ("*/15 * * * *", "2026-11-22T23:45:00Z"),
            ("5/20 * * * *", "2026-11-22T23:45:00Z"),
            ("0-10/5,30 22 * * *", "2026-11-22T22:30:00Z"),
            ("@hourly", "2026-11-22T23:00:00Z"),
            ("@daily", "2026-11-22T00:00:00Z"),
            ("@weekly", "2026-11-22T00:00:00Z"),
            ("@monthly", "2026-11-01T00:00:00Z"),
            ("0 12 * 10 *", "2026-10-31T12:00:00Z"),
            ("0 0 * * 1-5", "2026-11-20T00:00:00Z"),
            // The 21st, or a Friday.
            ("0 0 21 * 5", "2026-11-21T00:00:00Z"),
            ("@yearly", "never"),
            ("0 0 31 2 *", "never"),
        ] {
            assert_eq!(last(text), due, "{text}");
        }
    }

    #[test]
    fn what_was_due_at_the_earliest_moment_itself_is_over() {
        let each = schedule("* * * * *");
        let begun = at("2026-11-22T10:00:00Z");
        assert_eq!(each.last_due(begun, at("2026-11-22T10:00:59Z")), None);
        let due = each.last_due(begun, at("2026-11-22T10:01:00Z"));
        assert_eq!(
            due.map(Minute::number),
            Some(Minute::of(begun).next().number())
        );
        assert_eq!(due.map(Minute::begin), Some(at("2026-11-22T10:01:00Z")));
    }
}
