//! What the catalog says, message by message.

use netting_proto::{
    since,
    v1::{self, stream_response},
};

use super::Subscriber;

impl Subscriber {
    /// Brings one message into force. A malformed one is ignored: the next
    /// snapshot mends what it leaves.
    pub(super) fn take_in(&self, response: v1::StreamResponse) {
        use stream_response::Kind;
        let (kind, taken, changed_at_us) = match response.kind {
            Some(Kind::Snapshot(snapshot)) => {
                let changed_at_us = snapshot.changed_at_us;
                ("snapshot", self.view.snapshot(snapshot), changed_at_us)
            }
            Some(Kind::Delta(delta)) => {
                let changed_at_us = delta.changed_at_us;
                ("delta", self.view.delta(delta), changed_at_us)
            }
            Some(Kind::Unknown(unknown)) => (
                "unknown",
                self.view.unknown(&unknown),
                unknown.changed_at_us,
            ),
            Some(Kind::Unchanged(_)) => ("unchanged", Ok(()), 0),
            Some(Kind::Heartbeat(_)) => ("heartbeat", Ok(()), 0),
            Some(Kind::ApplicationEnded(_)) => {
                self.application_ended.notify_one();
                ("application_ended", Ok(()), 0)
            }
            Some(Kind::Place(place)) => {
                tracing::info!(zone = place.zone, "the catalog knows this node's zone");
                self.view.is_in_zone(&place.zone);
                ("place", Ok(()), 0)
            }
            Some(Kind::Welcome(_)) | None => ("ignored", Ok(()), 0),
        };
        self.metrics.message(kind);
        if let Err(error) = taken {
            tracing::warn!(kind, %error, "ignored a message from the catalog");
        } else if let Some(after) = since(changed_at_us) {
            tracing::debug!(kind, ?after, "the catalog told of a change");
            self.metrics.propagated(after);
        }
    }
}
