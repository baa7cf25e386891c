//! The connection that a request to the admin port came by, for handlers that do
//! more with it than answer.

use std::{net::SocketAddr, time::Duration};

use tokio::time::{Instant, sleep};

use crate::slots::{Holder, Work};

/// The connection that a request came by; an [`axum::Extension`] of each request.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The address that the client connected to, one of this process's own.
    pub local: SocketAddr,
    pub(super) since: Instant,
    holder: Holder,
}

/// Keeps a connection open until it is dropped.
#[derive(Debug)]
pub struct Kept {
    _work: Work,
}

impl Accepted {
    /// A connection to this address, from now on. An IPv4 address comes as such, also
    /// where the listener is one for both families.
    #[must_use]
    pub fn at(local: SocketAddr, holder: &Holder) -> Self {
        Self {
            local: SocketAddr::new(local.ip().to_canonical(), local.port()),
            since: Instant::now(),
            holder: holder.clone(),
        }
    }

    /// Closes the connection without an answer, where any answer would be taken for
    /// a good one. The handler that calls this is dropped at its next await.
    pub fn hang_up(&self) {
        self.holder.revoke();
    }

    /// Keeps the connection open longer than the server allows otherwise, for a
    /// handler that takes long and bounds its time itself.
    #[must_use]
    pub fn keep(&self) -> Kept {
        Kept {
            _work: self.holder.at_work(),
        }
    }

    /// Resolves once somebody hung up, or `time_max` is over and nobody keeps it.
    pub(super) async fn over(&self, time_max: Duration) {
        let outstayed = async {
            loop {
                sleep(time_max).await;
                if self.holder.is_idle() {
                    return;
                }
            }
        };
        tokio::select! {
            () = outstayed => {}
            () = self.holder.revoked() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::slots::{Slot, Slots};

    const TIME_MAX: Duration = Duration::from_secs(60);

    async fn accepted_at(local: &str) -> (Accepted, Slot) {
        let local: SocketAddr = local.parse().expect("it is an address");
        let slots = Slots::new("connections", 1);
        let slot = slots.take(local.ip()).await.expect("it is free");
        (Accepted::at(local, slot.holder()), slot)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_over_at_its_time_unless_it_is_kept() {
        let (accepted, _slot) = accepted_at("127.0.0.1:15020").await;
        let begun = Instant::now();
        accepted.over(TIME_MAX).await;
        assert_eq!(begun.elapsed(), TIME_MAX);

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
        let (accepted, _slot) = accepted_at("127.0.0.1:15020").await;
        let _kept = accepted.keep();
        accepted.hang_up();
        accepted.over(TIME_MAX).await;
    }

    #[tokio::test]
    async fn an_address_of_ipv4_shows_as_such() {
        let (accepted, _slot) = accepted_at("[::ffff:10.0.0.2]:15020").await;
        assert_eq!(accepted.local.to_string(), "10.0.0.2:15020");
    }
}
