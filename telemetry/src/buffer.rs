//! Between the threads that proxy, which never wait, and the task that exports.

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Things on their way out: bounded, and what finds no room is counted.
#[derive(Debug)]
pub struct Buffer<T> {
    items_max: usize,
    held: Mutex<Held<T>>,
    arrived: Notify,
    /// There is enough to be worth a batch.
    enough: Notify,
}

/// What was taken out.
#[derive(Debug)]
pub struct Held<T> {
    /// In the order in which they came.
    pub items: Vec<T>,
    /// How many found no room since the last time.
    pub lost: u64,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            lost: 0,
        }
    }
}

impl<T> Buffer<T> {
    /// An empty one that holds so many at most.
    #[must_use]
    pub fn new(items_max: usize) -> Self {
        Self {
            items_max,
            held: Mutex::default(),
            arrived: Notify::new(),
            enough: Notify::new(),
        }
    }

    /// Adds one, unless there is no room. Others hold the lock only to do the same, or
    /// to take all of it out by changing three words.
    pub fn push(&self, item: T) {
        let mut held = self.held.lock();
        if held.items.len() >= self.items_max {
            held.lost += 1;
            return;
        }
        held.items.push(item);
        let count = held.items.len();
        drop(held);
        if count == 1 {
            self.arrived.notify_one();
        }
        if count == self.items_max / 4 {
            self.enough.notify_one();
        }
    }

    /// All there is now.
    #[must_use]
    pub fn take(&self) -> Held<T> {
        std::mem::take(&mut *self.held.lock())
    }

    /// Waits until there is something. For one waiter.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Waits until a good part of the room is taken. For one waiter.
    pub async fn enough(&self) {
        self.enough.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_counted() {
        let buffer = Buffer::new(2);
        for item in 0..5 {
            buffer.push(item);
        }
        let held = buffer.take();
        assert_eq!((held.items, held.lost), (vec![0, 1], 3));
        let held = buffer.take();
        assert!(held.items.is_empty() && held.lost == 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_exports_is_woken_by_the_first_and_when_there_is_enough() {
        let buffer = Buffer::new(8);
        buffer.push(1);
        buffer.arrived().await;
        buffer.push(2);
        buffer.enough().await;
        let more = tokio::time::timeout(std::time::Duration::from_secs(1), buffer.arrived());
        assert!(more.await.is_err(), "there is nothing new to wake for");
    }
}
