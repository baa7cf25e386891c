//! What a reader has still to look at.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Says which of a reader's addresses changed since it last looked: each once,
/// however often it changed, so never more than the reader follows. And whether the
/// application of its pod has ended.
#[derive(Debug)]
pub struct Mailbox {
    id: u64,
    changed: Mutex<BTreeSet<SocketAddr>>,
    ended: AtomicBool,
    wake: Notify,
}

impl Mailbox {
    pub(super) fn new(id: u64) -> Self {
        Self {
            id,
            changed: Mutex::default(),
            ended: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn mark(&self, addr: SocketAddr) {
        self.changed.lock().insert(addr);
        self.wake.notify_one();
    }

    pub(super) fn mark_ended(&self) {
        self.ended.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Whether the application of the reader's pod has ended since it was asked last.
    #[must_use]
    pub fn take_ended(&self) -> bool {
        self.ended.swap(false, Ordering::Acquire)
    }

    /// Waits until something is marked. Nothing is lost if it is not waited for.
    pub async fn marked(&self) {
        self.wake.notified().await;
    }

    /// Takes the marked addresses out.
    #[must_use]
    pub fn take(&self) -> BTreeSet<SocketAddr> {
        std::mem::take(&mut *self.changed.lock())
    }
}
