//! From what was seen in each round to what is told.

use serde::Serialize;

/// What one round saw of one subject.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Round {
    /// As many as went.
    pub(crate) requests_per_second: f64,
    /// User and system time of both proxies, with as many requests as went.
    pub(crate) cpu_us_per_request: f64,
    /// The same, at the fixed rate.
    pub(crate) paced_cpu_us_per_request: f64,
    /// Latencies at the fixed rate, from when a request was due.
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// Resident memory of the greater of both proxies.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Memory {
    /// Before the first request.
    pub(crate) idle_bytes: u64,
    /// At most.
    pub(crate) loaded_bytes: u64,
    /// Two seconds after the last.
    pub(crate) after_bytes: u64,
}

/// What is told of one subject: medians over the rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) requests_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) cost: Option<Cost>,
    pub(crate) rounds: Vec<Round>,
}

/// What proxies cost, which the direct connection doesn't.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Cost {
    pub(crate) cpu_us_per_request: f64,
    pub(crate) paced_cpu_us_per_request: f64,
    /// Beyond the direct connection in the same round.
    pub(crate) added_p50_us: f64,
    pub(crate) added_p99_us: f64,
    pub(crate) memory: Memory,
}

impl Figures {
    pub(crate) fn of_direct(rounds: &[Round]) -> Self {
        Self {
            requests_per_second: median(rounds.iter().map(|round| round.requests_per_second)),
            p50_us: median(rounds.iter().map(|round| round.p50_us)),
            p99_us: median(rounds.iter().map(|round| round.p99_us)),
            cost: None,
            rounds: rounds.to_vec(),
        }
    }

    pub(crate) fn of_proxies(rounds: &[Round], direct: &[Round], memory: Memory) -> Self {
        let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure));
        let beyond = |figure: fn(&Round) -> f64| {
            let pairs = rounds.iter().zip(direct);
            median(pairs.map(|(round, direct)| figure(round) - figure(direct)))
        };
        let cost = Cost {
            cpu_us_per_request: of(|round| round.cpu_us_per_request),
            paced_cpu_us_per_request: of(|round| round.paced_cpu_us_per_request),
            added_p50_us: beyond(|round| round.p50_us),
            added_p99_us: beyond(|round| round.p99_us),
            memory,
        };
        Self {
            cost: Some(cost),
            ..Self::of_direct(rounds)
        }
    }
}

/// The value in the middle, or the mean of the two that are; NaN if there is none.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values[..] {
        [] => f64::NAN,
        _ if values.len() % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(p99_us: f64) -> Round {
        Round {
            requests_per_second: 1.0,
            cpu_us_per_request: 2.0,
            paced_cpu_us_per_request: 3.0,
            p50_us: 4.0,
            p99_us,
        }
    }

    #[test]
    fn the_median_of_nothing_is_no_number_and_one_outlier_does_not_move_it() {
        assert!(median([].into_iter()).is_nan());
        assert_eq!(median([3.0, 1e9, 1.0].into_iter()), 3.0);
        assert_eq!(median([4.0, 1.0, 2.0, 1e9].into_iter()), 3.0);
    }

    #[test]
    fn what_is_added_is_counted_within_each_round() {
        let memory = Memory {
            idle_bytes: 1,
            loaded_bytes: 2,
            after_bytes: 3,
        };
        // The machine was slow for all in the second round.
        let direct = [round(100.0), round(900.0), round(110.0)];
        let proxies = [round(150.0), round(960.0), round(165.0)];
        let figures = Figures::of_proxies(&proxies, &direct, memory);
        assert_eq!(figures.cost.map(|cost| cost.added_p99_us), Some(55.0));
        assert_eq!(figures.p99_us, 165.0);
        assert!(Figures::of_direct(&direct).cost.is_none());
    }
}
