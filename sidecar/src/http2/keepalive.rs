//! Notices upstreams that have vanished while streams wait for them.
//!
//! A connection on which nothing is sent, because all wait for an answer, tells
//! nothing of a peer that is gone. So one that has been silent for a while is sent a
//! PING (RFC 9113 section 6.7). Whatever comes back is a sign of life.

use std::{
    cell::{Cell, RefCell},
    task::{Context, Waker},
    time::Duration,
};

use h2::{Ping, PingPong};
use tokio::time::Instant;

use crate::http::limits::Http2Limits;

/// Servers of gRPC end connections that are sent a PING more often than every five
/// minutes while no data goes to them
/// (<https://github.com/grpc/proposal/blob/master/A8-client-side-keepalive.md>).
const STRANGERS_INTERVAL_MIN: Duration = Duration::from_secs(310);

/// So many looks in vain it takes to give a connection up. An answer may lie unread while
/// this thread itself does not get to run.
const LOOKS_MIN: u32 = 3;

/// How patient one is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    interval: Duration,
    timeout: Duration,
}

impl Patience {
    /// With a sidecar, which answers as often as it is asked, or with a stranger.
    /// Nothing, if nobody is to be asked.
    pub(super) fn of(limits: &Http2Limits, is_meshed: bool) -> Option<Self> {
        let interval = limits.ping_interval;
        let interval = if is_meshed {
            interval
        } else {
            interval.max(STRANGERS_INTERVAL_MIN)
        };
        (!limits.ping_interval.is_zero()).then_some(Self {
            interval,
            timeout: limits.ping_timeout,
        })
    }
}

/// What is known of a connection's life.
#[derive(Debug)]
pub(super) struct Keepalive {
    /// Nothing, once it cannot be asked.
    pings: RefCell<Option<PingPong>>,
    /// When something last came, or need not have.
    heard: Cell<Instant>,
    /// When it was asked, and how often it was looked at since; it has not answered.
    asked: Cell<Option<(Instant, u32)>>,
}

impl Keepalive {
    pub(super) fn new(pings: Option<PingPong>, now: Instant) -> Self {
        Self {
            pings: RefCell::new(pings),
            heard: Cell::new(now),
            asked: Cell::new(None),
        }
    }

    /// Looks at the connection: whether something came since the last look, and
    /// whether anybody waits for it. `false` if it gives no sign of life.
    pub(super) fn is_alive(
        &self,
        (has_spoken, is_awaited): (bool, bool),
        patience: Patience,
        now: Instant,
    ) -> bool {
        if has_spoken || !is_awaited {
            self.heard.set(now);
            if self.asked.take().is_some() {
                self.forget_answer();
            }
            return true;
        }
        let since = |then: Instant| now.saturating_duration_since(then);
        if let Some((asked, looks)) = self.asked.get() {
            self.asked.set(Some((asked, looks + 1)));
            return since(asked) < patience.timeout || looks < LOOKS_MIN;
        }
        if since(self.heard.get()) >= patience.interval {
            self.ask();
            self.asked.set(Some((now, 0)));
        }
        true
    }

    fn ask(&self) {
        self.forget_answer();
        if let Some(pings) = self.pings.borrow_mut().as_mut() {
            // One that is still under way asks as well.
            let _ = pings.send_ping(Ping::opaque());
        }
    }

    /// The library wants an answer to be taken before it asks again.
    fn forget_answer(&self) {
        if let Some(pings) = self.pings.borrow_mut().as_mut() {
            let mut nobody = Context::from_waker(Waker::noop());
            let _ = pings.poll_pong(&mut nobody);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENT: (bool, bool) = (false, true);
    const UNUSED: (bool, bool) = (false, false);
    const SPEAKS: (bool, bool) = (true, true);

    fn limits(interval: u64) -> Http2Limits {
        Http2Limits {
            stream_window: 65_535,
            connection_window: 65_535,
            streams_max: 1,
            head_bytes_max: 1024,
            pool_max: 1,
            ping_interval: Duration::from_secs(interval),
            ping_timeout: Duration::from_secs(20),
        }
    }

    /// Looks every second; how many of them until it is given up.
    fn given_up_after(keepalive: &Keepalive, what: (bool, bool), is_meshed: bool) -> Option<u64> {
        let patience = Patience::of(&limits(30), is_meshed).expect("it is to be asked");
        let begun = keepalive.heard.get();
        (1..3600).find(|second| {
            let now = begun + Duration::from_secs(*second);
            !keepalive.is_alive(what, patience, now)
        })
    }

    #[test]
    fn nobody_is_asked_if_that_is_not_wanted() {
        assert!(Patience::of(&limits(0), true).is_none());
    }

    #[test]
    fn silence_is_asked_about_and_then_given_up() {
        let keepalive = || Keepalive::new(None, Instant::now());
        assert_eq!(given_up_after(&keepalive(), SILENT, true), Some(50));
        assert_eq!(given_up_after(&keepalive(), SILENT, false), Some(330));
        assert_eq!(given_up_after(&keepalive(), UNUSED, true), None);
        assert_eq!(given_up_after(&keepalive(), SPEAKS, true), None);
    }

    #[test]
    fn an_answer_in_time_begins_anew() {
        let keepalive = Keepalive::new(None, Instant::now());
        let patience = Patience::of(&limits(30), true).expect("it is to be asked");
        let at = |seconds| keepalive.heard.get() + Duration::from_secs(seconds);
        assert!(keepalive.is_alive(SILENT, patience, at(30)));
        assert!(keepalive.asked.get().is_some());
        assert!(keepalive.is_alive(SPEAKS, patience, at(49)));
        assert_eq!(given_up_after(&keepalive, SILENT, true), Some(50));
    }
    #[test]
    fn a_look_that_comes_late_gives_nobody_up() {
        let keepalive = Keepalive::new(None, Instant::now());
        let patience = Patience::of(&limits(30), true).expect("it is to be asked");
        let at = |seconds| keepalive.heard.get() + Duration::from_secs(seconds);
        assert!(keepalive.is_alive(SILENT, patience, at(100)));
        for late in [200, 201, 202] {
            assert!(keepalive.is_alive(SILENT, patience, at(late)), "{late}");
        }
        assert!(!keepalive.is_alive(SILENT, patience, at(203)));
    }
}
