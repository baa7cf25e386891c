//! How a Deployment goes from one set of ReplicaSets to another: no I/O.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/>

use serde_json::Value;

use crate::api::object::Object as _;

/// The replicas that the ReplicaSets of a Deployment are to have now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Of the one with the current template.
    pub(super) new: i64,
    /// Of the others, in the order in which they were given.
    pub(super) old: Vec<i64>,
}

/// What is known of a ReplicaSet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Replicas {
    /// As its specification says.
    pub(super) wanted: i64,
    /// Pods there are.
    pub(super) actual: i64,
    pub(super) available: i64,
}

/// How far a rollout may deviate from the wanted number of pods; never both 0.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) surge: i64,
    pub(super) unavailable: i64,
}

impl Replicas {
    /// What `set` says of itself.
    pub(super) fn of(set: &Value) -> Self {
        Self {
            wanted: set.integer("/spec/replicas").unwrap_or(0),
            actual: set.integer("/status/replicas").unwrap_or(0),
            available: set.integer("/status/availableReplicas").unwrap_or(0),
        }
    }
}

/// The next step of a Deployment with this `spec`: `new` is the ReplicaSet with the current template,
/// `old` are the others.
pub(super) fn plan(spec: &Value, new: Replicas, old: &[Replicas]) -> Plan {
    let desired = desired(spec);
    if spec.text("/strategy/type") == "Recreate" {
        let all_gone = old.iter().all(|one| one.actual == 0 && one.wanted == 0);
        return Plan {
            new: if all_gone { desired } else { new.wanted },
            old: vec![0; old.len()],
        };
    }
    let Bounds { surge, unavailable } = bounds(spec);
    let total = new.wanted + old.iter().map(|one| one.wanted).sum::<i64>();
    let room = (desired + surge - total).max(0);
    Plan {
        // Down at once, if somebody scaled down; up as far as there is room.
        new: (new.wanted + room).min(desired),
        old: scaled_down(desired - unavailable, new, old),
    }
}

/// The old replicas that are still needed for `least` pods to be available.
fn scaled_down(least: i64, new: Replicas, old: &[Replicas]) -> Vec<i64> {
    let available = new.available + old.iter().map(|one| one.available).sum::<i64>();
    let mut removable = (available - least).max(0);
    let keep = |one: &Replicas| {
        // Those that serve nobody go first.
        let serving = one.wanted.min(one.available);
        let gone = serving.min(removable);
        removable -= gone;
        serving - gone
    };
    old.iter().map(keep).collect()
}

/// `spec.replicas`.
pub(super) fn desired(spec: &Value) -> i64 {
    spec.integer("/replicas").unwrap_or(1)
}

/// `maxSurge` and `maxUnavailable` as numbers of pods.
pub(super) fn bounds(spec: &Value) -> Bounds {
    let desired = desired(spec);
    let rolling = &spec["strategy"]["rollingUpdate"];
    let surge = scaled(&rolling["maxSurge"], desired, true);
    let unavailable = scaled(&rolling["maxUnavailable"], desired, false);
    Bounds {
        surge,
        unavailable: if surge == 0 {
            unavailable.max(1)
        } else {
            unavailable.min(desired)
        },
    }
}

/// A number, or a percentage of `of`, rounded up or down; a quarter if it isn't given.
fn scaled(value: &Value, of: i64, up: bool) -> i64 {
    if let Some(number) = value.as_i64() {
        return number;
    }
    let percent = value.as_str().unwrap_or("25%").trim_end_matches('%');
    let rounding = if up { 99 } else { 0 };
    (percent.parse::<i64>().unwrap_or(0) * of + rounding) / 100
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(replicas: i64, surge: Value, unavailable: Value) -> Value {
        json!({"replicas": replicas, "strategy": {"type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}})
    }

    fn set(wanted: i64, available: i64) -> Replicas {
        Replicas {
            wanted,
            actual: wanted,
            available,
        }
    }

    fn step(spec: &Value, new: Replicas, old: &[Replicas]) -> (i64, Vec<i64>) {
        let Plan { new, old } = plan(spec, new, old);
        (new, old)
    }

    #[test]
    fn bounds_round_surge_up_and_unavailability_down() {
        let of = |replicas, surge, unavailable| {
            let Bounds { surge, unavailable } = bounds(&spec(replicas, surge, unavailable));
            (surge, unavailable)
        };
        assert_eq!(of(3, json!("25%"), json!("25%")), (1, 0));
        assert_eq!(of(10, Value::Null, Value::Null), (3, 2));
        assert_eq!(of(3, json!(0), json!(0)), (0, 1));
    }

    #[test]
    fn a_rollout_surges_and_never_falls_below_what_must_be_available() {
        let spec = spec(3, json!(1), json!(0));
        assert_eq!(step(&spec, set(0, 0), &[]), (3, vec![]));
        assert_eq!(step(&spec, set(0, 0), &[set(3, 3)]), (1, vec![3]));
        assert_eq!(step(&spec, set(1, 0), &[set(3, 3)]), (1, vec![3]));
        assert_eq!(step(&spec, set(1, 1), &[set(3, 3)]), (1, vec![2]));
        assert_eq!(step(&spec, set(1, 1), &[set(2, 2)]), (2, vec![2]));
        assert_eq!(step(&spec, set(3, 3), &[set(0, 0)]), (3, vec![0]));
        assert_eq!(step(&spec, set(5, 5), &[]), (3, vec![]));
    }

    #[test]
    fn old_pods_that_serve_nobody_go_first() {
        let spec = spec(3, json!(1), json!(0));
        assert_eq!(
            step(&spec, set(1, 0), &[set(1, 0), set(3, 3)]),
            (1, vec![0, 3])
        );
    }

    #[test]
    fn recreate_waits_until_the_old_pods_are_gone() {
        let spec = json!({"replicas": 2, "strategy": {"type": "Recreate"}});
        assert_eq!(step(&spec, set(0, 0), &[set(2, 2)]), (0, vec![0]));
        let ending = Replicas {
            wanted: 0,
            actual: 1,
            available: 0,
        };
        assert_eq!(step(&spec, set(0, 0), &[ending]), (0, vec![0]));
        assert_eq!(step(&spec, set(0, 0), &[set(0, 0)]), (2, vec![0]));
    }
}
