//! Slots, of which there are only so many, for connections and the like: whoever takes
//! many keeps nobody else out.
//!
//! Once all are taken, one is freed for whoever comes: that of a connection that does
//! nothing for its client. Clients are told apart by their IPs, so that one that connects
//! again and again is in its own way alone.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// A client that has more than one in so many slots has many.
const MANY: usize = 16;
/// How often it is told that all slots are taken.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// So many slots. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Slots(Arc<Shared>);

/// A slot, until it is dropped.
#[derive(Debug)]
pub struct Slot {
    holder: Holder,
    _permit: OwnedSemaphorePermit,
}

/// Whoever holds a slot, for those who work on its behalf.
#[derive(Clone, Debug)]
pub struct Holder {
    id: u64,
    revoked: CancellationToken,
    slots: Slots,
}

/// The holder of a slot is at work for its client until this is dropped.
#[derive(Debug)]
pub struct Work(Holder);

#[derive(Debug)]
struct Shared {
    /// What the slots are for, as the log says it.
    purpose: &'static str,
    max: usize,
    permits: Arc<Semaphore>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next_id: u64,
    held: BTreeMap<u64, Held>,
    clients: HashMap<IpAddr, Count>,
    told_at: Option<Instant>,
}

#[derive(Debug)]
struct Held {
    client: IpAddr,
    /// How much is going on.
    work: usize,
    /// For how long it has been idle, or at work.
    since: Instant,
    revoked: CancellationToken,
}

/// How many slots a client has.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    idle: usize,
    at_work: usize,
}

impl Slots {
    /// So many slots for this purpose, all free.
    #[must_use]
    pub fn new(purpose: &'static str, max: usize) -> Self {
        Self(Arc::new(Shared {
            purpose,
            max,
            permits: Arc::new(Semaphore::new(max)),
            table: Mutex::default(),
        }))
    }

    /// A slot for a client. If none is free, somebody is told to go, in this order:
    ///
    /// - of clients that have many, more than one in 16 of all slots, what has been idle
    ///   for longest, then what has come last to be at work;
    /// - of all others the same, but not for a client that has many.
    ///
    /// Of several clients it is the one that has most. It loses nothing that is at work
    /// unless it keeps as many as this one has then. `None` if nobody is told to go.
    pub async fn take(&self, client: IpAddr) -> Option<Slot> {
        let client = client.to_canonical();
        let permits = &self.0.permits;
        let permit = match Arc::clone(permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                self.make_room(client)?.cancel();
                // Whoever was told to go does so soon.
                Arc::clone(permits).acquire_owned().await.ok()?
            }
        };
        let revoked = CancellationToken::new();
        let id = self.lock().add(client, revoked.clone());
        let holder = Holder {
            id,
            revoked,
            slots: self.clone(),
        };
        Some(Slot {
            holder,
            _permit: permit,
        })
    }

    /// What tells somebody to go for this client.
    fn make_room(&self, client: IpAddr) -> Option<CancellationToken> {
        let mut table = self.lock();
        let goes = table.who_goes_for(client, self.0.max / MANY);
        let now = Instant::now();
        let told_lately = table.told_at.is_some_and(|at| now < at + TOLD_EVERY);
        if !told_lately {
            table.told_at = Some(now);
            let goes = goes.and_then(|id| table.held.get(&id));
            tracing::warn!(
                %client,
                instead_of = goes.map(|held| tracing::field::display(held.client)),
                of = self.0.purpose,
                "there are no more; whoever has most gives way to others"
            );
        }
        Some(table.remove(goes?)?.revoked)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing in here can panic half way.
        let table = self.0.table.lock();
        table.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Whoever holds this slot.
    #[must_use]
    pub fn holder(&self) -> &Holder {
        &self.holder
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.holder.slots.lock().remove(self.holder.id);
    }
}

impl Holder {
    /// Tells it to give the slot back.
    pub fn revoke(&self) {
        self.slots.lock().remove(self.id);
        self.revoked.cancel();
    }

    /// Resolves once the slot is to be given back, at once.
    pub async fn revoked(&self) {
        self.revoked.cancelled().await;
    }

    /// It is at work for its client, until this and all others are dropped.
    #[must_use]
    pub fn at_work(&self) -> Work {
        self.slots.lock().change(self.id, |work| *work += 1);
        Work(self.clone())
    }

    /// Does this work, which it is at from now on.
    pub fn during<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        let at_work = self.at_work();
        async move {
            let done = work.await;
            drop(at_work);
            done
        }
    }

    /// Whether it is not at work.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.idle_since().is_some()
    }

    /// Resolves once it has been idle for so long.
    pub async fn idle_for(&self, time: Duration) {
        loop {
            let now = Instant::now();
            let since = self.idle_since();
            if since.is_some_and(|since| since + time <= now) {
                return;
            }
            sleep_until(since.unwrap_or(now) + time).await;
        }
    }

    /// `None` if it is at work.
    fn idle_since(&self) -> Option<Instant> {
        let table = self.slots.lock();
        match table.held.get(&self.id) {
            Some(held) => (held.work == 0).then_some(held.since),
            None => Some(Instant::now()),
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let Holder { slots, id, .. } = &self.0;
        slots.lock().change(*id, |work| *work -= 1);
    }
}

impl Table {
    fn add(&mut self, client: IpAddr, revoked: CancellationToken) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let held = Held {
            client,
            work: 0,
            since: Instant::now(),
            revoked,
        };
        self.held.insert(id, held);
        self.clients.entry(client).or_default().idle += 1;
        id
    }

    fn remove(&mut self, id: u64) -> Option<Held> {
        let held = self.held.remove(&id)?;
        if let Some(count) = self.clients.get_mut(&held.client) {
            *count.of(held.work) -= 1;
            if count.all() == 0 {
                self.clients.remove(&held.client);
            }
        }
        Some(held)
    }

    fn change(&mut self, id: u64, change: impl FnOnce(&mut usize)) {
        // It has been told to go, or is gone.
        let Some(held) = self.held.get_mut(&id) else {
            return;
        };
        let before = held.work;
        change(&mut held.work);
        if (before == 0) != (held.work == 0) {
            held.since = Instant::now();
            let count = self.clients.entry(held.client).or_default();
            *count.of(before) -= 1;
            *count.of(held.work) += 1;
        }
    }

    fn who_goes_for(&self, client: IpAddr, many: usize) -> Option<u64> {
        let own = self.count(client).all();
        let has_many = |has: Count| has.all() > many;
        let keeps_as_many = |has: Count| has.all() > own + 1;
        // Whoever has many takes nothing from those who have few.
        let anybody = |_: Count| own <= many;
        self.oldest_idle(has_many)
            .or_else(|| self.newest_at_work(|has| has_many(has) && keeps_as_many(has)))
            .or_else(|| self.oldest_idle(anybody))
            .or_else(|| self.newest_at_work(|has| anybody(has) && keeps_as_many(has)))
    }

    /// Of the client that has most idle ones, of these clients.
    fn oldest_idle(&self, of: impl Fn(Count) -> bool) -> Option<u64> {
        let most = self.most(|has| has.idle, &of);
        let theirs = self.held.iter().filter(|(_, held)| {
            let has = self.count(held.client);
            held.work == 0 && has.idle == most && of(has)
        });
        theirs.min_by_key(|(_, held)| held.since).map(|(id, _)| *id)
    }

    /// Of the client that has most at work, of these clients.
    fn newest_at_work(&self, of: impl Fn(Count) -> bool) -> Option<u64> {
        let most = self.most(|has| has.at_work, &of);
        let theirs = self.held.iter().filter(|(_, held)| {
            let has = self.count(held.client);
            held.work > 0 && has.at_work == most && of(has)
        });
        theirs.max_by_key(|(_, held)| held.since).map(|(id, _)| *id)
    }

    fn count(&self, client: IpAddr) -> Count {
        self.clients.get(&client).copied().unwrap_or_default()
    }

    /// The greatest number that one of these clients has.
    fn most(&self, number: fn(&Count) -> usize, of: &impl Fn(Count) -> bool) -> usize {
        let these = self.clients.values().filter(|has| of(**has));
        these.map(number).max().unwrap_or_default()
    }
}

impl Count {
    fn all(self) -> usize {
        self.idle + self.at_work
    }

    /// The one that a slot with so much work is in.
    fn of(&mut self, work: usize) -> &mut usize {
        if work == 0 {
            &mut self.idle
        } else {
            &mut self.at_work
        }
    }
}

#[cfg(test)]
mod tests;
