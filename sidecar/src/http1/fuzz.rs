//! The way of requests through a session, without its sockets.

use super::{body::Body, buffer::Buffer, request};
use crate::fuzz::Seen;

/// Reads requests as they come, in pieces of this size, and passes them on as far as
/// they are understood. Returns those that are whole, and the bytes that went on.
pub(crate) fn pass_on(bytes: &[u8], piece: usize) -> (Vec<Seen>, Vec<u8>) {
    let (mut requests, mut out) = (Vec::new(), Vec::new());
    let mut buffer = Buffer::default();
    let mut current: Option<(Seen, Body, bool)> = None;
    for piece in bytes.chunks(piece) {
        buffer.put(piece);
        loop {
            if current.is_none() && !buffer.is_empty() {
                let Ok(parsed) = request::parse(buffer.bytes(), false, &mut out) else {
                    return (requests, out);
                };
                let Some(request) = parsed else { break };
                let method = method(&buffer.bytes()[..request.length]);
                buffer.consume(request.length);
                // What follows depends on the answer otherwise.
                let goes_on = request.keeps_alive && !request.upgrades && !request.is_connect;
                current = Some(((method, Vec::new()), request.body, goes_on));
            }
            let Some((seen, body, goes_on)) = &mut current else {
                break;
            };
            let before = *body;
            let Ok(taken) = body.take(buffer.bytes()) else {
                return (requests, out);
            };
            let bytes = &buffer.bytes()[..taken];
            out.extend_from_slice(bytes);
            seen.1.extend(data(before, bytes));
            buffer.consume(taken);
            if !body.is_over() {
                break;
            }
            let goes_on = *goes_on;
            requests.extend(current.take().map(|(seen, ..)| seen));
            if !goes_on {
                return (requests, out);
            }
        }
    }
    (requests, out)
}

fn method(head: &[u8]) -> String {
    let line = head.iter().skip_while(|byte| byte.is_ascii_whitespace());
    let method = line.take_while(|byte| **byte != b' ');
    method.map(|byte| char::from(*byte)).collect()
}

/// What is data among a body's bytes, one by one.
fn data(mut body: Body, bytes: &[u8]) -> Vec<u8> {
    let is_data = |byte: &&u8| {
        let is_data = body.is_in_data();
        let taken = body.take(&[**byte]);
        taken.is_ok() && is_data
    };
    bytes.iter().filter(is_data).copied().collect()
}

/// A head with a few bytes of it changed, missing or inserted.
#[cfg(test)]
pub(super) fn spoiled(head: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = head.to_vec();
    for _ in 0..random.usize(1..5) {
        let at = random.usize(..bytes.len());
        match random.u8(..3) {
            0 => bytes[at] = random.u8(..),
            1 => drop(bytes.remove(at)),
            _ => bytes.insert(at, *random.choice(b"\r\n: ,;\t0").expect("some")),
        }
    }
    bytes
}
