use std::{
    cell::Cell,
    sync::atomic::{AtomicBool, AtomicUsize},
};

use super::*;

/// Finds the lengths of texts, and counts how often it is asked.
#[derive(Default)]
struct Lengths {
    room: Room,
    has_room: Cell<bool>,
    asked: Cell<u32>,
}

impl Lengths {
    fn with_room() -> Self {
        let lengths = Self::default();
        lengths.has_room.set(true);
        lengths
    }
}

impl Source<&'static str, Option<usize>> for Lengths {
    fn room(&self) -> &Room {
        &self.room
    }

    fn find(&self, key: &'static str) -> Option<Option<usize>> {
        self.asked.set(self.asked.get() + 1);
        self.has_room.get().then_some(Some(key.len()))
    }

    fn overflow(&self) -> Option<usize> {
        None
    }
}

impl Source<(), Option<usize>> for Lengths {
    fn room(&self) -> &Room {
        &self.room
    }

    fn find(&self, (): ()) -> Option<Option<usize>> {
        self.find("one")
    }

    fn overflow(&self) -> Option<usize> {
        None
    }
}

/// Finds as many counters as are asked for.
#[derive(Default)]
struct Counters(Room, AtomicBool);

impl Source<usize, AtomicUsize> for Counters {
    fn room(&self) -> &Room {
        &self.0
    }

    fn find(&self, _: usize) -> Option<AtomicUsize> {
        Some(AtomicUsize::new(0))
    }

    fn overflow(&self) -> AtomicUsize {
        self.1.store(true, Relaxed);
        AtomicUsize::new(0)
    }
}

#[test]
fn finds_each_value_once() {
    let (cache, lengths) = (Cache::default(), Lengths::with_room());
    for _ in 0..3 {
        assert_eq!(*cache.get("one", 0, &lengths), Some(3));
        assert_eq!(*cache.get("three", 8, &lengths), Some(5));
    }
    assert_eq!(lengths.asked.get(), 2);
}

#[test]
fn what_found_no_room_is_looked_up_again_once_there_is_some() {
    let (cache, slot, lengths) = (Cache::default(), Slot::default(), Lengths::default());
    for _ in 0..3 {
        assert_eq!(*cache.get("one", 0, &lengths), None);
        assert_eq!(*cache.get("three", 1, &lengths), None);
        assert_eq!(*slot.get(&lengths), None);
    }
    assert_eq!(lengths.asked.get(), 2, "each was told once that it is full");
    lengths.has_room.set(true);
    assert_eq!(*cache.get("one", 0, &lengths), None, "nobody knows of it");
    lengths.room.give_back(0);
    for _ in 0..2 {
        assert_eq!(*cache.get("one", 0, &lengths), Some(3));
        assert_eq!(*cache.get("three", 1, &lengths), Some(5));
        assert_eq!(*slot.get(&lengths), Some(3));
    }
    assert_eq!(lengths.asked.get(), 5);
}

#[test]
fn ends_a_chain_that_grows_too_long() {
    let (cache, counters) = (Cache::default(), Counters::default());
    for key in 0..DEPTH_MAX {
        cache.get(key, 0, &counters).store(key, Relaxed);
        assert!(!counters.1.load(Relaxed), "{key}");
    }
    let rest = cache.get(DEPTH_MAX, 0, &counters);
    assert!(counters.1.load(Relaxed));
    assert!(std::ptr::eq(rest, cache.get(DEPTH_MAX + 1, 0, &counters)));
    assert_eq!(cache.get(7, 0, &counters).load(Relaxed), 7);
}

#[test]
fn threads_that_come_at_once_agree() {
    let (cache, counters) = (Cache::default(), Counters::default());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..1000 {
                    let key = round % 20;
                    cache.get(key, key, &counters).fetch_add(1, Relaxed);
                }
            });
        }
    });
    for key in 0..20 {
        let count = cache.get(key, key, &counters);
        assert_eq!(count.load(Relaxed), 200);
    }
    assert!(!counters.1.load(Relaxed));
}
