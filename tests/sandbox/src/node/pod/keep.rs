//! One container of a pod, from its first start to its last end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Probe};
use k8s_openapi::jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use super::state::{Doing, Exit, Slot};
use super::{Life, RETRY, start};
use crate::node::containers::{Exec, Order};
use crate::node::events::Kind;
use crate::node::launcher::START_ERROR_CODE;
use crate::node::probes::{Check, Prober, Subject};

/// The pauses of CrashLoopBackOff double from this to the maximum; the first restart is at once.
const BACKOFF_MIN: Duration = Duration::from_secs(10);
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// A container that ran this long has not crashed in a loop.
const BACKOFF_RESET: Duration = Duration::from_secs(600);
/// Time that a container has after SIGTERM even if its turn came too late, as in the kubelet.
const LEAST_GRACE: Duration = Duration::from_secs(2);
/// A hook has no limit of its own; it ends with its container or its pod.
const HOOK_MAX: Duration = Duration::from_secs(3600);

/// Keeps the container `number` running until it is done, or its pod ends and it is its `turn`.
pub(super) async fn keep(life: Arc<Life>, number: usize, turn: watch::Receiver<bool>) {
    let (container, role) = {
        let slot = &life.state.borrow().slots[number];
        (slot.container.clone(), slot.role)
    };
    let keeper = Keeper {
        life,
        number,
        container,
        turn,
    };
    let policy = keeper.life.spec.restart_policy.clone().unwrap_or_default();
    let mut pause = Duration::ZERO;
    for attempt in 0.. {
        let began = Instant::now();
        if attempt > 0 {
            keeper.change(|slot| slot.restarts += 1);
        }
        let Some(exit) = keeper.run(attempt).await else {
            return;
        };
        let again = role.runs_again(&policy, exit.code);
        keeper.change(|slot| slot.has_ended(exit));
        if !again || keeper.life.is_ending() {
            return;
        }
        if began.elapsed() >= BACKOFF_RESET {
            pause = Duration::ZERO;
        }
        keeper.change(|slot| slot.starts_again(pause.as_secs()));
        if !pause.is_zero() {
            let message = format!(
                "Back-off restarting failed container {}",
                keeper.container.name
            );
            keeper.tell(Kind::Warning, "BackOff", message);
            if keeper.life.ends_within(pause).await {
                return;
            }
        }
        pause = (pause * 2).clamp(BACKOFF_MIN, BACKOFF_MAX);
    }
}

struct Keeper {
    life: Arc<Life>,
    number: usize,
    container: Container,
    turn: watch::Receiver<bool>,
}

impl Keeper {
    fn change(&self, change: impl FnOnce(&mut Slot)) {
        self.life
            .state
            .send_modify(|state| change(&mut state.slots[self.number]));
    }

    fn tell(&self, kind: Kind, reason: &'static str, message: impl Into<String>) {
        self.life
            .tell(Some(&self.container.name), kind, reason, message);
    }

    /// Runs the container once; `None` if the pod ended before it could.
    async fn run(&self, attempt: u32) -> Option<Exit> {
        let name = &self.container.name;
        let launch = loop {
            match start::launch(&self.life, &self.container, attempt).await {
                Ok(launch) => break launch,
                Err((reason, message)) => {
                    self.tell(Kind::Warning, "Failed", format!("Error: {message}"));
                    self.change(|slot| {
                        slot.doing = Doing::Waiting(reason, message);
                        slot.makes_way = true;
                    });
                    if self.life.ends_within(RETRY).await {
                        return None;
                    }
                }
            }
        };
        let started = launch.start().await;
        // It holds the environment, and has done its part.
        let _ = std::fs::remove_file(&launch.spec_file);
        let running = match started {
            Ok(running) => running,
            Err(error) => {
                let message = format!("failed to start container {name:?}: {error:#}");
                self.tell(Kind::Warning, "Failed", format!("Error: {message}"));
                self.change(|slot| slot.makes_way = true);
                return Some(exit(START_ERROR_CODE, Some(message), None));
            }
        };
        let since = Timestamp::now();
        self.tell(
            Kind::Normal,
            "Started",
            format!("Container started: {name}"),
        );
        self.change(|slot| slot.doing = Doing::Running(since));
        let exec = launch.exec(running.pid);
        let (orders, ordered) = watch::channel(Order::Run);
        let code = tokio::select! {
            code = running.wait(ordered) => code,
            never = self.tend(&exec, &orders) => match never {},
        };
        self.change(|slot| slot.makes_way = true);
        let words = start::last_words(&self.life, name);
        Some(exit(code, words, Some(since)))
    }

    /// Asks the container's probes, and brings about its end when it is time.
    async fn tend(&self, exec: &Exec, orders: &watch::Sender<Order>) -> Infallible {
        let hooks = self.container.lifecycle.clone().unwrap_or_default();
        let post_start = self.hook(hooks.post_start, exec, HOOK_MAX).await;
        self.change(|slot| slot.makes_way = true);
        if let Err(error) = post_start {
            let message = format!("PostStartHook failed: {error}");
            self.tell(Kind::Warning, "FailedPostStartHook", message);
            orders.send_replace(Order::Terminate(self.life.grace()));
            return std::future::pending().await;
        }
        if self.container.startup_probe.is_none() {
            self.change(Slot::has_started);
        }
        let ending = async {
            let (deadline, alone) = tokio::select! {
                deadline = self.life.deadline() => (deadline, false),
                grace = self.condemned(exec) => (Instant::now() + grace, true),
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if !left.is_zero()
                && let Err(error) = self.hook(hooks.pre_stop, exec, left).await
            {
                let message = format!("PreStopHook failed: {error}");
                self.tell(Kind::Warning, "FailedPreStopHook", message);
            }
            if !alone {
                self.wait_for_turn().await;
            }
            if !alone {
                let message = format!("Stopping container {}", self.container.name);
                self.tell(Kind::Normal, "Killing", message);
            }
            self.terminate(deadline, orders).await
        };
        // Until it is gone, its endpoint may serve those who have no other.
        tokio::join!(self.readiness(exec), ending).0
    }

    /// Waits until it is the container's turn to end, or the pod's time is over.
    async fn wait_for_turn(&self) {
        let mut end = self.life.end.subscribe();
        let mut turn = self.turn.clone();
        loop {
            let deadline = (*end.borrow_and_update()).unwrap_or_else(Instant::now);
            tokio::select! {
                // It comes when nobody is left to wait for.
                _ = turn.wait_for(|turn| *turn) => return,
                () = tokio::time::sleep_until(deadline) => return,
                _ = end.changed() => {}
            }
        }
    }

    /// SIGTERM now, SIGKILL at the deadline, or earlier if the pod is left less time.
    async fn terminate(&self, own: Instant, orders: &watch::Sender<Order>) -> Infallible {
        let mut end = self.life.end.subscribe();
        loop {
            let pod = *end.borrow_and_update();
            let deadline = pod.map_or(own, |pod| pod.min(own));
            let left = deadline.saturating_duration_since(Instant::now());
            orders.send_replace(Order::Terminate(left.max(LEAST_GRACE)));
            if end.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Waits until the startup or liveness probe gives the container up; returns the time it has.
    async fn condemned(&self, exec: &Exec) -> Duration {
        let given_up = |kind: &str, probe: &Probe| {
            let name = &self.container.name;
            let message = format!("Container {name} failed {kind} probe, will be restarted");
            self.tell(Kind::Normal, "Killing", message);
            let own = probe.termination_grace_period_seconds;
            let own = own
                .and_then(|secs| secs.try_into().ok())
                .map(Duration::from_secs);
            own.unwrap_or_else(|| self.life.grace())
        };
        if let Some(probe) = &self.container.startup_probe {
            if !self.prober("Startup", probe, exec).await.verdict().await {
                return given_up("startup", probe);
            }
            self.change(Slot::has_started);
        }
        let Some(probe) = &self.container.liveness_probe else {
            return std::future::pending().await;
        };
        let mut prober = self.prober("Liveness", probe, exec).await;
        while prober.verdict().await {}
        given_up("liveness", probe)
    }

    async fn readiness(&self, exec: &Exec) -> Infallible {
        let mut state = self.life.state.subscribe();
        let started = state
            .wait_for(|state| state.slots[self.number].started)
            .await
            .is_ok();
        let probe = self.container.readiness_probe.as_ref().filter(|_| started);
        let Some(probe) = probe else {
            return std::future::pending().await;
        };
        let mut prober = self.prober("Readiness", probe, exec).await;
        loop {
            let ready = prober.verdict().await;
            self.life.state.send_if_modified(|state| {
                let slot = &mut state.slots[self.number];
                std::mem::replace(&mut slot.ready, ready) != ready
            });
        }
    }

    /// One that can't be asked is never answered.
    async fn prober<'a>(&'a self, kind: &'static str, probe: &Probe, exec: &Exec) -> Prober<'a> {
        let failed = move |why: &str| {
            self.tell(
                Kind::Warning,
                "Unhealthy",
                format!("{kind} probe failed: {why}"),
            );
        };
        match Check::of_probe(probe, &self.subject(exec)) {
            Ok(check) => Prober::new(check, probe, failed),
            Err(error) => {
                failed(&error);
                std::future::pending().await
            }
        }
    }

    async fn hook(
        &self,
        hook: Option<LifecycleHandler>,
        exec: &Exec,
        timeout: Duration,
    ) -> Result<(), String> {
        let Some(hook) = hook else { return Ok(()) };
        Check::of_hook(&hook, &self.subject(exec))?
            .run(timeout)
            .await
    }

    fn subject<'a>(&'a self, exec: &Exec) -> Subject<'a> {
        let place = self
            .life
            .place
            .get()
            .expect("containers start when there is a place");
        let addr = *place.addrs.first().expect("a place has an address");
        Subject {
            addr,
            container: &self.container,
            exec: exec.clone(),
        }
    }
}

fn exit(code: i32, message: Option<String>, started_at: Option<Timestamp>) -> Exit {
    Exit {
        code,
        message,
        started_at,
        finished_at: Timestamp::now(),
    }
}
