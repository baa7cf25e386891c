//! How a Service's annotations say that its requests are to be treated.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use super::{Reason, Refusal};

mod reference;

/// What the names of all of Netting's annotations begin with.
const PREFIX: &str = "netting.dev/";

/// Durations beyond this are as good as none, and more likely a slip.
const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);
const EJECT_FOR_MIN: Duration = Duration::from_millis(100);
const EJECT_FOR_MAX: Duration = Duration::from_secs(3600);
const RETRIES_MAX: u32 = 10;
const EJECT_AFTER_MAX: u32 = 1_000;
const PENDING_MAX: u32 = 1_000_000;
/// Of percentage points.
const EJECT_GAP_MAX: u32 = 100;

/// The codes of gRPC that may be retried on: those that say that something went
/// wrong, not that the call was wrong
/// (<https://grpc.github.io/grpc/core/md_doc_statuscodes.html>).
const GRPC_CODES: [(&str, u32); 8] = [
    ("cancelled", 1),
    ("unknown", 2),
    ("deadline-exceeded", 4),
    ("resource-exhausted", 8),
    ("aborted", 10),
    ("internal", 13),
    ("unavailable", 14),
    ("data-loss", 15),
];

/// What a Service says of its requests. What it doesn't say is for the sidecar to
/// decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// A request with all its tries, until the response's end.
    pub timeout: Option<Duration>,
    /// One try, until the response's head.
    pub per_try_timeout: Option<Duration>,
    /// Tries beyond the first.
    pub retries: Option<u32>,
    /// When a try is followed by another that an endpoint may have worked on.
    pub retry_on: Option<RetryOn>,
    /// Requests from one sidecar that may wait for an answer at a time.
    pub max_pending: Option<u32>,
    /// Failures in a row after which an endpoint is ejected; 0 for never.
    pub eject_after: Option<u32>,
    /// By how many percentage points more of its requests have to fail than of its
    /// siblings' for an endpoint to be ejected; 0 for never.
    pub eject_gap: Option<u32>,
    /// How long an endpoint is ejected the first time.
    pub eject_for: Option<Duration>,
}

/// What a try may end with to be followed by another, each list in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryOn {
    /// The connection broke before the response's head.
    pub reset: bool,
    /// HTTP statuses.
    pub statuses: Vec<u16>,
    /// Codes of gRPC.
    pub grpc_codes: Vec<u32>,
}

impl Policy {
    /// Parses the annotations that are Netting's. What is wrong is left out, and all
    /// of it is told.
    pub(super) fn parse(
        annotations: &BTreeMap<String, String>,
        refused: &mut Vec<Refusal>,
    ) -> Self {
        let mut policy = Self::default();
        for (name, value) in annotations {
            let Some(option) = name.strip_prefix(PREFIX) else {
                continue;
            };
            if let Err(expected) = policy.set(option, value) {
                refused.push(refusal(name, value, &expected));
            }
        }
        if let (Some(whole), Some(each)) = (policy.timeout, policy.per_try_timeout)
            && each > whole
        {
            policy.per_try_timeout = None;
            let (name, value) = ("netting.dev/per-try-timeout", text_of(each));
            let expected = format!("at most netting.dev/timeout, which is {}", text_of(whole));
            refused.push(refusal(name, &value, &expected));
        }
        policy
    }

    /// Takes one option in. What is wrong with it, as what was expected; a list
    /// keeps those of its items that are good.
    fn set(&mut self, option: &str, value: &str) -> Result<(), String> {
        if !reference::knows(option) {
            return Err(reference::no_such());
        }
        match option {
            "timeout" => {
                self.timeout = Some(duration(value, Duration::from_millis(1), DURATION_MAX)?);
            }
            "per-try-timeout" => {
                let longest = DURATION_MAX;
                self.per_try_timeout = Some(duration(value, Duration::from_millis(1), longest)?);
            }
            "retries" => self.retries = Some(number(value, 0, RETRIES_MAX)?),
            "retry-on" => {
                let (retry_on, wrong) = RetryOn::parse(value);
                self.retry_on = Some(retry_on);
                return wrong;
            }
            "max-pending" => self.max_pending = Some(number(value, 1, PENDING_MAX)?),
            "eject-after" => self.eject_after = Some(number(value, 0, EJECT_AFTER_MAX)?),
            "eject-gap" => self.eject_gap = Some(percent(value, EJECT_GAP_MAX)?),
            "eject-for" => self.eject_for = Some(duration(value, EJECT_FOR_MIN, EJECT_FOR_MAX)?),
            _ => return Err(reference::no_such()),
        }
        Ok(())
    }
}

impl RetryOn {
    /// Parses a list. What is wrong is left out, all of it told at once.
    fn parse(list: &str) -> (Self, Result<(), String>) {
        let mut retry_on = Self::default();
        let items = list.split(',').map(str::trim);
        let wrong: Vec<_> = items.filter(|item| !retry_on.add(item)).collect();
        retry_on.statuses.sort_unstable();
        retry_on.statuses.dedup();
        retry_on.grpc_codes.sort_unstable();
        retry_on.grpc_codes.dedup();
        let codes: Vec<_> = GRPC_CODES.iter().map(|(name, _)| *name).collect();
        let told = || {
            format!(
                "a list of reset, gateway-error, 5xx, statuses from 400 to 599, and gRPC's {}; \
                 not {wrong:?}",
                codes.join(", ")
            )
        };
        let result = if wrong.is_empty() {
            Ok(())
        } else {
            Err(told())
        };
        (retry_on, result)
    }

    fn add(&mut self, item: &str) -> bool {
        let grpc = GRPC_CODES.iter().find(|(name, _)| *name == item);
        match item {
            // Always retried, for the request was not begun.
            "connect-failure" | "refused-stream" => {}
            "reset" => self.reset = true,
            "gateway-error" => self.statuses.extend(502..=504),
            "5xx" => self.statuses.extend(500..=599),
            _ => match (grpc, item.parse()) {
                (Some((_, code)), _) => self.grpc_codes.push(*code),
                (None, Ok(status @ 400..=599)) => self.statuses.push(status),
                _ => return false,
            },
        }
        true
    }
}

fn refusal(name: &str, value: &str, expected: &str) -> Refusal {
    Reason::BadAnnotation.of(format!("{name}={value:?}: expected {expected}"))
}

fn duration(text: &str, shortest: Duration, longest: Duration) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text.trim()).ok();
    let within = parsed.filter(|duration| (shortest..=longest).contains(duration));
    within.ok_or_else(|| {
        format!(
            "a time with its unit, such as 300ms or 1m 30s, from {} to {}",
            text_of(shortest),
            text_of(longest)
        )
    })
}

fn number(text: &str, least: u32, most: u32) -> Result<u32, String> {
    let parsed = u32::from_str(text.trim()).ok();
    let within = parsed.filter(|number| (least..=most).contains(number));
    within.ok_or_else(|| format!("a number from {least} to {most}"))
}

fn percent(text: &str, most: u32) -> Result<u32, String> {
    let digits = text.trim().strip_suffix('%').unwrap_or(text);
    number(digits, 0, most).map_err(|_| format!("a percentage from 0 to {most}, such as 30%"))
}

fn text_of(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

impl fmt::Display for Policy {
    /// As in queries: `timeout=2s retries=3 retry-on=reset,503,unavailable`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u32>| number.map(|number| number.to_string());
        let options = [
            ("timeout", self.timeout.map(text_of)),
            ("per-try-timeout", self.per_try_timeout.map(text_of)),
            ("retries", number(self.retries)),
            ("retry-on", self.retry_on.as_ref().map(RetryOn::to_string)),
            ("max-pending", number(self.max_pending)),
            ("eject-after", number(self.eject_after)),
            ("eject-gap", self.eject_gap.map(|gap| format!("{gap}%"))),
            ("eject-for", self.eject_for.map(text_of)),
        ];
        let said = options.into_iter().filter_map(|(name, value)| {
            let value = value?;
            Some(format!("{name}={value}"))
        });
        f.write_str(&said.collect::<Vec<_>>().join(" "))
    }
}

impl fmt::Display for RetryOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all_5xx = (500..=599).all(|status| self.statuses.contains(&status));
        let mut items: Vec<String> = Vec::new();
        items.extend(self.reset.then(|| "reset".to_owned()));
        let single = |status: &&u16| !all_5xx || **status < 500;
        items.extend(self.statuses.iter().filter(single).map(u16::to_string));
        items.extend(all_5xx.then(|| "5xx".to_owned()));
        for (name, code) in GRPC_CODES {
            items.extend(self.grpc_codes.contains(&code).then(|| name.to_owned()));
        }
        f.write_str(&items.join(","))
    }
}

#[cfg(test)]
mod tests;
