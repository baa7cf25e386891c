//! The sidecar's view of the catalog: what it holds of each address that the
//! application uses, and of those of the pod's own that others use.
//!
//! Connections ask, the [`crate::subscriber`] fills in. What has been learned stays
//! when the catalog goes away.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::{Mutex, RwLock};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};

use crate::{
    addr::OriginalDst,
    destination::{Destination, Place},
    protocol::Hint,
    reason::Reason,
};

mod follow;
mod learn;
mod own;
#[cfg(test)]
pub(crate) mod resolved;

pub use follow::Pending;

/// Bounds and times of a view.
#[derive(Clone, Copy, Debug)]
pub struct ViewLimits {
    /// How many addresses are followed at most.
    pub destinations_max: usize,
    /// How long a connection waits for the first answer of a connected catalog,
    /// counted from the question.
    pub discovery_timeout: Duration,
    /// How long an address is still followed after its last connection.
    pub idle: Duration,
}

/// What is known of the addresses in use. One owner fills it, any number ask.
#[derive(Debug)]
pub struct View {
    limits: ViewLimits,
    /// Where the sidecar is.
    own: RwLock<Place>,
    slots: RwLock<HashMap<OriginalDst, Arc<Slot>>>,
    /// What the subscriber has to tell the catalog.
    pending: Mutex<Pending>,
    /// Woken when there is something pending.
    asked: Notify,
    /// Since when there is a stream to the catalog, if there is one.
    connected: watch::Sender<Option<Instant>>,
}

/// One address.
#[derive(Debug)]
struct Slot {
    whose: Whose,
    known: watch::Sender<Known>,
    asked: Instant,
    used: Mutex<Instant>,
}

/// Whose an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// The application connects to it.
    Others,
    /// The pod's own: others connect to it.
    Own,
}

/// What is known of one address.
#[derive(Clone, Debug)]
pub enum Known {
    /// The catalog has not answered yet.
    Nothing,
    /// The catalog knows nothing of it.
    Unknown,
    /// Its state.
    Destination(Arc<Destination>),
}

/// What the view knows of an address.
#[derive(Debug)]
pub enum Found {
    /// It has endpoints, to one of which each connection or request goes.
    Destination(InUse, Arc<Destination>),
    /// The catalog has not answered: connections go where they were going, and so do the
    /// requests of one until it has.
    Unanswered(InUse, Reason),
    /// Connections to it go where they were going.
    PassThrough(Reason),
}

/// An address that a connection uses, and that is followed meanwhile.
#[derive(Clone, Debug)]
pub struct InUse {
    slot: Arc<Slot>,
}

impl InUse {
    /// The state now, for the next request on a connection that lasts. `None` if
    /// nothing is known of the address, yet or any more: there is nothing to choose from
    /// then, and requests go to the original destination.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Destination>> {
        match &*self.slot.known.borrow() {
            Known::Destination(destination) => Some(Arc::clone(destination)),
            Known::Nothing | Known::Unknown => None,
        }
    }

    /// The same, on a connection that began before anything was known. `None` too if
    /// nobody is to look into what it carries, as is known now.
    #[must_use]
    pub fn known_since(&self) -> Option<Arc<Destination>> {
        let known = self.current()?;
        (Hint::of(&known.protocol_hint) != Some(Hint::Opaque)).then_some(known)
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        *self.slot.used.lock() = Instant::now();
    }
}

impl View {
    /// A view that knows nothing. `node` is the sidecar's own, empty if not known.
    #[must_use]
    pub fn new(limits: ViewLimits, node: &str) -> Self {
        Self {
            limits,
            own: RwLock::new(Place {
                node: node.to_owned(),
                zone: String::new(),
            }),
            slots: RwLock::default(),
            pending: Mutex::default(),
            asked: Notify::new(),
            connected: watch::Sender::new(None),
        }
    }

    /// What is behind an address. Asks the catalog, once, of an address that is new,
    /// and waits for the answer only while there is a catalog to give it, and for no
    /// longer than the discovery timeout.
    pub async fn find(&self, dst: OriginalDst) -> Found {
        let Some(slot) = self.slot(dst, Whose::Others) else {
            return Found::PassThrough(Reason::TooManyDestinations);
        };
        let used = InUse { slot };
        let mut known = used.slot.known.subscribe();
        if matches!(*known.borrow(), Known::Nothing) {
            let Some(since) = *self.connected.borrow() else {
                return Found::Unanswered(used, Reason::CatalogUnavailable);
            };
            let until = used.slot.asked.max(since) + self.limits.discovery_timeout;
            let answered = known.wait_for(|known| !matches!(known, Known::Nothing));
            if timeout_at(until, answered).await.is_err() {
                return Found::Unanswered(used, Reason::CatalogSilent);
            }
        }
        let known = known.borrow().clone();
        match known {
            Known::Nothing => Found::Unanswered(used, Reason::CatalogSilent),
            Known::Unknown => Found::PassThrough(Reason::UnknownAddress),
            Known::Destination(destination) if destination.has_endpoints() => {
                Found::Destination(used, destination)
            }
            Known::Destination(_) => Found::PassThrough(Reason::NoEndpoints),
        }
    }

    fn slot(&self, dst: OriginalDst, whose: Whose) -> Option<Arc<Slot>> {
        let now = Instant::now();
        let slots = self.slots.read();
        if let Some(slot) = slots.get(&dst) {
            *slot.used.lock() = now;
            return Some(Arc::clone(slot));
        }
        // Before anybody is kept from looking: who tries all ports is turned away here.
        if !self.is_room(&slots, whose) {
            return None;
        }
        drop(slots);
        let mut slots = self.slots.write();
        if let Some(slot) = slots.get(&dst) {
            return Some(Arc::clone(slot));
        }
        if !self.is_room(&slots, whose) {
            return None;
        }
        let slot = Arc::new(Slot {
            whose,
            known: watch::Sender::new(Known::Nothing),
            asked: now,
            used: Mutex::new(now),
        });
        slots.insert(dst, Arc::clone(&slot));
        self.pending.lock().subscribe.push(dst);
        drop(slots);
        self.asked.notify_one();
        Some(slot)
    }

    /// Whether one more address may be followed.
    fn is_room(&self, slots: &HashMap<OriginalDst, Arc<Slot>>, whose: Whose) -> bool {
        slots.len() < self.limits.destinations_max && (whose != Whose::Own || own::is_room(slots))
    }

    /// The zone that the sidecar is in; empty if not known.
    #[must_use]
    pub fn zone(&self) -> String {
        self.own.read().zone.clone()
    }

    /// What is known of each address, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<(OriginalDst, Known)> {
        let slots = self.slots.read();
        let known = slots
            .iter()
            .map(|(dst, slot)| (*dst, slot.known.borrow().clone()));
        known.collect()
    }

    /// How many addresses are followed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.read().len()
    }

    /// Whether no address is followed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hash of what is held of an address; empty if nothing is.
    #[must_use]
    pub fn hash(&self, dst: OriginalDst) -> Vec<u8> {
        match self.known(dst) {
            Some(Known::Destination(destination)) => destination.hash.clone(),
            _ => Vec::new(),
        }
    }

    fn known(&self, dst: OriginalDst) -> Option<Known> {
        let slots = self.slots.read();
        slots.get(&dst).map(|slot| slot.known.borrow().clone())
    }
}

#[cfg(test)]
mod tests;
