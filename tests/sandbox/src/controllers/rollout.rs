//! How a Deployment goes from one set of ReplicaSets to another: no I/O.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/>

use k8s_openapi::{
    api::apps::v1::{Deployment, ReplicaSet},
    apimachinery::pkg::util::intstr::IntOrString,
};

/// The replicas that the ReplicaSets of a Deployment are to have now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// Of the one with the current template.
    pub(super) new: i32,
    /// Of the others, in the order in which they were given.
    pub(super) old: Vec<i32>,
}

/// What is known of a ReplicaSet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Replicas {
    /// As its specification says.
    pub(super) wanted: i32,
    /// Pods there are.
    pub(super) actual: i32,
    pub(super) available: i32,
}

impl Replicas {
    /// What `set` says of itself.
    pub(super) fn of(set: &ReplicaSet) -> Self {
        let status = set.status.as_ref();
        Self {
            wanted: set
                .spec
                .as_ref()
                .and_then(|spec| spec.replicas)
                .unwrap_or(0),
            actual: status.map_or(0, |status| status.replicas),
            available: status
                .and_then(|status| status.available_replicas)
                .unwrap_or(0),
        }
    }
}

/// The next step: `new` is the ReplicaSet with the current template, `old` are the others, oldest
/// first.
pub(super) fn plan(deployment: &Deployment, new: Replicas, old: &[Replicas]) -> Plan {
    let desired = desired(deployment);
    if strategy(deployment) == Some("Recreate") {
        let all_gone = old.iter().all(|one| one.actual == 0 && one.wanted == 0);
        return Plan {
            new: if all_gone { desired } else { new.wanted },
            old: vec![0; old.len()],
        };
    }
    let (surge, unavailable) = bounds(deployment);
    let total: i32 = new.wanted + old.iter().map(|one| one.wanted).sum::<i32>();
    let room = (desired + surge - total).max(0);
    // Down at once, if somebody scaled down; up as far as there is room.
    let scaled = if new.wanted > desired {
        desired
    } else {
        (new.wanted + room).min(desired)
    };
    Plan {
        new: scaled,
        old: scaled_down(desired - unavailable, new, old),
    }
}

/// The old replicas that are still needed for `least` pods to be available.
fn scaled_down(least: i32, new: Replicas, old: &[Replicas]) -> Vec<i32> {
    let total: i32 = new.wanted + old.iter().map(|one| one.wanted).sum::<i32>();
    let unready_new = new.wanted - new.available;
    let mut removable = (total - least - unready_new).max(0);
    let mut wanted: Vec<i32> = old.iter().map(|one| one.wanted).collect();
    // Those that serve nobody go first.
    for (wanted, one) in wanted.iter_mut().zip(old) {
        let unhealthy = (one.wanted - one.available).clamp(0, removable);
        *wanted -= unhealthy;
        removable -= unhealthy;
    }
    let available: i32 = new.available + old.iter().map(|one| one.available).sum::<i32>();
    let mut removable = removable.min((available - least).max(0));
    for wanted in &mut wanted {
        let gone = (*wanted).min(removable);
        *wanted -= gone;
        removable -= gone;
    }
    wanted
}

/// `spec.replicas`.
pub(super) fn desired(deployment: &Deployment) -> i32 {
    deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1)
}

/// `maxSurge` and `maxUnavailable` as numbers of pods; never both 0.
pub(super) fn bounds(deployment: &Deployment) -> (i32, i32) {
    let rolling = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.strategy.as_ref()?.rolling_update.as_ref());
    let quarter = IntOrString::String("25%".to_owned());
    let desired = desired(deployment);
    let surge = rolling
        .and_then(|rolling| rolling.max_surge.as_ref())
        .unwrap_or(&quarter);
    let unavailable = rolling
        .and_then(|rolling| rolling.max_unavailable.as_ref())
        .unwrap_or(&quarter);
    let surge = scaled(surge, desired, true);
    let unavailable = scaled(unavailable, desired, false);
    if surge == 0 && unavailable == 0 {
        (0, 1)
    } else {
        (surge, unavailable.min(desired))
    }
}

fn strategy(deployment: &Deployment) -> Option<&str> {
    deployment
        .spec
        .as_ref()?
        .strategy
        .as_ref()?
        .type_
        .as_deref()
}

/// A number, or a percentage of `of`, rounded up or down.
fn scaled(value: &IntOrString, of: i32, up: bool) -> i32 {
    match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let percent: i32 = text.trim_end_matches('%').parse().unwrap_or(0);
            let rounding = if up { 99 } else { 0 };
            (percent * of + rounding) / 100
        }
    }
}

#[cfg(test)]
mod tests;
