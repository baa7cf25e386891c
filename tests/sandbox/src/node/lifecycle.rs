//! When each container of a pod starts and stops: decisions only, no effects.
//!
//! The pod's task tells the [`Lifecycle`] what happened (a process started, one ended, a probe
//! changed its mind, the pod was deleted) and does what [`Lifecycle::advance`] returns. The rules
//! are the kubelet's:
//! - init containers run one after the other; a sidecar (an init container that restarts always)
//!   lets the next one start as soon as it has started, and keeps running;
//! - when the pod ends, all preStop hooks run at once and the main containers are told to end at
//!   once, the sidecars only when those are gone, the last one first, and nobody is left running
//!   much longer than the grace period.

mod slot;

use std::time::Duration;

use k8s_openapi::api::core::v1::{PodSpec, PodStatus};
use tokio::time::Instant;

pub(crate) use slot::{Exit, Role, Slot, State};
use slot::{Next, Stop};

/// Kubernetes' default for `terminationGracePeriodSeconds`.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);

/// Time that a container has after SIGTERM even if its turn came too late, as in the kubelet.
const LEAST_GRACE: Duration = Duration::from_secs(2);

/// The pod's `restartPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

/// What is to be done next; the number is that of the container in [`Lifecycle::slots`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start its process.
    Start(usize),
    /// Run its preStop hook until then, and say when it's done.
    RunPreStop(usize, Instant),
    /// Send it SIGTERM, and SIGKILL after this time.
    Terminate(usize, Duration),
}

/// A pod's containers and what is to become of them.
#[derive(Clone, Debug)]
pub(crate) struct Lifecycle {
    /// Init containers in their order, then the main ones.
    pub(crate) slots: Vec<Slot>,
    policy: RestartPolicy,
    grace: Duration,
    /// Set when the pod ends; the moment after which nobody waits for a turn.
    ending: Option<Instant>,
}

impl Lifecycle {
    /// Restart counts go on from `previous`, what the pod's status said before this agent came.
    pub(crate) fn new(spec: &PodSpec, previous: Option<&PodStatus>) -> Self {
        let policy = match spec.restart_policy.as_deref() {
            Some("OnFailure") => RestartPolicy::OnFailure,
            Some("Never") => RestartPolicy::Never,
            _ => RestartPolicy::Always,
        };
        let init = spec.init_containers.iter().flatten();
        let mut slots: Vec<Slot> = init.map(Slot::for_init).collect();
        slots.extend(
            spec.containers
                .iter()
                .map(|main| Slot::new(main, Role::Main)),
        );
        if let Some(previous) = previous {
            for slot in &mut slots {
                slot.continue_from(previous);
            }
        }
        let grace = spec
            .termination_grace_period_seconds
            .and_then(|secs| u64::try_from(secs).ok());
        Self {
            slots,
            policy,
            grace: grace.map_or(DEFAULT_GRACE, Duration::from_secs),
            ending: None,
        }
    }

    /// The number of the container of this name.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.slots.iter().position(|slot| slot.name == name)
    }

    /// Ends the pod; a later call may only shorten the time it has.
    pub(crate) fn end(&mut self, deadline: Instant) {
        let earlier = self.ending.is_none_or(|ending| deadline < ending);
        if earlier {
            self.ending = Some(deadline);
        }
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Whether nothing runs and nothing will: the pod's network can go.
    pub(crate) fn has_ended(&self) -> bool {
        self.is_ending() && self.slots.iter().all(|slot| !slot.has_process())
    }

    /// Whether all init containers are done and all sidecars have started.
    pub(crate) fn is_initialized(&self) -> bool {
        self.slots
            .iter()
            .filter(|slot| slot.role != Role::Main)
            .all(Slot::lets_next_start)
    }

    /// Whether an init container failed for good.
    pub(crate) fn init_failed(&self) -> bool {
        let failed = |slot: &Slot| match &slot.state {
            State::Terminated(exit) => slot.role == Role::Init && exit.code != 0,
            _ => false,
        };
        self.policy == RestartPolicy::Never && self.slots.iter().any(failed)
    }

    /// What the pod's phase depends on, once its main containers won't start again.
    pub(crate) fn policy(&self) -> RestartPolicy {
        self.policy
    }

    /// Decides what is to be done now, and remembers that it is being done.
    pub(crate) fn advance(&mut self, now: Instant) -> Vec<Action> {
        let mains_done = self
            .slots
            .iter()
            .filter(|slot| slot.role == Role::Main)
            .all(|slot| slot.next(self.policy) == Next::Nothing);
        if mains_done || self.init_failed() {
            self.end(now + self.grace);
        }
        let mut actions = self.terminations(now);
        if !self.is_ending() {
            actions.extend(self.starts(now));
        }
        for action in &actions {
            self.remember(action);
        }
        actions
    }

    /// When [`Lifecycle::advance`] has something new to say by itself.
    pub(crate) fn next_wakeup(&self, now: Instant) -> Option<Instant> {
        let restarts = self
            .slots
            .iter()
            .filter_map(|slot| match slot.next(self.policy) {
                Next::Start(at) => at,
                _ => None,
            });
        let waits = self
            .ending
            .filter(|_| self.slots.iter().any(Slot::has_process));
        let restarts = restarts.filter(|_| !self.is_ending());
        restarts.chain(waits).filter(|at| *at > now).min()
    }

    fn starts(&self, now: Instant) -> Vec<Action> {
        let mut starts = Vec::new();
        for (number, slot) in self.slots.iter().enumerate() {
            let due = match slot.next(self.policy) {
                Next::Start(at) => at.is_none_or(|at| at <= now),
                _ => false,
            };
            if due {
                starts.push(Action::Start(number));
            }
            if slot.role != Role::Main && !slot.lets_next_start() {
                break;
            }
        }
        starts
    }

    fn terminations(&self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        for (number, slot) in self.slots.iter().enumerate() {
            let deadline = match (slot.doomed, self.ending) {
                (Some(own), Some(pod)) => own.min(pod),
                (Some(own), None) => own,
                (None, Some(pod)) => pod,
                (None, None) => continue,
            };
            if !matches!(slot.state, State::Running { .. }) {
                continue;
            }
            match slot.stop {
                Stop::NotAsked if slot.has_pre_stop && deadline > now => {
                    actions.push(Action::RunPreStop(number, deadline));
                }
                Stop::NotAsked | Stop::HookDone => {
                    let alone = slot.doomed.is_some();
                    if alone || deadline <= now || self.is_turn_of(number) {
                        let left = deadline.saturating_duration_since(now);
                        actions.push(Action::Terminate(number, left.max(LEAST_GRACE)));
                    }
                }
                Stop::HookRuns | Stop::Asked => (),
            }
        }
        actions
    }

    /// Sidecars wait for the main containers and for the sidecars after them.
    fn is_turn_of(&self, number: usize) -> bool {
        let before = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.has_process());
        match self.slots[number].role {
            Role::Main | Role::Init => true,
            Role::Sidecar => before.clone().all(|(other, _)| other <= number),
        }
    }

    fn remember(&mut self, action: &Action) {
        match action {
            Action::Start(number) => self.slots[*number].begin_start(),
            Action::RunPreStop(number, _) => self.slots[*number].stop = Stop::HookRuns,
            Action::Terminate(number, _) => self.slots[*number].stop = Stop::Asked,
        }
    }
}

#[cfg(test)]
mod tests;
