//! The connection that a request to the admin port came by, for handlers that do
//! more with it than answer.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// The connection that a request came by; an [`axum::Extension`] of each request.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The address that the client connected to, one of this process's own.
    pub local: SocketAddr,
    pub(super) since: Instant,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    hung_up: CancellationToken,
    /// How many handlers keep it.
    kept: AtomicUsize,
}

/// Keeps a connection open until it is dropped.
#[derive(Debug)]
pub struct Kept(Arc<State>);

/// The connections that are open, oldest first.
#[derive(Debug, Default)]
pub(super) struct Open(VecDeque<Weak<State>>);

impl Accepted {
    /// A connection to this address, from now on. An IPv4 address comes as such, also
    /// where the listener is one for both families.
    #[must_use]
    pub fn at(local: SocketAddr) -> Self {
        Self {
            local: SocketAddr::new(local.ip().to_canonical(), local.port()),
            since: Instant::now(),
            state: Arc::default(),
        }
    }

    /// Closes the connection without an answer, where any answer would be taken for
    /// a good one. The handler that calls this is dropped at its next await.
    pub fn hang_up(&self) {
        self.state.hung_up.cancel();
    }

    /// Keeps the connection open longer than the server allows otherwise, for a
    /// handler that takes long and bounds its time itself.
    #[must_use]
    pub fn keep(&self) -> Kept {
        self.state.kept.fetch_add(1, Ordering::Relaxed);
        Kept(Arc::clone(&self.state))
    }

    /// Resolves once somebody hung up, or `time_max` is over and nobody keeps it.
    pub(super) async fn over(&self, time_max: Duration) {
        let outstayed = async {
            loop {
                sleep(time_max).await;
                if self.state.is_idle() {
                    return;
                }
            }
        };
        tokio::select! {
            () = outstayed => {}
            () = self.state.hung_up.cancelled() => {}
        }
    }
}

impl State {
    fn is_idle(&self) -> bool {
        self.kept.load(Ordering::Relaxed) == 0
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.kept.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Open {
    pub(super) fn add(&mut self, accepted: &Accepted) {
        self.0.retain(|state| state.strong_count() > 0);
        self.0.push_back(Arc::downgrade(&accepted.state));
    }

    /// Hangs up on the oldest connection that nobody keeps.
    pub(super) fn close_oldest_idle(&self) {
        let open = self.0.iter().filter_map(Weak::upgrade);
        let mut idle = open.filter(|state| state.is_idle() && !state.hung_up.is_cancelled());
        if let Some(oldest) = idle.next() {
            oldest.hung_up.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const TIME_MAX: Duration = Duration::from_secs(60);

    fn accepted() -> Accepted {
        Accepted::at(([127, 0, 0, 1], 15020).into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_over_at_its_time_unless_it_is_kept() {
        let begun = Instant::now();
        accepted().over(TIME_MAX).await;
        assert_eq!(begun.elapsed(), TIME_MAX);

        let accepted = accepted();
        let kept = accepted.keep();
        let much_later = timeout(10 * TIME_MAX, accepted.over(TIME_MAX)).await;
        assert!(much_later.is_err(), "it is kept");
        drop(kept);
        let begun = Instant::now();
        accepted.over(TIME_MAX).await;
        assert_eq!(begun.elapsed(), TIME_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_kept_connection_can_be_hung_up() {
        let accepted = accepted();
        let _kept = accepted.keep();
        accepted.hang_up();
        accepted.over(TIME_MAX).await;
    }

    #[test]
    fn the_oldest_that_nobody_keeps_is_closed_first() {
        let connections: [Accepted; 4] = std::array::from_fn(|_| accepted());
        let mut open = Open::default();
        for connection in &connections {
            open.add(connection);
        }
        let [gone, kept, second, third] = connections;
        drop(gone);
        let _kept = kept.keep();
        let closed = || [&kept, &second, &third].map(|it| it.state.hung_up.is_cancelled());
        open.close_oldest_idle();
        assert_eq!(closed(), [false, true, false]);
        open.close_oldest_idle();
        assert_eq!(closed(), [false, true, true]);
        open.close_oldest_idle();
        assert_eq!(closed(), [false, true, true]);
    }

    #[test]
    fn an_address_of_ipv4_shows_as_such() {
        let mapped = "[::ffff:10.0.0.2]:15020".parse().expect("it is an address");
        assert_eq!(Accepted::at(mapped).local.to_string(), "10.0.0.2:15020");
    }
}
