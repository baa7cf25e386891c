//! What a client says, seen without being read, or read after its upstream hung up.

use std::{io, time::Duration};

use tokio::{
    io::Interest,
    net::TcpStream,
    time::{sleep, timeout},
};

use super::Begun;
use crate::{
    detect::{Detection, Protocol, detect},
    stream::await_more,
};

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

/// What an upstream says that nobody has asked for anything. None of it is read.
pub(super) enum Heard {
    /// Words that are for the client, perhaps as it is the `habit` of its kind to speak
    /// first.
    Words { are_a_habit: bool },
    /// The settings of an HTTP/2 server, which may say them before its client's preface
    /// (RFC 9113 section 3.4). What the client speaks is still its to say.
    Settings,
    /// It ended, and said nothing else.
    End,
    /// It broke off.
    Break,
}

/// Waits for an upstream to say something, or something more. `wait` is how long it is
/// given to go on with what may be the begin of its settings.
pub(super) async fn hears(upstream: &TcpStream, wait: Duration) -> Heard {
    let mut begin = [0; FRAME_HEAD_BYTES];
    let mut looked = look(upstream, &mut begin, 0).await;
    while let Ok(seen) = &looked
        && !seen.are_all
        && may_be_settings(&begin[..seen.bytes])
    {
        let bytes = seen.bytes;
        looked = match timeout(wait, look(upstream, &mut begin, bytes)).await {
            Ok(more) => more,
            // Perhaps all that it has to say. Perhaps not: it is not judged by that.
            Err(_) => return Heard::Words { are_a_habit: false },
        };
    }
    let Ok(seen) = looked else {
        return Heard::Break;
    };
    let is_settings = seen.bytes == FRAME_HEAD_BYTES && may_be_settings(&begin);
    if seen.bytes == 0 || is_settings && seen.has_ended {
        Heard::End
    } else if is_settings {
        await_more(upstream);
        Heard::Settings
    } else {
        // HTTP servers tell clients that say nothing so (408). That is no habit.
        let are_a_habit = !begin[..seen.bytes].starts_with(b"HTTP/");
        Heard::Words { are_a_habit }
    }
}

/// The head of a frame is so long (RFC 9113 section 4.1).
const FRAME_HEAD_BYTES: usize = 9;

/// Whether this much of a frame's head may be that of a server's first settings
/// (RFC 9113 section 6.5), of which there are six bytes each, and not more than fit into
/// the frames that everybody takes. No greeting of another protocol that is in use begins
/// with a whole one.
pub(super) fn may_be_settings(head: &[u8]) -> bool {
    const LENGTH_MAX: u32 = 16_384;
    const BEHIND_LENGTH: [u8; 6] = [4, 0, 0, 0, 0, 0];
    let known = head.len().min(3);
    let mut length = [0; 4];
    length[1..=known].copy_from_slice(&head[..known]);
    let length = u32::from_be_bytes(length);
    let may_be_length = length <= LENGTH_MAX && (known < 3 || length.is_multiple_of(6));
    may_be_length && BEHIND_LENGTH.starts_with(&head[known..])
}

/// What can be seen of a connection without reading from it.
pub(super) struct Seen {
    pub(super) bytes: usize,
    /// There will be no more, or no more that can be seen.
    pub(super) are_all: bool,
    /// There will be no more.
    pub(super) has_ended: bool,
}

/// Waits until there are more bytes than `seen`, or there won't be any more.
///
/// The kernel tells of new bytes, not of those that were left unread, so that the
/// rare client that trickles is looked at again and again for a moment.
pub(super) async fn look(stream: &TcpStream, prefix: &mut [u8], seen: usize) -> io::Result<Seen> {
    loop {
        let ready = stream.ready(Interest::READABLE).await?;
        let bytes = stream.peek(prefix).await?;
        let has_ended = bytes == 0 || ready.is_read_closed();
        let are_all = has_ended || bytes == prefix.len();
        if bytes > seen || are_all {
            return Ok(Seen {
                bytes,
                are_all,
                has_ended,
            });
        }
        sleep(LOOK_AGAIN).await;
    }
}
