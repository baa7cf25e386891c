//! Upstream connections that wait for another request.

use std::{cell::RefCell, collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::side::Side;
use crate::{addr::EndpointAddr, destination::Endpoint};

/// A request that is on its way when the upstream's patience ends is lost, and may not be
/// sent twice if it cannot be told that nobody read it. So a connection is not used in its last second.
const LAST: Duration = Duration::from_secs(1);

/// Bounds of a pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolLimits {
    /// How many connections wait at most.
    pub(crate) connections_max: usize,
    /// And for how long.
    pub(crate) idle: Duration,
}

/// The waiting connections of one thread, by where they go.
#[derive(Debug)]
pub(crate) struct Pool {
    limits: PoolLimits,
    waiting: RefCell<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    by_endpoint: HashMap<EndpointAddr, Vec<Idle>>,
    count: usize,
}

#[derive(Debug)]
struct Idle {
    endpoint: Arc<Endpoint>,
    side: Side,
    since: Instant,
}

impl Idle {
    /// Whether the upstream has said that it ends the connection about now.
    fn is_nearly_over(&self) -> bool {
        let kept = self.side.kept_seconds.map(|kept| kept.get().into());
        let kept = kept.map(Duration::from_secs);
        kept.is_some_and(|kept| self.since.elapsed() + LAST >= kept)
    }

    fn close(mut self) {
        self.side.stream.finish();
    }
}

impl Pool {
    pub(crate) fn new(limits: PoolLimits) -> Self {
        Self {
            limits,
            waiting: RefCell::default(),
        }
    }

    /// Takes the connection that was used last, so that those there are too many of
    /// grow old. Whether it still works shows in use.
    pub(crate) fn take(&self, endpoint: EndpointAddr) -> Option<Side> {
        let mut waiting = self.waiting.borrow_mut();
        loop {
            let idle = waiting.by_endpoint.get_mut(&endpoint)?.pop()?;
            waiting.count -= 1;
            if idle.side.is_silent() && !idle.is_nearly_over() {
                return Some(idle.side);
            }
            idle.close();
        }
    }

    /// Keeps a connection for another request, if there is room; closes it otherwise.
    /// Tells which.
    pub(crate) fn put(&self, endpoint: &Arc<Endpoint>, side: Side) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        let addr = endpoint.addr;
        let idle = Idle {
            endpoint: Arc::clone(endpoint),
            side,
            since: Instant::now(),
        };
        if waiting.count >= self.limits.connections_max {
            idle.close();
            return false;
        }
        waiting.count += 1;
        waiting.by_endpoint.entry(addr).or_default().push(idle);
        true
    }

    /// Closes what has waited for too long, what its upstream has closed, and what
    /// goes to an endpoint that is gone.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        let mut waiting = self.waiting.borrow_mut();
        let mut count = 0;
        waiting.by_endpoint.retain(|_, idle| {
            let stays = |idle: &mut Idle| {
                now.duration_since(idle.since) < self.limits.idle
                    && idle.endpoint.is_current()
                    && idle.side.is_silent()
                    && !idle.is_nearly_over()
            };
            for over in idle.extract_if(.., |idle| !stays(idle)) {
                over.close();
            }
            count += idle.len();
            !idle.is_empty()
        });
        waiting.count = count;
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let waiting = self.waiting.take();
        waiting
            .by_endpoint
            .into_values()
            .flatten()
            .for_each(Idle::close);
    }
}

#[cfg(test)]
mod tests;
