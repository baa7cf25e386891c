//! How long a sidecar that is told to end stays for its application.
//!
//! The kubelet tells a native sidecar once the application has ended. A classic one it
//! tells together with the application, or before it: each container's `preStop` hook is
//! run first, and clients go on for as long as they haven't heard of the pod's end
//! (<https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination-flow>).
//! What else runs in the pod can't be seen from a container, but its sockets can.

use std::{sync::Arc, time::Duration};

use netting_runtime::Drain;
use tokio::{sync::Notify, time::sleep};

mod sockets;
#[cfg(test)]
mod tests;

pub use sockets::others;

/// An application may work on for a while without a socket, and then connect: write down
/// what it was doing, say.
const WITHOUT_SOCKETS: Duration = Duration::from_secs(3);
/// Longer than most `preStop` hooks wait for clients to go elsewhere.
const UNSEEN: Duration = Duration::from_secs(10);

/// How many looks there are in the time that has to be quiet.
const LOOKS: u32 = 10;

/// What the sidecar knows of those that run beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// They have ended: the sidecar is a native one, or the catalog has said so.
    Ended,
    /// Some of them listens, or is connected.
    WithSockets,
    /// None of them has a TCP socket.
    WithoutSockets,
    /// The kernel doesn't tell, or not in a way that can be believed.
    Unseen,
}

impl Others {
    /// How long there must be no connection before the sidecar may end, which is
    /// `shortest` at least; `None` while no time is enough.
    fn quiet(self, shortest: Duration) -> Option<Duration> {
        match self {
            Self::Ended => Some(shortest),
            Self::WithSockets => None,
            Self::WithoutSockets => Some(WITHOUT_SOCKETS.max(shortest)),
            Self::Unseen => Some(UNSEEN.max(shortest)),
        }
    }
}

/// Holds the drain open until no connection has been there for a while: the application,
/// which may be ending too, can still open some. `look` says what is seen of the
/// application, until `ended` has told that there is none any more.
pub async fn linger(
    drain: Drain,
    shortest: Duration,
    ended: Arc<Notify>,
    mut look: impl FnMut() -> Others,
) {
    /// This task itself.
    const OWN: usize = 1;
    drain.started().await;
    let mut has_ended = false;
    let mut seen = drain.spawned();
    let mut quiet_for = Duration::ZERO;
    let mut told = None;
    loop {
        let others = if has_ended { Others::Ended } else { look() };
        if told.replace(others) != Some(others) {
            tracing::debug!(?others, "looked who else is in the pod");
        }
        let needed = others.quiet(shortest);
        if needed.is_some_and(|needed| quiet_for >= needed) {
            return;
        }
        let step = needed.unwrap_or(WITHOUT_SOCKETS) / LOOKS;
        tokio::select! {
            () = sleep(step) => {}
            () = ended.notified(), if !has_ended => {
                has_ended = true;
                continue;
            }
        }
        // Also one that came and went between two looks.
        let busy = needed.is_none() || drain.tasks() > OWN || drain.spawned() != seen;
        seen = drain.spawned();
        quiet_for = if busy {
            Duration::ZERO
        } else {
            quiet_for + step
        };
    }
}
