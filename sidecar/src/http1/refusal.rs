//! What was to be a request, and is none.

use std::time::Duration;

use netting_telemetry::requests::{self, Method, Version};

use super::{
    buffer::{lend_out, take_back},
    session::{Session, send},
};
use crate::{
    http::{
        fault::Fault,
        told::{self, Told},
    },
    reason::Reason,
};

impl Session<'_> {
    /// Passes it on as it came, and all that follows: who may not even be in the mesh is
    /// sent what it would get without a sidecar.
    pub(super) async fn pass_on(&mut self, reason: Reason) -> Reason {
        let (client, dst) = (self.client, self.dst);
        tracing::debug!(%client, %dst, %reason, "passing on what is no request");
        let taken = match self.begun.take() {
            Some(begun) => begun,
            None => match self.own_upstream().await {
                Ok(own) => Box::new(own),
                Err(error) => return error.reason,
            },
        };
        self.downstream.buffer.consume(taken.has);
        self.tunnel(taken).await
    }

    /// Answers it, tells of it, and ends the connection: where the next request begins is
    /// not known.
    pub(super) async fn refuse(&mut self, reason: Reason) -> Reason {
        let fault = Fault::of(reason);
        self.tell_of_refusal(fault);
        let mut out = lend_out();
        fault.write_http1(false, false, &mut out);
        send(&self.downstream, &out).await;
        take_back(out);
        self.close(reason).await
    }

    fn tell_of_refusal(&self, fault: Fault) {
        let (client, dst, reason) = (self.client, self.dst, fault.reason);
        tracing::debug!(%client, %reason, "refused a request");
        self.proxy.metrics.refused(reason.as_str());
        let counted = requests::Ended {
            // What it says cannot be relied on.
            method: Method::Other,
            version: Version::Http11,
            status: Some(fault.status),
            error: Some(reason.as_str()),
            call: None,
            took: Duration::ZERO,
            sent: 0,
            received: 0,
            trace: None,
        };
        self.traffic.requests.ended(&counted);
        let ended = told::Ended {
            client,
            dst,
            upstream: None,
            protocol: "http1",
            sent: 0,
            received: 0,
            resent: 0,
            failed: Some(reason),
            counted: &counted,
        };
        if self.proxy.tells(None, &ended) {
            self.proxy.tell(None, &Told::default(), &ended);
        }
    }
}
