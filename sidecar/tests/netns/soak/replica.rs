//! A replica: the application, and its sidecar if it has one.

use std::{sync::Arc, thread, time::Duration};

use super::{
    app::{App, Seen},
    service::{SERVICES, Service, ports_of_http1},
};
use crate::harness::{
    namespace::Namespace,
    node::Node,
    sidecar::{Sidecar, wait_for},
};

/// What comes in this time is on its way yet when a replica is killed.
const ON_ITS_WAY: Duration = Duration::from_millis(50);

/// Which of the replicas it is, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(usize);

/// How a replica ends, each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Nobody knows before.
    Killed,
    /// As the kubelet ends a pod: its application is told and finishes, then its sidecar.
    Terminated,
    /// The catalog has said so before.
    KilledOnceRemoved,
    /// Nobody knows before, and its sidecar goes with it.
    KilledWithItsSidecar,
}

/// One replica ends in each way.
const WAYS: [Way; 4] = [
    Way::Killed,
    Way::Terminated,
    Way::KilledOnceRemoved,
    Way::KilledWithItsSidecar,
];

impl Slot {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..WAYS.len()).map(Self)
    }

    pub(super) fn others(self) -> impl Iterator<Item = Self> {
        Self::all().filter(move |other| *other != self)
    }

    pub(super) fn number(self) -> u16 {
        u16::try_from(self.0).expect("there are few")
    }

    pub(super) fn way(self) -> Way {
        WAYS[self.0]
    }
}

impl Way {
    /// Whether those that end so are pods with a sidecar.
    pub(super) fn is_meshed(self) -> bool {
        matches!(self, Way::Terminated | Way::KilledWithItsSidecar)
    }

    /// Those without a sidecar are the node's own.
    pub(super) fn host(self) -> &'static str {
        match self {
            Way::Killed | Way::KilledOnceRemoved => "10.0.0.1",
            Way::Terminated => "10.0.0.3",
            Way::KilledWithItsSidecar => "10.0.0.4",
        }
    }
}

/// A replica that runs, or is to be started again.
pub(super) struct Replica {
    slot: Slot,
    app: Option<App>,
    sidecar: Option<Sidecar>,
    /// A pod's.
    namespace: Option<Namespace>,
    seen: Arc<Seen>,
}

impl Replica {
    pub(super) fn new(node: &Node, slot: Slot, seen: &Arc<Seen>) -> Self {
        let way = slot.way();
        let pod = || node.pod(&format!("replica-{}", slot.number()), way.host());
        let mut replica = Self {
            slot,
            app: None,
            sidecar: None,
            namespace: way.is_meshed().then(pod),
            seen: Arc::clone(seen),
        };
        replica.start(node);
        replica
    }

    /// Serves from now on.
    pub(super) fn start(&mut self, node: &Node) {
        if let Some(pod) = &self.namespace {
            self.sidecar = Some(Sidecar::start(pod));
            wait_for(pod, "/ready", "\r\n\r\nready");
        }
        let namespace = self.namespace.as_ref().unwrap_or(node);
        let listen = |service: Service| (service, namespace.listen(service.endpoint(self.slot)));
        let listeners = SERVICES.map(listen).into();
        self.app = Some(App::start(listeners, Arc::clone(&self.seen)));
    }

    /// Ends all of it at once.
    pub(super) fn kill(&mut self, node: &Node) {
        // Without a sidecar, the application is the one who knows what has got there. What is
        // on its way then never does.
        let is_alone = self.namespace.is_none();
        let held_back = is_alone.then(|| {
            let held_back = node.hold_back(ports_of_http1(self.slot));
            thread::sleep(ON_ITS_WAY);
            held_back
        });
        drop(self.sidecar.take());
        if let Some(app) = self.app.take() {
            app.kill();
        }
        drop(held_back);
    }

    /// Ends the application, and then the sidecar.
    pub(super) fn terminate(&mut self) {
        if let Some(app) = self.app.take() {
            app.terminate();
        }
        if let Some(mut sidecar) = self.sidecar.take() {
            sidecar.terminate();
            assert_eq!(sidecar.exit_code(), Some(0));
        }
    }
}
