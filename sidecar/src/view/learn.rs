//! What the catalog's messages do to the view.

use std::sync::Arc;

use netting_proto::{required, v1};
use tokio::time::Instant;

use super::{Known, View};
use crate::{
    addr::OriginalDst,
    destination::{BadUpdate, Destination},
};

impl View {
    fn learn(&self, dst: OriginalDst, known: Known) {
        // An address that was dropped meanwhile is not taken up again.
        let Some(slot) = self.slots.read().get(&dst).cloned() else {
            return;
        };
        let after = known.clone();
        let before = slot.known.send_replace(known);
        match (before, after) {
            (Known::Destination(before), Known::Destination(after)) => {
                after.replace(&before, Instant::now());
            }
            (Known::Destination(before), _) => before.retire(),
            _ => {}
        }
    }

    /// Takes in where the sidecar is: which endpoints are close may be another
    /// matter now.
    pub fn is_in_zone(&self, zone: &str) {
        let mut own = self.own.write();
        if own.zone == zone {
            return;
        }
        zone.clone_into(&mut own.zone);
        let own = own.clone();
        for slot in self.slots.read().values() {
            slot.known.send_if_modified(|known| match known {
                Known::Destination(destination) => {
                    let moved = Destination::clone(destination).seen_from(&own);
                    *destination = Arc::new(moved);
                    true
                }
                Known::Nothing | Known::Unknown => false,
            });
        }
    }

    /// Takes a snapshot in.
    ///
    /// # Errors
    /// If it is malformed; what was known stays.
    pub fn snapshot(&self, snapshot: v1::Snapshot) -> Result<(), BadUpdate> {
        let dst = OriginalDst(required(snapshot.address.as_ref())?);
        let before = match self.known(dst) {
            Some(Known::Destination(before)) => Some(before),
            _ => None,
        };
        let after = Destination::from_snapshot(snapshot, before.as_deref(), &self.own.read())?;
        self.learn(dst, Known::Destination(Arc::new(after)));
        Ok(())
    }

    /// Takes a delta in. One that does not fit makes the address be subscribed anew.
    ///
    /// # Errors
    /// If it does not fit or is malformed; what was known stays.
    pub fn delta(&self, delta: v1::Delta) -> Result<(), BadUpdate> {
        let dst = OriginalDst(required(delta.address.as_ref())?);
        let after = match self.known(dst) {
            Some(Known::Destination(before)) => before.with_delta(delta, &self.own.read()),
            Some(Known::Nothing | Known::Unknown) => Err(BadUpdate::OtherBase),
            // It was on its way when the address was dropped.
            None => return Ok(()),
        };
        match after {
            Ok(after) => self.learn(dst, Known::Destination(Arc::new(after))),
            Err(error) => {
                self.pending.lock().subscribe.push(dst);
                self.asked.notify_one();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Takes in that the catalog knows nothing of an address.
    ///
    /// # Errors
    /// If the message is malformed.
    pub fn unknown(&self, unknown: &v1::Unknown) -> Result<(), BadUpdate> {
        let dst = OriginalDst(required(unknown.address.as_ref())?);
        self.learn(dst, Known::Unknown);
        Ok(())
    }
}
