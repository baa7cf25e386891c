//! What was looked up before, found again without a lock.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::registry::Room;

/// How many chains there are.
const ROWS: usize = 8;
/// How long a chain is at most.
const DEPTH_MAX: usize = 32;

/// Values by their keys, only ever added to. Keys that find no room all get one value,
/// the rest's, and are looked up again once there is some; those that would make a chain
/// too long get it for good.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    rows: [Link<K, V>; ROWS],
    rest: Rest<V>,
}

type Link<K, V> = OnceLock<Box<Node<K, V>>>;

#[derive(Debug)]
struct Node<K, V> {
    key: K,
    value: V,
    next: Link<K, V>,
}

/// The same for a single value.
#[derive(Debug)]
pub(crate) struct Slot<V> {
    found: OnceLock<V>,
    rest: Rest<V>,
}

/// What stands for all that found no room.
#[derive(Debug)]
struct Rest<V> {
    value: OnceLock<V>,
    /// The room's generation in which the last of them was turned away; none is 0.
    full_at: AtomicU64,
}

/// Where values come from.
pub(crate) trait Source<K, V> {
    /// Where there has to be room for them.
    fn room(&self) -> &Room;
    /// The value of a key; nothing, if there is no room for it.
    fn find(&self, key: K) -> Option<V>;
    /// What stands for all that found none.
    fn overflow(&self) -> V;
}

impl<V> Default for Rest<V> {
    fn default() -> Self {
        Self {
            value: OnceLock::new(),
            full_at: AtomicU64::new(0),
        }
    }
}

impl<V> Rest<V> {
    /// What is found, unless this was tried in vain since room was made for the last time.
    fn try_again<K>(&self, key: K, source: &impl Source<K, V>) -> Option<V> {
        let generation = source.room().generation();
        if self.full_at.load(Relaxed) == generation {
            return None;
        }
        let found = source.find(key);
        if found.is_none() {
            self.full_at.store(generation, Relaxed);
        }
        found
    }

    fn get<K>(&self, source: &impl Source<K, V>) -> &V {
        self.value.get_or_init(|| source.overflow())
    }
}

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self {
            rows: [const { OnceLock::new() }; ROWS],
            rest: Rest::default(),
        }
    }
}

impl<K: Copy + PartialEq, V> Cache<K, V> {
    /// The value of a key, which its source has to find at the first call. `spread` is any
    /// number that keys differ in.
    pub(crate) fn get(&self, key: K, spread: usize, source: &impl Source<K, V>) -> &V {
        let mut link = &self.rows[spread % ROWS];
        for _ in 0..DEPTH_MAX {
            let node = match link.get() {
                Some(node) => node,
                None => match self.rest.try_again(key, source) {
                    // Where another thread has put another key here meanwhile, this one's
                    // place is behind it.
                    Some(value) => link.get_or_init(|| Box::new(Node::new(key, value))),
                    None => break,
                },
            };
            if node.key == key {
                return &node.value;
            }
            link = &node.next;
        }
        self.rest.get(source)
    }
}

impl<K, V> Node<K, V> {
    fn new(key: K, value: V) -> Self {
        Self {
            key,
            value,
            next: OnceLock::new(),
        }
    }
}

impl<V> Default for Slot<V> {
    fn default() -> Self {
        Self {
            found: OnceLock::new(),
            rest: Rest::default(),
        }
    }
}

impl<V> Slot<V> {
    /// The value, which its source has to find at the first call.
    pub(crate) fn get(&self, source: &impl Source<(), V>) -> &V {
        if let Some(found) = self.found.get() {
            return found;
        }
        match self.rest.try_again((), source) {
            Some(value) => self.found.get_or_init(|| value),
            None => self.rest.get(source),
        }
    }
}

#[cfg(test)]
mod tests;
