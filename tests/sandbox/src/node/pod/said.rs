//! What happens to a pod's containers, and what it changes.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{RETRY, Task};
use crate::node::containers::Exec;
use crate::node::events::Kind;
use crate::node::lifecycle::Exit;
use crate::node::probes::{Finding, Purpose};

/// Something that happened to a run of a container.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) number: usize,
    pub(super) run: u32,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Started {
        exec: Exec,
        since: Timestamp,
    },
    NotStarted {
        reason: &'static str,
        message: String,
    },
    Ended(Exit),
    PreStopDone,
    Probed(Purpose, Finding),
}

/// Says what happens to one run of a container.
#[derive(Clone, Debug)]
pub(super) struct Sayer {
    pub(super) say: mpsc::Sender<Said>,
    pub(super) number: usize,
    pub(super) run: u32,
}

impl Sayer {
    /// Whether anybody is there to hear it.
    pub(super) async fn say(&self, what: What) -> bool {
        self.say
            .send(Said {
                number: self.number,
                run: self.run,
                what,
            })
            .await
            .is_ok()
    }
}

impl Task {
    pub(super) fn hear(&mut self, Said { number, run, what }: Said) {
        if self.lifecycle.slots[number].run != run {
            return;
        }
        let now = Instant::now();
        let policy = self.lifecycle.policy();
        let slot = &mut self.lifecycle.slots[number];
        match what {
            What::Started { exec, since } => {
                slot.has_started(since, now);
                self.execs.insert(number, exec);
                self.start_probes(number);
            }
            What::NotStarted { reason, message } => {
                let name = slot.name.clone();
                slot.has_not_started(reason, message.clone(), now + RETRY);
                let message = format!("Error: {message}");
                self.node
                    .events
                    .tell(&self.pod, Some(&name), Kind::Warning, "Failed", message);
            }
            What::Ended(exit) => {
                slot.has_ended(exit, now);
                let name = slot.name.clone();
                let pause = slot.backs_off_until(policy).is_some();
                self.stop_probes(|other, _| other == number);
                self.execs.remove(&number);
                if pause && !self.lifecycle.is_ending() {
                    let pod = self.pod.name_any();
                    let message =
                        format!("Back-off restarting failed container {name} in pod {pod}");
                    let events = &self.node.events;
                    events.tell(&self.pod, Some(&name), Kind::Warning, "BackOff", message);
                }
            }
            What::PreStopDone => slot.pre_stop_done(),
            What::Probed(purpose, finding) => self.take_finding(number, purpose, finding),
        }
    }
}
