//! Probes and preStop hooks of a pod's containers.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};
use tokio::time::Instant;

use super::Task;
use super::said::{Sayer, What};
use crate::node::events::Kind;
use crate::node::probes::{Check, Finding, Prober, Purpose, Subject};

impl Task {
    pub(super) fn run_pre_stop(&mut self, number: usize, deadline: Instant) {
        let container = self.container(number);
        let hook = container
            .lifecycle
            .as_ref()
            .and_then(|lifecycle| lifecycle.pre_stop.clone());
        let check = match (hook, self.subject(number, &container)) {
            (Some(hook), Some(subject)) => Check::of_hook(&hook, &subject),
            _ => Err("the container doesn't run".to_owned()),
        };
        let (node, pod) = (self.node.clone(), self.pod.clone());
        let sayer = self.sayer(number);
        let timeout = deadline.saturating_duration_since(Instant::now());
        self.work.spawn(async move {
            let ran = match check {
                Ok(check) => check.run(timeout).await,
                Err(error) => Err(error),
            };
            if let Err(error) = ran {
                let message = format!("PreStopHook failed: {error}");
                let name = Some(container.name.as_str());
                node.events
                    .tell(&pod, name, Kind::Warning, "FailedPreStopHook", message);
            }
            sayer.say(What::PreStopDone).await;
        });
    }

    /// The startup probe comes first, alone.
    pub(super) fn start_probes(&mut self, number: usize) {
        if self.is_init(number) {
            return;
        }
        let container = self.container(number);
        if !self.lifecycle.slots[number].started {
            self.start_probe(
                number,
                &container,
                Purpose::Startup,
                container.startup_probe.as_ref(),
            );
            return;
        }
        let liveness = container.liveness_probe.as_ref();
        self.start_probe(number, &container, Purpose::Liveness, liveness);
        let readiness = container.readiness_probe.as_ref();
        self.start_probe(number, &container, Purpose::Readiness, readiness);
    }

    fn start_probe(
        &mut self,
        number: usize,
        container: &Container,
        purpose: Purpose,
        probe: Option<&Probe>,
    ) {
        let (Some(probe), Some(subject)) = (probe, self.subject(number, container)) else {
            return;
        };
        let check = match Check::of_probe(probe, &subject) {
            Ok(check) => check,
            Err(error) => {
                let message = format!("{} probe can't be asked: {error}", purpose.as_str());
                let name = Some(container.name.as_str());
                self.node
                    .events
                    .tell(&self.pod, name, Kind::Warning, "Unhealthy", message);
                return;
            }
        };
        let sayer = self.sayer(number);
        let mut prober = Prober::new(check, probe);
        let task = self.work.spawn(async move {
            loop {
                let finding = prober.next().await;
                if !sayer.say(What::Probed(purpose, finding)).await {
                    return;
                }
            }
        });
        self.probes.push((number, purpose, task));
    }

    pub(super) fn stop_probes(&mut self, which: impl Fn(usize, Purpose) -> bool) {
        self.probes.retain(|(number, purpose, task)| {
            let stop = which(*number, *purpose);
            if stop {
                task.abort();
            }
            !stop
        });
    }

    pub(super) fn take_finding(&mut self, number: usize, purpose: Purpose, finding: Finding) {
        let name = self.lifecycle.slots[number].name.clone();
        let kind = purpose.as_str();
        if let Some(failure) = finding.failure {
            let message = format!("{kind} probe failed: {failure}");
            self.node
                .events
                .tell(&self.pod, Some(&name), Kind::Warning, "Unhealthy", message);
        }
        let Some(verdict) = finding.verdict else {
            return;
        };
        match (purpose, verdict) {
            (Purpose::Readiness, ready) => {
                let slot = &mut self.lifecycle.slots[number];
                slot.ready = ready && slot.started;
            }
            (Purpose::Startup, true) => {
                self.lifecycle.slots[number].startup_succeeded();
                self.stop_probes(|other, purpose| other == number && purpose == Purpose::Startup);
                self.start_probes(number);
            }
            (Purpose::Liveness, true) => (),
            (Purpose::Startup | Purpose::Liveness, false) => {
                let kind = kind.to_ascii_lowercase();
                let message = format!("Container {name} failed {kind} probe, will be restarted");
                self.node
                    .events
                    .tell(&self.pod, Some(&name), Kind::Normal, "Killing", message);
                self.stop_probes(|other, _| other == number);
                let deadline = Instant::now() + self.probe_grace(number, purpose);
                self.lifecycle.slots[number].condemn(deadline);
            }
        }
    }

    /// A probe may leave a container less time than the pod's end does.
    fn probe_grace(&self, number: usize, purpose: Purpose) -> Duration {
        let container = self.container(number);
        let probe = match purpose {
            Purpose::Startup => container.startup_probe,
            Purpose::Liveness | Purpose::Readiness => container.liveness_probe,
        };
        let own = probe.and_then(|probe| probe.termination_grace_period_seconds);
        own.and_then(|secs| secs.try_into().ok())
            .map_or(self.grace(), Duration::from_secs)
    }

    fn subject<'a>(&self, number: usize, container: &'a Container) -> Option<Subject<'a>> {
        let addr = *self.place.addrs(&self.node).first()?;
        let exec = self.execs.get(&number)?.clone();
        Some(Subject {
            addr,
            container,
            exec,
        })
    }

    fn sayer(&self, number: usize) -> Sayer {
        let run = self.lifecycle.slots[number].run;
        Sayer {
            say: self.say.clone(),
            number,
            run,
        }
    }
}
