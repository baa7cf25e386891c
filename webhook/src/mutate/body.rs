//! Bodies, read in bounded memory, so that those who send long ones or send slowly are
//! in each other's way and in nobody else's.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use super::Refusal;

/// What an object may have at most in the API server: etcd's 1.5 MiB, twice over
/// for an update's old and new one.
pub(super) const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;
/// What hardly any pod exceeds.
const SHORT_BYTES_MAX: usize = 128 * 1024;
/// For a whole body, from its first to its last byte. The API server has given up
/// long before.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Bodies are held in memory while they arrive; all short ones together get this much,
/// and all long ones.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// What is made of a long body takes many times its length.
const LONG_ONES_THOUGHT_ABOUT_MAX: usize = 2;

/// Room for bodies, and for what is made of them.
pub(super) struct Bodies {
    short: Semaphore,
    long: Semaphore,
    thought_about: Semaphore,
}

/// Leave to read a body's meaning, and to think about it.
pub(super) type Turn<'a> = Option<SemaphorePermit<'a>>;

impl Bodies {
    pub(super) fn new() -> Self {
        Self {
            short: Semaphore::new(BYTES_MAX),
            long: Semaphore::new(BYTES_MAX),
            thought_about: Semaphore::new(LONG_ONES_THOUGHT_ABOUT_MAX),
        }
    }

    /// Reads a body of this length, if it has one, and waits for its turn.
    ///
    /// # Errors
    /// If it is too long, too slow or not whole.
    pub(super) async fn read(
        &self,
        length: Option<usize>,
        body: Body,
    ) -> Result<(Bytes, Turn<'_>), Refusal> {
        // Without a length it may turn out to be as long as is allowed.
        let length = length.unwrap_or(BODY_BYTES_MAX);
        if length > BODY_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        let is_short = length <= SHORT_BYTES_MAX;
        let room = if is_short { &self.short } else { &self.long };
        let permits = u32::try_from(length).expect("3 MiB fit into 32 bits");
        let read = async {
            let room = room.acquire_many(permits).await;
            let room = room.expect("nobody closes the semaphore");
            (Limited::new(body, BODY_BYTES_MAX).collect().await, room)
        };
        let (body, _room) = timeout(BODY_TIMEOUT, read)
            .await
            .map_err(|_| Refusal::TooSlow)?;
        let body = body.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Refusal::TooLarge
            } else {
                Refusal::BrokeOff
            }
        })?;
        let turn = match is_short {
            true => None,
            false => {
                let turn = self.thought_about.acquire().await;
                Some(turn.expect("nobody closes the semaphore"))
            }
        };
        Ok((body.to_bytes(), turn))
    }
}
