//! Startup, liveness and readiness probes, asked from the node's network as the kubelet does.
//!
//! See <https://kubernetes.io/docs/concepts/workloads/pods/probes/>.

mod check;
mod grpc;
mod http;

use std::time::Duration;

use k8s_openapi::api::core::v1::Probe;
use tokio::time::{Instant, Interval, MissedTickBehavior};

pub(crate) use check::{Check, Subject};

/// Asks a container again and again.
pub(crate) struct Prober<'a> {
    check: Check,
    timeout: Duration,
    streak: Streak,
    ticks: Interval,
    /// Hears why an answer was no.
    failed: Box<dyn Fn(&str) + Send + Sync + 'a>,
}

impl<'a> Prober<'a> {
    pub(crate) fn new(
        check: Check,
        probe: &Probe,
        failed: impl Fn(&str) + Send + Sync + 'a,
    ) -> Self {
        let secs = |value, default| Duration::from_secs(number(value, default).into());
        let begin = Instant::now() + secs(probe.initial_delay_seconds, 0);
        let mut ticks = tokio::time::interval_at(begin, secs(probe.period_seconds, 10));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            check,
            timeout: secs(probe.timeout_seconds, 1),
            streak: Streak::of(probe),
            ticks,
            failed: Box::new(failed),
        }
    }

    /// Asks until enough answers in a row agree, and returns which.
    pub(crate) async fn verdict(&mut self) -> bool {
        loop {
            self.ticks.tick().await;
            let answer = self.check.run(self.timeout).await;
            if let Err(why) = &answer {
                (self.failed)(why);
            }
            if let Some(verdict) = self.streak.record(answer.is_ok()) {
                return verdict;
            }
        }
    }
}

/// A probe's number, or Kubernetes' default.
fn number(value: Option<i32>, default: u32) -> u32 {
    let value = value.and_then(|value| u32::try_from(value).ok());
    value.filter(|value| *value > 0).unwrap_or(default)
}

/// How many answers in a row it takes.
struct Streak {
    success_threshold: u32,
    failure_threshold: u32,
    last: Option<bool>,
    length: u32,
}

impl Streak {
    fn of(probe: &Probe) -> Self {
        Self {
            success_threshold: number(probe.success_threshold, 1),
            failure_threshold: number(probe.failure_threshold, 3),
            last: None,
            length: 0,
        }
    }

    /// Some as long as the threshold is reached.
    fn record(&mut self, success: bool) -> Option<bool> {
        if self.last == Some(success) {
            self.length = self.length.saturating_add(1);
        } else {
            (self.last, self.length) = (Some(success), 1);
        }
        let thresholds = (self.success_threshold, self.failure_threshold);
        let threshold = if success { thresholds.0 } else { thresholds.1 };
        (self.length >= threshold).then_some(success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_takes_enough_answers_in_a_row() {
        let probe = Probe {
            success_threshold: Some(2),
            ..Probe::default()
        };
        let mut streak = Streak::of(&probe);
        let answers = [
            true, false, true, true, false, false, true, false, false, false, false,
        ];
        let verdicts = answers.map(|answer| streak.record(answer));
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(
            verdicts,
            [None, None, None, yes, None, None, None, None, None, no, no]
        );
    }
}
