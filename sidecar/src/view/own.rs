//! What the catalog says of the pod's own addresses, which others connect to.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{Known, Slot, View, Whose};
use crate::{addr::OriginalDst, destination::Destination};

/// The catalog is asked of so many of the pod's ports at most: which they are is up to
/// whoever connects, and may be all that there are.
const PORTS_MAX: usize = 64;
/// For how long they are followed after their last connection. The next one is not to wait
/// for what was known once.
pub(super) const FOLLOWED_FOR: Duration = Duration::from_secs(60 * 60);

impl View {
    /// What is known of one of the pod's own addresses. The catalog is asked of one that is
    /// new, and its answer not waited for: later connections have it.
    #[must_use]
    pub fn own(&self, addr: OriginalDst) -> Option<Arc<Destination>> {
        let slot = self.slot(addr, Whose::Own)?;
        match &*slot.known.borrow() {
            Known::Destination(destination) => Some(Arc::clone(destination)),
            Known::Nothing | Known::Unknown => None,
        }
    }
}

/// Whether one more of them may be followed.
pub(super) fn is_room(slots: &HashMap<OriginalDst, Arc<Slot>>) -> bool {
    let is_own = |slot: &&Arc<Slot>| slot.whose == Whose::Own;
    slots.values().filter(is_own).count() < PORTS_MAX
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use netting_proto::v1;

    use super::*;
    use crate::view::ViewLimits;

    fn view() -> View {
        let limits = ViewLimits {
            destinations_max: 1000,
            discovery_timeout: Duration::from_millis(100),
            idle: Duration::from_secs(300),
        };
        View::new(limits, "")
    }

    fn port(port: usize) -> OriginalDst {
        let port = u16::try_from(port).expect("there are no more");
        OriginalDst(SocketAddr::from(([10, 0, 0, 2], port)))
    }

    #[tokio::test(start_paused = true)]
    async fn who_tries_all_ports_leaves_room_for_what_the_application_uses() {
        let view = view();
        for tried in 1..=200 {
            assert!(view.own(port(tried)).is_none());
        }
        assert_eq!(view.take_pending().subscribe.len(), PORTS_MAX);
        let elsewhere = OriginalDst(([10, 96, 0, 1], 80).into());
        let _ = view.resolve(elsewhere).await;
        assert_eq!(view.take_pending().subscribe, [elsewhere]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_known_of_a_port_is_there_for_its_next_connection() {
        let view = view();
        view.connected();
        assert!(view.own(port(80)).is_none());
        assert_eq!(view.take_pending().subscribe, [port(80)]);
        let known = v1::Snapshot {
            address: Some(port(80).0.into()),
            destination: Some(v1::Destination {
                protocol_hint: "redis".to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        };
        view.snapshot(known).expect("a good snapshot");
        tokio::time::advance(FOLLOWED_FOR / 2).await;
        view.forget_idle();
        let known = view.own(port(80)).expect("it is told of");
        assert_eq!(known.protocol_hint, "redis");
        assert!(view.take_pending().subscribe.is_empty(), "it was asked of");
        tokio::time::advance(FOLLOWED_FOR).await;
        view.forget_idle();
        assert_eq!(view.take_pending().unsubscribe, [port(80)]);
    }
}
