//! The index's one owner: takes changes in, and tells those who follow an address.
//!
//! A change costs what is followed, not what there is: only followed addresses
//! have their state worked out, once for all who follow them. Nobody is sent
//! anything here. A reader's mailbox says which addresses changed, and the reader
//! fetches their newest state when it is able to send it, so that a slow one holds
//! up nothing and misses nothing but what was already history.

mod mailbox;
mod modified;

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    index::{Changes, Index, Sizes, diff::Diff, state::State},
    objects::Key,
};

pub use mailbox::Mailbox;
pub use modified::Modified;

/// Shared by whoever feeds the index and whoever reads it.
#[derive(Debug)]
pub struct Publisher {
    shared: Mutex<Shared>,
    readers: AtomicU64,
    version: watch::Sender<u64>,
    synced: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Shared {
    index: Index,
    followed: BTreeMap<SocketAddr, Followed>,
    /// The readers that belong to a pod, by the reader's number.
    attached: HashMap<Key, BTreeMap<u64, Arc<Mailbox>>>,
    modified: Modified,
}

/// An address that at least one reader follows.
#[derive(Debug, Default)]
struct Followed {
    published: Published,
    /// By the reader's number.
    readers: BTreeMap<u64, Arc<Mailbox>>,
}

/// The newest state of an address.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// The state; `None` if nothing has the address.
    pub state: Option<Arc<State>>,
    /// When the event was received that led to it, in microseconds since the Unix
    /// epoch; 0 if the address has not changed since it is followed.
    pub changed_at_us: i64,
    /// What leads to it from the state before, worked out once for all readers
    /// that are up to date.
    pub diff: Option<Arc<Diff>>,
}

/// What came of a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// How many followed addresses have another state.
    pub addresses: usize,
    /// How many marks that left at readers, one for each such address that one follows.
    pub marked: usize,
}

impl Default for Publisher {
    fn default() -> Self {
        Self {
            shared: Mutex::default(),
            readers: AtomicU64::new(0),
            version: watch::Sender::new(0),
            synced: watch::Sender::new(false),
        }
    }
}

impl Publisher {
    /// An empty index that nobody reads.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes the index, and marks what changed for those who follow it.
    /// `heard_at` is when the event that says so was received.
    pub fn update(
        &self,
        heard_at: SystemTime,
        change: impl FnOnce(&mut Index) -> Changes,
    ) -> Effect {
        let mut shared = self.shared.lock();
        let changes = change(&mut shared.index);
        if changes.is_empty() {
            return Effect::default();
        }
        let changed_at_us = unix_us(heard_at);
        let (version, effect) = shared.publish(&changes, changed_at_us);
        drop(shared);
        self.version.send_replace(version);
        effect
    }

    /// A new reader's mailbox.
    #[must_use]
    pub fn reader(&self) -> Arc<Mailbox> {
        Arc::new(Mailbox::new(self.readers.fetch_add(1, Ordering::Relaxed)))
    }

    /// `reader` belongs to this pod: it is told when the pod's application has
    /// ended, now or later.
    pub fn attach(&self, reader: &Arc<Mailbox>, pod: &Key) {
        let mut shared = self.shared.lock();
        if shared.index.application_ended(pod) {
            reader.mark_ended();
        }
        let readers = shared.attached.entry(pod.clone()).or_default();
        readers.insert(reader.id(), Arc::clone(reader));
    }

    /// `reader` belongs to this pod no more.
    pub fn detach(&self, reader: &Mailbox, pod: &Key) {
        let mut shared = self.shared.lock();
        if let Some(readers) = shared.attached.get_mut(pod) {
            readers.remove(&reader.id());
            if readers.is_empty() {
                shared.attached.remove(pod);
            }
        }
    }

    /// The newest state of an address, which `reader` follows from now on.
    #[must_use]
    pub fn follow(&self, reader: &Arc<Mailbox>, addr: SocketAddr) -> Published {
        let shared = &mut *self.shared.lock();
        let followed = shared.followed.entry(addr).or_insert_with(|| Followed {
            published: Published {
                state: shared.index.lookup(addr).map(Arc::new),
                ..Published::default()
            },
            readers: BTreeMap::new(),
        });
        let mailbox = || Arc::clone(reader);
        followed.readers.entry(reader.id()).or_insert_with(mailbox);
        followed.published.clone()
    }

    /// `reader` follows these addresses no more.
    pub fn unfollow(&self, reader: &Mailbox, addrs: impl IntoIterator<Item = SocketAddr>) {
        let mut shared = self.shared.lock();
        for addr in addrs {
            if let Some(followed) = shared.followed.get_mut(&addr) {
                followed.readers.remove(&reader.id());
                if followed.readers.is_empty() {
                    shared.followed.remove(&addr);
                }
            }
        }
    }

    /// Looks at the index and its history. Nothing changes meanwhile, so be quick.
    pub fn read<T>(&self, read: impl FnOnce(&Index, &Modified) -> T) -> T {
        let shared = self.shared.lock();
        read(&shared.index, &shared.modified)
    }

    /// Counts the changes of the index; see [`Modified`].
    #[must_use]
    pub fn version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Everything has been listed once: from now on, what the index doesn't know
    /// doesn't exist.
    pub fn set_synced(&self) {
        self.synced.send_replace(true);
    }

    /// Whether everything has been listed once.
    #[must_use]
    pub fn synced(&self) -> watch::Receiver<bool> {
        self.synced.subscribe()
    }

    /// How much the index holds, and how many addresses are followed.
    #[must_use]
    pub fn sizes(&self) -> (Sizes, usize) {
        let shared = self.shared.lock();
        (shared.index.sizes(), shared.followed.len())
    }
}

impl Shared {
    fn publish(&mut self, changes: &Changes, changed_at_us: i64) -> (u64, Effect) {
        let Self {
            index,
            followed,
            attached,
            modified,
        } = self;
        for pod in &changes.ended {
            for reader in attached.get(pod).into_iter().flat_map(BTreeMap::values) {
                reader.mark_ended();
            }
        }
        let mut effect = Effect::default();
        for ip in &changes.ips {
            for (addr, followed) in followed.range_mut(ports_of(*ip)) {
                if followed.publish(*addr, index.lookup(*addr), changed_at_us) {
                    effect.addresses += 1;
                    effect.marked += followed.readers.len();
                }
            }
        }
        (modified.advance(changed_at_us, changes, index), effect)
    }
}

impl Followed {
    /// Whether the state is another one.
    fn publish(&mut self, addr: SocketAddr, new: Option<State>, changed_at_us: i64) -> bool {
        let old = self.published.state.as_deref();
        if old.map(|old| old.hash) == new.as_ref().map(|new| new.hash) {
            return false;
        }
        let diff = old.zip(new.as_ref());
        self.published = Published {
            diff: diff.map(|(old, new)| Arc::new(Diff::between(old, new))),
            state: new.map(Arc::new),
            changed_at_us,
        };
        for reader in self.readers.values() {
            reader.mark(addr);
        }
        true
    }
}

/// All addresses with an IP.
fn ports_of(ip: IpAddr) -> std::ops::RangeInclusive<SocketAddr> {
    SocketAddr::new(ip, 0)..=SocketAddr::new(ip, u16::MAX)
}

fn unix_us(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
