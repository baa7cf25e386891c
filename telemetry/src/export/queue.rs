//! What waits to be sent: bounded, and the oldest goes first when it is full.
//!
//! Whoever adds to it never waits.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// What is sent at once, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// A request's body, a datagram, or lines.
    pub body: Bytes,
    /// How many data points, spans or lines are in it.
    pub items: u64,
}

/// Between who encodes and who sends.
#[derive(Debug)]
pub struct Queue {
    bytes_max: usize,
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    batches: VecDeque<Batch>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    /// An empty one that holds so many bytes of bodies at most.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            waiting: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    /// Adds a batch and returns how many items had to go for it, perhaps its own.
    #[must_use]
    pub fn push(&self, batch: Batch) -> u64 {
        let mut waiting = self.waiting.lock();
        if waiting.closed || batch.body.len() > self.bytes_max {
            return batch.items;
        }
        let mut lost = 0;
        while waiting.bytes + batch.body.len() > self.bytes_max {
            lost += waiting.take().map_or(0, |oldest| oldest.items);
        }
        waiting.bytes += batch.body.len();
        waiting.batches.push_back(batch);
        drop(waiting);
        self.arrived.notify_one();
        lost
    }

    /// The oldest batch, once there is one; nothing once it is closed and empty.
    /// For one taker.
    pub async fn pop(&self) -> Option<Batch> {
        loop {
            {
                let mut waiting = self.waiting.lock();
                let oldest = waiting.take();
                if oldest.is_some() || waiting.closed {
                    return oldest;
                }
            }
            self.arrived.notified().await;
        }
    }

    /// Takes nothing more. What waits can still be taken out.
    pub fn close(&self) {
        self.waiting.lock().closed = true;
        self.arrived.notify_one();
    }

    /// How many items wait.
    #[must_use]
    pub fn items(&self) -> u64 {
        self.waiting
            .lock()
            .batches
            .iter()
            .map(|batch| batch.items)
            .sum()
    }
}

impl Waiting {
    fn take(&mut self) -> Option<Batch> {
        let oldest = self.batches.pop_front()?;
        self.bytes -= oldest.body.len();
        if self.batches.is_empty() {
            // What a bad hour needed is not kept for the good ones.
            self.batches.shrink_to(8);
        }
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(bytes: usize, items: u64) -> Batch {
        Batch {
            body: Bytes::from(vec![b'x'; bytes]),
            items,
        }
    }

    #[tokio::test]
    async fn the_oldest_goes_when_it_is_full() {
        let queue = Queue::new(10);
        assert_eq!(queue.push(batch(4, 1)), 0);
        assert_eq!(queue.push(batch(4, 2)), 0);
        assert_eq!(queue.push(batch(4, 3)), 1);
        assert_eq!(queue.push(batch(10, 4)), 5);
        assert_eq!(queue.pop().await, Some(batch(10, 4)));
        assert_eq!(queue.items(), 0);
    }

    #[test]
    fn what_could_never_fit_takes_nobodys_place() {
        let queue = Queue::new(10);
        assert_eq!(queue.push(batch(4, 1)), 0);
        assert_eq!(queue.push(batch(11, 7)), 7);
        assert_eq!(queue.items(), 1);
    }

    #[tokio::test]
    async fn what_waits_can_be_taken_after_it_is_closed() {
        let queue = Queue::new(10);
        assert_eq!(queue.push(batch(4, 1)), 0);
        queue.close();
        assert_eq!(queue.push(batch(4, 9)), 9);
        assert_eq!(queue.pop().await, Some(batch(4, 1)));
        assert_eq!(queue.pop().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_waits_for_what_comes() {
        let queue = std::sync::Arc::new(Queue::new(10));
        let taker = std::sync::Arc::clone(&queue);
        let taken = tokio::spawn(async move { taker.pop().await });
        tokio::task::yield_now().await;
        assert_eq!(queue.push(batch(1, 1)), 0);
        assert_eq!(taken.await.expect("it does not panic"), Some(batch(1, 1)));
    }
}
