//! What a client says, seen without being read, or read after its upstream hung up.

use std::{io, time::Duration};

use tokio::{
    io::Interest,
    net::TcpStream,
    time::{sleep, timeout},
};

use super::Begun;
use crate::detect::{Detection, Protocol, detect};

/// How long a client may still take to speak after its upstream hung up without a word.
const HUNG_UP: Duration = Duration::from_millis(250);

/// Between two looks at a client that has begun and not gone on.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// What a client speaks, if it still does or goes on soon. An endpoint that ends hangs up
/// on connections whose clients were about to ask, and another one may answer them.
pub(super) async fn after_hang_up(begun: &mut Begun, downstream: &TcpStream) -> Protocol {
    let says = async {
        loop {
            match (begun.read(downstream).await, detect(begun.bytes())) {
                (Ok(0) | Err(_), _) => return Protocol::Opaque,
                (Ok(_), Detection::Is(protocol)) => return protocol,
                (Ok(_), Detection::NeedMore) => {}
            }
        }
    };
    timeout(HUNG_UP, says).await.unwrap_or(Protocol::Opaque)
}

/// What can be seen of a connection without reading from it.
pub(super) struct Seen {
    pub(super) bytes: usize,
    /// There will be no more.
    pub(super) are_all: bool,
}

/// Waits until there are more bytes than `seen`, or there won't be any more.
///
/// The kernel tells of new bytes, not of those that were left unread, so that the
/// rare client that trickles is looked at again and again for a moment.
pub(super) async fn look(stream: &TcpStream, prefix: &mut [u8], seen: usize) -> io::Result<Seen> {
    loop {
        let ready = stream.ready(Interest::READABLE).await?;
        let bytes = stream.peek(prefix).await?;
        let are_all = bytes == 0 || bytes == prefix.len() || ready.is_read_closed();
        if bytes > seen || are_all {
            return Ok(Seen { bytes, are_all });
        }
        sleep(LOOK_AGAIN).await;
    }
}
