//! Bodies, read and thought about in bounded memory, so that those who send long ones
//! or send slowly are in each other's way and in nobody else's.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::review::{Malformed, VALUES_MAX, values_in};

use super::Refusal;

/// What an object may have at most in the API server: etcd's 1.5 MiB, twice over
/// for an update's old and new one.
pub(super) const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;
/// What hardly any pod exceeds.
const SHORT_BYTES_MAX: usize = 128 * 1024;
/// What a request takes besides its body, roughly: headers, and a question to the API
/// server about its namespace.
const REQUEST_BYTES: usize = 16 * 1024;
/// For a whole body, from its first to its last byte. The API server has given up
/// long before.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// A request waits so long for room. The API server, which waits for 5 s altogether,
/// asks again when it is told to.
pub(super) const ROOM_TIMEOUT: Duration = Duration::from_secs(1);
/// Bodies are held in memory until they are answered; all short ones together get this
/// much, and all long ones.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// Values that are made of short bodies, and of long ones, at a time. They take many
/// times the room of the text that they are made of.
const SHORT_VALUES_MAX: usize = VALUES_MAX;
const LONG_VALUES_MAX: usize = 2 * VALUES_MAX;

/// Room for bodies, and for what is made of them.
pub(super) struct Bodies {
    short: Room,
    long: Room,
}

struct Room {
    bytes: Semaphore,
    values: Semaphore,
}

/// A whole body, and its share of the room for as long as it is held.
pub(super) struct Received<'a> {
    pub(super) bytes: Bytes,
    room: &'a Room,
    _bytes: SemaphorePermit<'a>,
}

/// Leave to make values of a body, for as long as it is held.
pub(super) type Turn<'a> = SemaphorePermit<'a>;

const NEVER_CLOSED: &str = "nobody closes the semaphore";

impl Bodies {
    pub(super) fn new() -> Self {
        let room = |values| Room {
            bytes: Semaphore::new(BYTES_MAX),
            values: Semaphore::new(values),
        };
        Self {
            short: room(SHORT_VALUES_MAX),
            long: room(LONG_VALUES_MAX),
        }
    }

    /// Reads a body of this length, if it has one, once there is room for it.
    ///
    /// # Errors
    /// If it is too long, too slow or not whole, or there is no room in time.
    pub(super) async fn read(
        &self,
        length: Option<usize>,
        body: Body,
    ) -> Result<Received<'_>, Refusal> {
        // Without a length it may turn out to be as long as is allowed.
        let length = length.unwrap_or(BODY_BYTES_MAX);
        if length > BODY_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        let is_short = length <= SHORT_BYTES_MAX;
        let room = if is_short { &self.short } else { &self.long };
        let permits = u32::try_from(length.max(REQUEST_BYTES)).expect("3 MiB fit into 32 bits");
        let held = timeout(ROOM_TIMEOUT, room.bytes.acquire_many(permits)).await;
        let held = held.map_err(|_| Refusal::Busy)?.expect(NEVER_CLOSED);
        let body = timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await;
        let body = body.map_err(|_| Refusal::TooSlow)?.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Refusal::TooLarge
            } else {
                Refusal::BrokeOff
            }
        })?;
        Ok(Received {
            bytes: body.to_bytes(),
            room,
            _bytes: held,
        })
    }
}

impl<'a> Received<'a> {
    /// Waits until values may be made of it. Whoever has had their turn is quick, and
    /// waits for nothing.
    ///
    /// # Errors
    /// If it has more of them than any review.
    pub(super) async fn turn(&self) -> Result<Turn<'a>, Malformed> {
        let values = values_in(&self.bytes)?;
        let permits = u32::try_from(values).expect("there are few enough");
        Ok(self
            .room
            .values
            .acquire_many(permits)
            .await
            .expect(NEVER_CLOSED))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, stream};

    use super::*;

    fn endless() -> Body {
        Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>())
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_finds_no_room_is_told_so_before_the_api_server_has_given_up() {
        let bodies = Bodies::new();
        let slow = (0..BYTES_MAX / SHORT_BYTES_MAX).map(|_| {
            let read = bodies.read(Some(SHORT_BYTES_MAX), endless());
            let mut read = Box::pin(read);
            assert!(read.as_mut().now_or_never().is_none(), "it is on its way");
            read
        });
        let slow: Vec<_> = slow.collect();
        let begun = tokio::time::Instant::now();
        let refused = bodies.read(Some(1), Body::from("1")).await;
        assert!(matches!(refused, Err(Refusal::Busy)));
        assert_eq!(begun.elapsed(), ROOM_TIMEOUT);
        let long = bodies
            .read(Some(SHORT_BYTES_MAX + 1), Body::from("1"))
            .await;
        assert!(long.is_ok(), "long ones are not in the way of each other");
        drop(slow);
        assert!(bodies.read(Some(1), Body::from("1")).await.is_ok());
    }

    #[tokio::test]
    async fn values_are_made_of_so_many_bodies_at_a_time() {
        let bodies = Bodies::new();
        let half = format!("[{}1]", "1,".repeat(SHORT_VALUES_MAX / 2));
        let read = async || {
            let length = Some(SHORT_BYTES_MAX);
            bodies.read(length, Body::from(half.clone())).await.ok()
        };
        let (one, other) = (read().await, read().await);
        let [one, other] = [one, other].map(|read| read.expect("there is room for both"));
        let turn = one.turn().await.expect("it is none too many");
        assert!(other.turn().now_or_never().is_none(), "it is not its turn");
        drop(turn);
        assert!(other.turn().now_or_never().is_some(), "now it is");
    }

    #[tokio::test]
    async fn too_many_values_never_get_their_turn() {
        let bodies = Bodies::new();
        let many = "[".repeat(VALUES_MAX + 1);
        let length = Some(many.len());
        let read = bodies.read(length, Body::from(many)).await;
        let read = read.expect("there is room for its text");
        assert!(matches!(read.turn().await, Err(Malformed::TooManyValues)));
    }
}
