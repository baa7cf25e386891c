//! The ends of replicas.

use std::{thread, time::Duration, time::Instant};

use super::{
    catalog::Services,
    replica::{Replica, Slot, Way},
};
use crate::harness::node::Node;

/// The catalog hears of a replica's death so much later.
const UNNOTICED: Duration = Duration::from_millis(300);

/// A replica's end, and all that follows until the next one ends.
#[derive(Debug)]
pub(super) struct End {
    pub(super) way: Way,
    pub(super) begun: Instant,
    pub(super) over: Instant,
}

impl End {
    /// Whether some of it was between these.
    pub(super) fn was_within(&self, begun: Instant, ended: Instant) -> bool {
        begun <= self.over && ended >= self.begun
    }
}

/// Ends a replica in its way.
pub(super) fn end(node: &Node, services: &Services, slot: Slot, replica: &mut Replica) {
    let removed = || services.publish(slot.others());
    match slot.way() {
        Way::Killed | Way::KilledWithItsSidecar => {
            replica.kill(node);
            thread::sleep(UNNOTICED);
            removed();
        }
        Way::KilledOnceRemoved => {
            removed();
            thread::sleep(UNNOTICED);
            replica.kill(node);
        }
        Way::Terminated => {
            services.terminate(slot);
            replica.terminate();
            removed();
        }
    }
}
