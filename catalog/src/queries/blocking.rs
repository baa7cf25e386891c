//! Queries that wait for a change.

use axum::http::StatusCode;
use tokio::time::timeout;

use super::{Queries, Refused, params::Params};
use crate::{index::Index, publisher::Modified};

/// A version as Consul's clients take it: never 0, which means not to wait.
pub(super) fn index_of(version: u64) -> u64 {
    version.max(1)
}

impl Queries {
    /// Waits until `version` is another one than the query names; not at all if it
    /// names none. One that is lower is another one too: it may be from a replica
    /// that is ahead of this one, whose own versions the client should use then.
    pub(super) async fn wait(
        &self,
        params: &Params,
        version: impl Fn(&Index, &Modified) -> u64,
    ) -> Result<(), Refused> {
        let Some(known) = params.index.filter(|index| *index > 0) else {
            return Ok(());
        };
        let mut versions = self.publisher.version();
        let is_known = || index_of(self.publisher.read(&version)) == known;
        if !is_known() {
            return Ok(());
        }
        let Ok(_place) = self.waiting.try_acquire() else {
            let why = "as many queries wait for a change as may; ask without index, or later";
            return Err(Refused(StatusCode::TOO_MANY_REQUESTS, why.to_owned()));
        };
        self.metrics.waiting_queries.inc();
        let changed = async { while is_known() && versions.changed().await.is_ok() {} };
        tokio::select! {
            // After that, the answer is what it was, and so is its version.
            _ = timeout(params.wait, changed) => {}
            () = self.drain.started() => {}
        }
        self.metrics.waiting_queries.dec();
        Ok(())
    }
}
