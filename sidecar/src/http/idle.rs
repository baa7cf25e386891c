//! Ends connections that nobody has used for long, or ever.
//!
//! A timer for each wait would cost as much as a request. Instead a connection notes
//! when it began to wait, and one task on its thread looks at all of them now and
//! then.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{net::TcpStream, time::Instant};

use crate::{
    reason::Reason,
    tcp_info::is_closed,
    vanished::{has_vanished, takes_at_least},
};

/// Between two looks at them. Waits end up to so much later than they should.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long two sides are left to themselves at most before it is asked whether they are
/// still there.
pub(crate) const ASK_EVERY: Duration = Duration::from_secs(60);

/// How long connections may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For the next request, or the first word.
    pub(crate) idle: Duration,
    /// For the end of a request's head.
    pub(crate) head: Duration,
    /// The same, once the sidecar drains.
    pub(crate) draining: Duration,
    /// For a peer that acknowledges nothing: how often something is sent to it again. As
    /// often as the kernel likes, if zero.
    pub(crate) tcp_retries: u8,
}

impl Patience {
    /// How long it may be before it is asked whether two sides are there.
    fn ask_every(&self) -> Duration {
        match self.tcp_retries {
            0 => ASK_EVERY,
            retries => takes_at_least(retries).min(ASK_EVERY),
        }
    }

    fn has_vanished(&self, peer: &TcpStream) -> bool {
        self.tcp_retries > 0 && has_vanished(peer, self.tcp_retries)
    }
}

/// The connections of one thread that may be waiting.
#[derive(Debug)]
pub(crate) struct Waiters {
    patience: Patience,
    draining: Cell<bool>,
    told: Cell<bool>,
    now: Cell<Instant>,
    next: Cell<u64>,
    all: RefCell<HashMap<u64, Rc<Waiting>>>,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitsFor {
    /// Nothing that it could wait too long for.
    Nothing,
    /// Its two sides, which may take as long as they like while they are there.
    Sides,
    /// The first byte of a request, or of either side of a connection of any kind.
    Request,
    /// The end of a request's head.
    Head,
}

#[derive(Debug)]
struct Waiting {
    what: Cell<WaitsFor>,
    since: Cell<Instant>,
    over: Cell<Option<Reason>>,
    waker: RefCell<Option<Waker>>,
}

/// One connection among the waiters, until it is dropped.
#[derive(Debug)]
pub(crate) struct Waiter {
    waiters: Rc<Waiters>,
    id: u64,
    waiting: Rc<Waiting>,
}

impl Waiters {
    pub(crate) fn new(patience: Patience) -> Self {
        Self {
            patience,
            draining: Cell::new(false),
            told: Cell::new(false),
            now: Cell::new(Instant::now()),
            next: Cell::new(0),
            all: RefCell::default(),
        }
    }

    /// From now on connections are to end when they can.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
    }

    /// Whether connections are to end when they can.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Takes a connection in.
    pub(crate) fn join(self: &Rc<Self>) -> Waiter {
        let id = self.next.get();
        self.next.set(id + 1);
        let waiting = Rc::new(Waiting {
            what: Cell::new(WaitsFor::Nothing),
            since: Cell::new(self.now.get()),
            over: Cell::new(None),
            waker: RefCell::default(),
        });
        self.all.borrow_mut().insert(id, Rc::clone(&waiting));
        Waiter {
            waiters: Rc::clone(self),
            id,
            waiting,
        }
    }

    /// Looks at all of them.
    pub(crate) fn look(&self) {
        let now = Instant::now();
        self.now.set(now);
        // Those with something to tell their peer are told of the drain once.
        let all_are_told = self.draining.get() && !self.told.replace(self.draining.get());
        for waiting in self.all.borrow().values() {
            let since = waiting.since.get();
            let over = self.is_over(waiting.what.get(), now.duration_since(since));
            if over.is_none() && !all_are_told {
                continue;
            }
            waiting.over.set(over);
            if let Some(waker) = waiting.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }

    fn is_over(&self, what: WaitsFor, waited: Duration) -> Option<Reason> {
        let patience = &self.patience;
        match what {
            WaitsFor::Nothing => None,
            WaitsFor::Sides => (waited >= patience.ask_every()).then_some(Reason::UpstreamSilent),
            WaitsFor::Head => (waited >= patience.head).then_some(Reason::RequestHeadTimeout),
            WaitsFor::Request if self.is_draining() && waited >= patience.draining => {
                Some(Reason::Draining)
            }
            WaitsFor::Request => (waited >= patience.idle).then_some(Reason::IdleTimeout),
        }
    }
}

impl Waiter {
    /// What the connection waits for from now on.
    pub(crate) fn waits_for(&self, what: WaitsFor) {
        // A head has its time from its first byte on, in however many pieces it comes.
        if what == WaitsFor::Head && self.waiting.what.get() == what {
            return;
        }
        self.waiting.what.set(what);
        self.waiting.since.set(self.waiters.now.get());
        // The wait before may have been over just when it ended.
        self.waiting.over.set(None);
    }

    /// Ready when one of two sides has vanished, and which. Nothing else is waited for.
    pub(crate) fn poll_vanished(
        &self,
        cx: &mut Context<'_>,
        sides: (&TcpStream, &TcpStream),
    ) -> Poll<Reason> {
        self.poll_sides(cx, sides, |_| false)
    }

    /// The same on a connection whose downstream has been told of no end: if it is over
    /// all the same, the client has broken off. That is not heard from one that has ended
    /// before, and is not read from any longer.
    pub(crate) fn poll_gone(
        &self,
        cx: &mut Context<'_>,
        sides: (&TcpStream, &TcpStream),
    ) -> Poll<Reason> {
        self.poll_sides(cx, sides, is_closed)
    }

    fn poll_sides(
        &self,
        cx: &mut Context<'_>,
        (downstream, upstream): (&TcpStream, &TcpStream),
        is_gone: impl Fn(&TcpStream) -> bool,
    ) -> Poll<Reason> {
        ready!(self.poll_over(cx));
        let patience = &self.waiters.patience;
        if patience.has_vanished(upstream) {
            return Poll::Ready(Reason::UpstreamSilent);
        }
        if patience.has_vanished(downstream) || is_gone(downstream) {
            return Poll::Ready(Reason::DownstreamReset);
        }
        self.waits_for(WaitsFor::Sides);
        self.poll_over(cx)
    }

    /// Whether connections are to end when they can.
    pub(crate) fn is_draining(&self) -> bool {
        self.waiters.is_draining()
    }

    /// Ready when it has waited too long, and why that is so.
    pub(crate) fn poll_over(&self, cx: &mut Context<'_>) -> Poll<Reason> {
        if let Some(reason) = self.waiting.over.take() {
            return Poll::Ready(reason);
        }
        let mut waker = self.waiting.waker.borrow_mut();
        match &mut *waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            waker => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.waiters.all.borrow_mut().remove(&self.id);
    }
}

#[cfg(test)]
mod tests;
