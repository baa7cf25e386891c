//! What the lifecycle decided, done; and what the API asks for, told to the lifecycle.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::said::Sayer;
use super::{Task, Update, run};
use crate::node::containers::Order;
use crate::node::events::Kind;
use crate::node::lifecycle::Action;

impl Task {
    pub(super) fn take_update(&mut self) {
        let Update { pod, gone } = self.updates.borrow_and_update().clone();
        (self.pod, self.gone) = (pod, gone);
        self.note_deletion();
    }

    pub(super) fn note_deletion(&mut self) {
        let asked = self.pod.metadata.deletion_grace_period_seconds;
        let grace = match (self.gone, &self.pod.metadata.deletion_timestamp) {
            (true, _) => Duration::ZERO,
            (false, Some(_)) => asked
                .and_then(|secs| secs.try_into().ok())
                .map_or(self.grace(), Duration::from_secs),
            (false, None) => return,
        };
        self.lifecycle.end(Instant::now() + grace);
        // A second deletion may leave less time than the first.
        for orders in self.orders.values() {
            orders.send_if_modified(|order| match order {
                Order::Terminate(given) if grace < *given => {
                    *given = grace;
                    true
                }
                _ => false,
            });
        }
    }

    pub(super) fn perform(&mut self, action: &Action) {
        match action {
            Action::Start(number) => self.start(*number),
            Action::RunPreStop(number, deadline) => self.run_pre_stop(*number, *deadline),
            Action::Terminate(number, grace) => {
                let name = &self.lifecycle.slots[*number].name;
                let message = format!("Stopping container {name}");
                self.node
                    .events
                    .tell(&self.pod, Some(name), Kind::Normal, "Killing", message);
                if let Some(orders) = self.orders.get(number) {
                    orders.send_replace(Order::Terminate(*grace));
                }
            }
        }
    }

    fn start(&mut self, number: usize) {
        let (orders, ordered) = watch::channel(Order::Run);
        self.orders.insert(number, orders);
        let slot = &self.lifecycle.slots[number];
        let start = run::Start {
            node: self.node.clone(),
            pod: self.pod.clone(),
            container: self.container(number),
            attempt: slot.run - 1,
            addrs: self.place.addrs(&self.node),
            netns: self.place.netns(),
            volumes: self.place.volumes(),
            dir: self.place.container_dir(&slot.name),
            grace: self.grace(),
        };
        let sayer = Sayer {
            say: self.say.clone(),
            number,
            run: slot.run,
        };
        self.work.spawn(start.run(ordered, sayer));
    }
}
