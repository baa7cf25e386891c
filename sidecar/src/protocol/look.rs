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

/// Waits for an upstream to say something, or something more.
pub(super) async fn hears(upstream: &TcpStream) -> Heard {
    let mut begin = [0; FRAME_HEAD_BYTES];
    let Ok(ready) = upstream.ready(Interest::READABLE).await else {
        return Heard::Break;
    };
    match upstream.peek(&mut begin).await {
        Err(_) => Heard::Break,
        Ok(0) => Heard::End,
        Ok(_) if is_settings(begin) && ready.is_read_closed() => Heard::End,
        Ok(_) if is_settings(begin) => {
            await_more(upstream);
            Heard::Settings
        }
        // HTTP servers tell clients that say nothing so (408). That is no habit.
        Ok(_) => Heard::Words {
            are_a_habit: !begin.starts_with(b"HTTP/"),
        },
    }
}

/// The head of a frame is so long (RFC 9113 section 4.1).
const FRAME_HEAD_BYTES: usize = 9;

/// Whether a frame of settings begins so (RFC 9113 section 6.5), of which there are six
/// bytes each. No greeting of another protocol that is in use does.
pub(super) fn is_settings(head: [u8; FRAME_HEAD_BYTES]) -> bool {
    const SETTINGS: u8 = 4;
    let [l1, l2, l3, kind, flags, stream @ ..] = head;
    let length = u32::from_be_bytes([0, l1, l2, l3]);
    length.is_multiple_of(6) && (kind, flags, stream) == (SETTINGS, 0, [0; 4])
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
