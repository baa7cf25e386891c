//! What was looked up before, found again without a lock.

use std::sync::OnceLock;

/// How many chains there are.
const ROWS: usize = 8;
/// How long a chain is at most.
const DEPTH_MAX: usize = 32;

/// Values by their keys, only ever added to. Keys that would make a chain too long all
/// get one value, the rest's.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    rows: [Link<K, V>; ROWS],
    rest: OnceLock<V>,
}

type Link<K, V> = OnceLock<Box<Node<K, V>>>;

#[derive(Debug)]
struct Node<K, V> {
    key: K,
    value: V,
    next: Link<K, V>,
}

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self {
            rows: [const { OnceLock::new() }; ROWS],
            rest: OnceLock::new(),
        }
    }
}

impl<K: Copy + PartialEq, V> Cache<K, V> {
    /// The value of a key, which `make` makes at the first call; of no key, for the rest.
    /// `spread` is any number that keys differ in.
    pub(crate) fn get(&self, key: K, spread: usize, make: impl Fn(Option<K>) -> V) -> &V {
        let mut link = &self.rows[spread % ROWS];
        for _ in 0..DEPTH_MAX {
            let make = || {
                Box::new(Node {
                    key,
                    value: make(Some(key)),
                    next: OnceLock::new(),
                })
            };
            // Where another thread puts another key here, this one's place is behind it.
            let node = link.get_or_init(make);
            if node.key == key {
                return &node.value;
            }
            link = &node.next;
        }
        self.rest.get_or_init(|| make(None))
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, sync::atomic::AtomicUsize, sync::atomic::Ordering::Relaxed};

    use super::*;

    #[test]
    fn makes_each_value_once() {
        let cache = Cache::default();
        let made = Cell::new(0);
        let make = |key: Option<&'static str>| {
            made.set(made.get() + 1);
            key.map(str::len)
        };
        for _ in 0..3 {
            assert_eq!(*cache.get("one", 0, make), Some(3));
            assert_eq!(*cache.get("three", 8, make), Some(5));
        }
        assert_eq!(made.get(), 2);
    }

    #[test]
    fn ends_a_chain_that_grows_too_long() {
        let cache = Cache::default();
        for key in 0..2 * DEPTH_MAX {
            let expected = (key < DEPTH_MAX).then_some(key);
            assert_eq!(*cache.get(key, 0, |key| key), expected);
        }
        assert_eq!(*cache.get(7, 0, |key| key), Some(7));
    }

    #[test]
    fn threads_that_come_at_once_agree() {
        let cache: Cache<usize, AtomicUsize> = Cache::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..1000 {
                        let key = round % 20;
                        cache
                            .get(key, key, |_| AtomicUsize::new(0))
                            .fetch_add(1, Relaxed);
                    }
                });
            }
        });
        for key in 0..20 {
            let count = cache.get(key, key, |_| unreachable!("it is there"));
            assert_eq!(count.load(Relaxed), 200);
        }
    }
}
