//! Which addresses the catalog is to be asked of, as the subscriber is told.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Known, Slot, View, Whose, own};
use crate::addr::OriginalDst;

/// What the subscriber has to tell the catalog: the unsubscriptions first, for an
/// address may have been taken up again since.
#[derive(Debug, Default)]
pub struct Pending {
    /// Addresses to follow from now on.
    pub subscribe: Vec<OriginalDst>,
    /// Addresses not to follow any longer.
    pub unsubscribe: Vec<OriginalDst>,
}

impl View {
    /// Resolves when there may be something pending.
    pub async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Takes what is to be told to the catalog.
    #[must_use]
    pub fn take_pending(&self) -> Pending {
        std::mem::take(&mut self.pending.lock())
    }

    /// A stream is open: all that is held is to be subscribed on it.
    pub fn connected(&self) {
        // Both are held until it is done, in the order in which a new address takes
        // them, so that none is lost in between.
        let slots = self.slots.read();
        *self.pending.lock() = Pending {
            subscribe: slots.keys().copied().collect(),
            unsubscribe: Vec::new(),
        };
        drop(slots);
        self.connected.send_replace(Some(Instant::now()));
        self.asked.notify_one();
    }

    /// The stream is lost. What is known stays.
    pub fn disconnected(&self) {
        self.connected.send_replace(None);
    }

    /// Since when there is a stream to the catalog.
    #[must_use]
    pub fn connected_since(&self) -> Option<Instant> {
        *self.connected.borrow()
    }

    /// Stops following addresses that no connection has used for a while. Some are worth
    /// more than the usual while, unless there is no room for others meanwhile.
    pub fn forget_idle(&self) {
        let now = Instant::now();
        let mut forgotten = Vec::new();
        // Held until the end: an address that is taken up again asks after this.
        let mut slots = self.slots.write();
        let is_full = slots.len() >= self.limits.destinations_max;
        slots.retain(|dst, slot| {
            let in_use = Arc::strong_count(slot) > 1;
            let more = if is_full {
                Duration::ZERO
            } else {
                slot.is_worth()
            };
            let idle = more.max(self.limits.idle);
            let keep = in_use || now.duration_since(*slot.used.lock()) < idle;
            if !keep {
                forgotten.push(*dst);
            }
            keep
        });
        if !forgotten.is_empty() {
            let mut pending = self.pending.lock();
            pending.subscribe.retain(|dst| slots.contains_key(dst));
            pending.unsubscribe.append(&mut forgotten);
            self.asked.notify_one();
        }
    }
}

impl Slot {
    /// For how long it is to be followed after its last connection, if that is more than the
    /// usual. The next one to a service with session affinity is to go where the last one
    /// went, which is kept with the rest.
    fn is_worth(&self) -> Duration {
        match (self.whose, &*self.known.borrow()) {
            (Whose::Own, _) => own::FOLLOWED_FOR,
            (_, Known::Destination(known)) => known.affinity.unwrap_or_default(),
            (_, Known::Nothing | Known::Unknown) => Duration::ZERO,
        }
    }
}
