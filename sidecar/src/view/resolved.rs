//! For tests: where a connection goes, in one answer.

use tokio::time::Instant;

use super::{Found, InUse, View};
use crate::{addr::OriginalDst, balance::Unit, destination::Chosen, reason::Reason};

/// What the view says of an address: where a connection to it goes.
#[derive(Debug)]
pub(crate) enum Answer {
    /// To this endpoint, or to another one of the same destination.
    Endpoint(
        #[expect(dead_code, reason = "as long as it is held, the address is in use")] InUse,
        Chosen,
    ),
    /// To where it was going.
    PassThrough(Reason),
}

impl View {
    /// Where a connection to this address goes; see [`View::find`].
    pub(crate) async fn resolve(&self, dst: OriginalDst) -> Answer {
        match self.find(dst).await {
            Found::Unanswered(_, reason) | Found::PassThrough(reason) => {
                Answer::PassThrough(reason)
            }
            Found::Destination(used, known) => {
                match known.choose(Unit::Connection, &[], Instant::now()) {
                    Some(first) => Answer::Endpoint(used, first),
                    None => Answer::PassThrough(Reason::NoEndpoints),
                }
            }
        }
    }
}
