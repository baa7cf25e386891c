//! One container's place in a pod.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, PodStatus};
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::RestartPolicy;

/// The pauses of CrashLoopBackOff double from this to the maximum; the first restart is at once.
const BACKOFF_MIN: Duration = Duration::from_secs(10);
const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// A container that ran this long has not crashed in a loop.
const BACKOFF_RESET: Duration = Duration::from_secs(600);

/// Which part a container plays in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// An init container that must succeed before the next one starts.
    Init,
    /// An init container with `restartPolicy: Always`.
    Sidecar,
    Main,
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) code: i32,
    /// Why it never ran, or what it wrote to its termination log.
    pub(crate) message: Option<String>,
    /// None for one that never ran.
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Timestamp,
}

/// What a container does at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It hasn't been started, or couldn't be: then with a reason, and when it's tried again.
    Waiting {
        reason: Option<(&'static str, String)>,
        retry: Option<Instant>,
    },
    /// Its process is being made.
    Starting,
    Running {
        since: Timestamp,
        at: Instant,
    },
    Terminated(Exit),
}

/// How far its end has been brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    NotAsked,
    HookRuns,
    HookDone,
    Asked,
}

/// What may come next for a container, leaving the others aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Start, at once or not before then.
    Start(Option<Instant>),
    /// It has a process.
    Wait,
    /// It is done.
    Nothing,
}

/// A container, by what its pod's lifecycle needs to know of it.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) state: State,
    /// How its last process ended, once there was another one.
    pub(crate) last: Option<Exit>,
    pub(crate) restarts: i32,
    /// How many times it has been started; what happened to an earlier run is old news.
    pub(crate) run: u32,
    /// Its startup probe has succeeded, or it has none and runs.
    pub(crate) started: bool,
    /// It is to get traffic.
    pub(crate) ready: bool,
    pub(super) stop: Stop,
    /// Its liveness probe failed; when it has to be gone.
    pub(super) doomed: Option<Instant>,
    pub(super) has_pre_stop: bool,
    has_startup_probe: bool,
    has_readiness_probe: bool,
    ever_started: bool,
    /// The pause after the next end.
    backoff: Duration,
    /// The pause after the last end.
    pause: Duration,
    restart_at: Option<Instant>,
}

impl Slot {
    pub(super) fn new(container: &Container, role: Role) -> Self {
        let lifecycle = container.lifecycle.as_ref();
        Self {
            name: container.name.clone(),
            role,
            state: State::Waiting {
                reason: None,
                retry: None,
            },
            last: None,
            restarts: 0,
            run: 0,
            started: false,
            ready: false,
            stop: Stop::NotAsked,
            doomed: None,
            has_pre_stop: lifecycle.is_some_and(|lifecycle| lifecycle.pre_stop.is_some()),
            has_startup_probe: container.startup_probe.is_some(),
            has_readiness_probe: container.readiness_probe.is_some(),
            ever_started: false,
            backoff: Duration::ZERO,
            pause: Duration::ZERO,
            restart_at: None,
        }
    }

    pub(super) fn for_init(container: &Container) -> Self {
        let sidecar = container.restart_policy.as_deref() == Some("Always");
        Self::new(container, if sidecar { Role::Sidecar } else { Role::Init })
    }

    /// The process of an agent before this one is gone, which is a restart.
    pub(super) fn continue_from(&mut self, status: &PodStatus) {
        let all = status
            .container_statuses
            .iter()
            .chain(&status.init_container_statuses);
        if let Some(old) = all.flatten().find(|old| old.name == self.name) {
            let ran = old
                .state
                .as_ref()
                .is_some_and(|state| state.running.is_some());
            self.restarts = old.restart_count + i32::from(ran);
        }
    }

    pub(crate) fn has_process(&self) -> bool {
        matches!(self.state, State::Starting | State::Running { .. })
    }

    /// When it is started again after its end, if that is not at once.
    pub(crate) fn backs_off_until(&self, policy: RestartPolicy) -> Option<Instant> {
        match (&self.state, self.next(policy)) {
            (State::Terminated(_), Next::Start(at)) => at,
            _ => None,
        }
    }

    /// How long it isn't restarted after its last end.
    pub(crate) fn last_pause(&self) -> Duration {
        self.pause
    }

    pub(super) fn lets_next_start(&self) -> bool {
        match self.role {
            Role::Init => matches!(&self.state, State::Terminated(exit) if exit.code == 0),
            Role::Sidecar => self.ever_started,
            Role::Main => true,
        }
    }

    pub(super) fn next(&self, policy: RestartPolicy) -> Next {
        let exit = match &self.state {
            State::Waiting { retry, .. } => return Next::Start(*retry),
            State::Starting | State::Running { .. } => return Next::Wait,
            State::Terminated(exit) => exit,
        };
        let again = match (self.role, policy) {
            (Role::Sidecar, _) => true,
            (Role::Init, RestartPolicy::Never) => false,
            (Role::Init, _) => exit.code != 0,
            (Role::Main, RestartPolicy::Always) => true,
            (Role::Main, RestartPolicy::OnFailure) => exit.code != 0,
            (Role::Main, RestartPolicy::Never) => false,
        };
        if again {
            Next::Start(self.restart_at)
        } else {
            Next::Nothing
        }
    }

    pub(super) fn begin_start(&mut self) {
        if let State::Terminated(exit) = std::mem::replace(&mut self.state, State::Starting) {
            self.last = Some(exit);
            self.restarts += 1;
        }
        self.run += 1;
        self.restart_at = None;
    }

    /// Its process runs.
    pub(crate) fn has_started(&mut self, since: Timestamp, at: Instant) {
        self.state = State::Running { since, at };
        if !self.has_startup_probe {
            self.startup_succeeded();
        }
    }

    /// It couldn't be started; `retry` says when to try again.
    pub(crate) fn has_not_started(
        &mut self,
        reason: &'static str,
        message: String,
        retry: Instant,
    ) {
        self.state = State::Waiting {
            reason: Some((reason, message)),
            retry: Some(retry),
        };
    }

    pub(crate) fn startup_succeeded(&mut self) {
        self.started = true;
        self.ever_started = true;
        self.ready = !self.has_readiness_probe;
    }

    /// A liveness or startup probe gave it up.
    pub(crate) fn condemn(&mut self, deadline: Instant) {
        self.doomed.get_or_insert(deadline);
    }

    pub(crate) fn pre_stop_done(&mut self) {
        if self.stop == Stop::HookRuns {
            self.stop = Stop::HookDone;
        }
    }

    /// Its process has ended.
    pub(crate) fn has_ended(&mut self, exit: Exit, now: Instant) {
        let ran = match self.state {
            State::Running { at, .. } => now.saturating_duration_since(at),
            _ => Duration::ZERO,
        };
        if ran >= BACKOFF_RESET {
            self.backoff = Duration::ZERO;
        }
        self.pause = self.backoff;
        self.restart_at = (!self.pause.is_zero()).then(|| now + self.pause);
        self.backoff = (self.backoff * 2).clamp(BACKOFF_MIN, BACKOFF_MAX);
        self.state = State::Terminated(exit);
        self.started = false;
        self.ready = false;
        self.stop = Stop::NotAsked;
        self.doomed = None;
    }
}
