//! What a pod's containers do at the moment, and what may come next: no effects.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, PodSpec, PodStatus};
use k8s_openapi::jiff::Timestamp;

/// Which part a container plays in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// An init container that must succeed before the next one starts.
    Init,
    /// An init container with `restartPolicy: Always`.
    Sidecar,
    Main,
}

impl Role {
    /// Whether a container that ended with `code` is started again, in a pod of this `restartPolicy`.
    pub(super) fn runs_again(self, policy: &str, code: i32) -> bool {
        match (self, policy) {
            (Self::Sidecar, _) => true,
            (_, "Never") => false,
            (Self::Init, _) | (_, "OnFailure") => code != 0,
            (Self::Main, _) => true,
        }
    }
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exit {
    pub(super) code: i32,
    /// Why it never ran, or what it wrote to its termination log.
    pub(super) message: Option<String>,
    /// None for one that never ran.
    pub(super) started_at: Option<Timestamp>,
    pub(super) finished_at: Timestamp,
}

/// What a container does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// It hasn't been started, or couldn't be, or is to be started again: with reason and message.
    Waiting(&'static str, String),
    Running(Timestamp),
    Ended(Exit),
}

/// A container's place in its pod.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) container: Container,
    pub(super) role: Role,
    pub(super) doing: Doing,
    /// How its last process ended, once it is to be started again.
    pub(super) last: Option<Exit>,
    /// How often it was started, less one.
    pub(super) restarts: i32,
    /// Its startup probe has succeeded, or it has none and runs.
    pub(super) started: bool,
    /// The same of any of its runs.
    pub(super) was_started: bool,
    /// Its postStart hook is over, or never ran because it couldn't be started: the next
    /// container's turn.
    pub(super) makes_way: bool,
    /// It is to get traffic.
    pub(super) ready: bool,
}

/// A pod's containers, and the rest of what its status says.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// Init containers in their order, then the main ones.
    pub(super) slots: Vec<Slot>,
    /// Empty until the pod has its place.
    pub(super) addrs: Vec<IpAddr>,
    /// Nothing runs and nothing will.
    pub(super) over: bool,
}

impl State {
    /// Restart counts go on from `previous`, what the pod's status said before this agent came.
    pub(super) fn new(spec: &PodSpec, previous: Option<&PodStatus>) -> Self {
        let init = spec.init_containers.iter().flatten().map(|container| {
            let restarts = container.restart_policy.as_deref() == Some("Always");
            (container, if restarts { Role::Sidecar } else { Role::Init })
        });
        let mains = spec
            .containers
            .iter()
            .map(|container| (container, Role::Main));
        let has_init = spec
            .init_containers
            .as_ref()
            .is_some_and(|all| !all.is_empty());
        let slot = |(container, role): (&Container, Role)| {
            let waits = has_init && role == Role::Main;
            let reason = if waits {
                "PodInitializing"
            } else {
                "ContainerCreating"
            };
            Slot {
                role,
                doing: Doing::Waiting(reason, String::new()),
                last: None,
                restarts: previous.map_or(0, |status| restarts(status, &container.name)),
                started: false,
                was_started: false,
                makes_way: false,
                ready: false,
                container: container.clone(),
            }
        };
        Self {
            slots: init.chain(mains).map(slot).collect(),
            addrs: Vec::new(),
            over: false,
        }
    }

    /// See <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase>.
    pub(super) fn phase(&self) -> &'static str {
        let mut mains = self.slots.iter().filter(|slot| slot.role == Role::Main);
        if self.over {
            return if mains.all(Slot::succeeded) {
                "Succeeded"
            } else {
                "Failed"
            };
        }
        let never_ran =
            |slot: &Slot| matches!(slot.doing, Doing::Waiting(..)) && slot.last.is_none();
        if !self.is_initialized() || mains.any(never_ran) {
            "Pending"
        } else {
            "Running"
        }
    }

    /// Whether all init containers are done and all sidecars have started.
    pub(super) fn is_initialized(&self) -> bool {
        self.slots.iter().all(|slot| match slot.role {
            Role::Init => slot.succeeded(),
            Role::Sidecar => slot.was_started,
            Role::Main => true,
        })
    }
}

/// The process of an agent before this one is gone, which is a restart.
fn restarts(status: &PodStatus, name: &str) -> i32 {
    let all = status
        .container_statuses
        .iter()
        .chain(&status.init_container_statuses);
    let before = all.flatten().find(|one| one.name == name);
    let ran = |one: &ContainerStatus| {
        one.state
            .as_ref()
            .is_some_and(|state| state.running.is_some())
    };
    before.map_or(0, |before| before.restart_count + i32::from(ran(before)))
}

impl Slot {
    /// How its last process ended, if it isn't running.
    pub(super) fn exit(&self) -> Option<&Exit> {
        match &self.doing {
            Doing::Ended(exit) => Some(exit),
            Doing::Waiting(..) => self.last.as_ref(),
            Doing::Running(_) => None,
        }
    }

    pub(super) fn succeeded(&self) -> bool {
        self.exit().is_some_and(|exit| exit.code == 0)
    }

    /// Its process runs, and whatever its startup probe asks has come about.
    pub(super) fn has_started(&mut self) {
        self.started = true;
        self.was_started = true;
        self.ready = self.container.readiness_probe.is_none();
    }

    /// Its process has ended, and won't be followed by another one.
    pub(super) fn has_ended(&mut self, exit: Exit) {
        self.doing = Doing::Ended(exit);
        self.started = false;
        self.ready = false;
    }

    /// It is to be started again, at once or after a pause.
    pub(super) fn starts_again(&mut self, pause_secs: u64) {
        if let Doing::Ended(exit) = &self.doing {
            self.last = Some(exit.clone());
        }
        if pause_secs > 0 {
            let message = format!(
                "back-off {pause_secs}s restarting failed container={}",
                self.container.name
            );
            self.doing = Doing::Waiting("CrashLoopBackOff", message);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn state(spec: Value) -> State {
        State::new(&serde_json::from_value(spec).expect("a spec"), None)
    }

    fn exit(code: i32) -> Exit {
        let now = Timestamp::UNIX_EPOCH;
        Exit {
            code,
            message: None,
            started_at: Some(now),
            finished_at: now,
        }
    }

    #[test]
    fn containers_run_again_as_the_policy_says_and_sidecars_always() {
        for (role, policy, code, again) in [
            (Role::Sidecar, "Never", 0, true),
            (Role::Init, "Never", 1, false),
            (Role::Init, "Always", 0, false),
            (Role::Init, "Always", 1, true),
            (Role::Main, "Never", 1, false),
            (Role::Main, "OnFailure", 0, false),
            (Role::Main, "OnFailure", 1, true),
            (Role::Main, "Always", 0, true),
        ] {
            assert_eq!(
                role.runs_again(policy, code),
                again,
                "{role:?} {policy} {code}"
            );
        }
    }

    #[test]
    fn a_pod_is_pending_until_its_main_containers_run() {
        let mut state = state(json!({
            "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}],
            "containers": [{"name": "a"}]}));
        assert_eq!(state.phase(), "Pending");
        state.slots[0].has_ended(exit(0));
        assert!(!state.is_initialized());
        state.slots[1].has_started();
        assert!(state.is_initialized());
        assert_eq!(state.phase(), "Pending");
        state.slots[2].doing = Doing::Running(Timestamp::UNIX_EPOCH);
        assert_eq!(state.phase(), "Running");
        state.slots[2].has_ended(exit(3));
        state.slots[2].starts_again(10);
        assert_eq!(state.phase(), "Running");
    }

    #[test]
    fn a_pod_that_is_over_succeeded_only_if_every_main_container_did() {
        let mut state = state(json!({"containers": [{"name": "a"}, {"name": "b"}]}));
        state.over = true;
        assert_eq!(state.phase(), "Failed", "none ever ran");
        state.slots[0].has_ended(exit(0));
        state.slots[1].has_ended(exit(1));
        assert_eq!(state.phase(), "Failed");
        state.slots[1].has_ended(exit(0));
        assert_eq!(state.phase(), "Succeeded");
    }
}
