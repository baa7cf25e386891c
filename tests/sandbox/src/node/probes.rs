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

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Startup,
    Liveness,
    Readiness,
}

impl Purpose {
    /// As in the events of the kubelet.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Set when enough results in a row agree: what to believe from now on.
    pub(crate) verdict: Option<bool>,
    /// Why this one failed.
    pub(crate) failure: Option<String>,
}

/// A probe's numbers, with Kubernetes' defaults.
#[derive(Clone, Debug)]
struct Pace {
    initial_delay: Duration,
    period: Duration,
    timeout: Duration,
    streak: Streak,
}

/// How many results in a row it takes.
#[derive(Clone, Debug)]
struct Streak {
    success_threshold: u32,
    failure_threshold: u32,
    last: Option<bool>,
    length: u32,
}

impl Streak {
    /// Some as long as the threshold is reached, so that a verdict which came too early for the
    /// container's state is repeated.
    fn record(&mut self, success: bool) -> Option<bool> {
        if self.last == Some(success) {
            self.length = self.length.saturating_add(1);
        } else {
            (self.last, self.length) = (Some(success), 1);
        }
        let threshold = if success {
            self.success_threshold
        } else {
            self.failure_threshold
        };
        (self.length >= threshold).then_some(success)
    }
}

impl Pace {
    fn of(probe: &Probe) -> Self {
        let number = |value: Option<i32>, default: u32| {
            value
                .and_then(|value| u32::try_from(value).ok())
                .filter(|v| *v > 0)
                .unwrap_or(default)
        };
        let secs = |value, default| Duration::from_secs(number(value, default).into());
        Self {
            initial_delay: secs(probe.initial_delay_seconds, 0),
            period: secs(probe.period_seconds, 10),
            timeout: secs(probe.timeout_seconds, 1),
            streak: Streak {
                success_threshold: number(probe.success_threshold, 1),
                failure_threshold: number(probe.failure_threshold, 3),
                last: None,
                length: 0,
            },
        }
    }
}

/// Asks a container again and again.
#[derive(Debug)]
pub(crate) struct Prober {
    check: Check,
    timeout: Duration,
    streak: Streak,
    ticks: Interval,
}

impl Prober {
    pub(crate) fn new(check: Check, probe: &Probe) -> Self {
        let Pace {
            initial_delay,
            period,
            timeout,
            streak,
        } = Pace::of(probe);
        let mut ticks = tokio::time::interval_at(Instant::now() + initial_delay, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            check,
            timeout,
            streak,
            ticks,
        }
    }

    /// Waits for the next time to ask, and asks.
    pub(crate) async fn next(&mut self) -> Finding {
        self.ticks.tick().await;
        let result = self.check.run(self.timeout).await;
        Finding {
            verdict: self.streak.record(result.is_ok()),
            failure: result.err(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_takes_enough_results_in_a_row() {
        let probe = Probe {
            success_threshold: Some(2),
            failure_threshold: Some(3),
            ..Probe::default()
        };
        let mut streak = Pace::of(&probe).streak;
        let results = [
            true, false, true, true, false, false, true, false, false, false, false,
        ];
        let verdicts = results.map(|result| streak.record(result));
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(
            verdicts,
            [None, None, None, yes, None, None, None, None, None, no, no]
        );
    }

    #[test]
    fn unset_numbers_are_those_of_kubernetes() {
        let pace = Pace::of(&Probe::default());
        assert_eq!(pace.initial_delay, Duration::ZERO);
        assert_eq!((pace.period.as_secs(), pace.timeout.as_secs()), (10, 1));
        assert_eq!(
            (pace.streak.success_threshold, pace.streak.failure_threshold),
            (1, 3)
        );
    }
}
