//! The span of what a sidecar asks for: from its request to when all of it has been said.

use netting_proto::v1::stream_response::Kind as Message;
use netting_telemetry::trace::{Received, Tracer, Work, span::Kind};

use crate::objects::Key;

/// Addresses that somebody asked for, and what was said of them so far. What is asked for
/// before all of the earlier has been said belongs to it.
#[derive(Debug)]
pub(super) struct Asked {
    work: Work,
    addresses: usize,
    snapshots: usize,
    unchanged: usize,
    unknown: usize,
}

impl Asked {
    /// Begins with a request. Nothing, if nobody looks at it. It is no part of the trace
    /// that the stream may have been opened in: that was hours ago.
    pub(super) fn begin(tracer: Option<&Tracer>, sidecar: Option<&Key>) -> Option<Self> {
        let mut work = Work::begin(tracer, Kind::Server, "subscribe", &Received::default());
        if !work.is_seen() {
            return None;
        }
        work.note("rpc.system.name", "grpc");
        work.note("rpc.method", "netting.v1.Catalog/Stream");
        if let Some(Key { namespace, name }) = sidecar {
            work.note_text("netting.sidecar.namespace", namespace);
            work.note_text("netting.sidecar.pod", name);
        }
        Some(Self {
            work,
            addresses: 0,
            snapshots: 0,
            unchanged: 0,
            unknown: 0,
        })
    }

    /// So many addresses more are asked for.
    pub(super) fn add(&mut self, addresses: usize) {
        self.addresses += addresses;
    }

    /// Something was said.
    pub(super) fn said(&mut self, message: &Message) {
        match message {
            Message::Snapshot(_) => self.snapshots += 1,
            Message::Unchanged(_) => self.unchanged += 1,
            Message::Unknown(_) => self.unknown += 1,
            _ => {}
        }
    }

    /// All has been said, or else this is why not.
    pub(super) fn end(self, broken_off: Option<&'static str>) {
        let Self {
            mut work,
            addresses,
            snapshots,
            unchanged,
            unknown,
        } = self;
        work.note("netting.catalog.addresses", addresses);
        work.note("netting.catalog.snapshots", snapshots);
        work.note("netting.catalog.unchanged", unchanged);
        work.note("netting.catalog.unknown", unknown);
        if let Some(why) = broken_off {
            work.fail(why);
        }
        work.end();
    }
}
