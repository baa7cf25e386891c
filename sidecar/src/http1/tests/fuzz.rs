//! Bounded runs of what cargo-fuzz runs for as long as it is let.

use std::{cell::RefCell, convert::Infallible, rc::Rc};

use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, Response, body::Bytes, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;

use super::*;
use crate::{fuzz, http1::fuzz::pass_on};

const SEEDS: [&str; 7] = [
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "PUT /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
     5\r\nGET /\r\n1;x=\"y\"\r\n \r\n0\r\nGrpc-Status: 0\r\n\r\n",
    "POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\nConnection: x-a, Content-Length\r\n\
     X-A: b\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a",
    "HEAD /d HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a:80\r\nTE: trailers\r\nExpect: 100-continue\r\n\r\n",
    "GET /\u{e9} HTTP/1.1\r\nTE: gzip, trailers\r\nConnection: TE\r\n\r\n",
];
/// What makes readers disagree.
const EVIL: [&str; 17] = [
    "\r",
    "\n",
    "\r\n",
    "\r\n\r\n",
    " ",
    "\t",
    "\0",
    ",",
    ":",
    ";",
    "0",
    "+",
    "\"",
    "chunked",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "\r\n0\r\n\r\n",
];

/// Requests in a row, with something wrong about them.
fn mutated(random: &mut fastrand::Rng) -> Vec<u8> {
    let count = random.usize(1..4);
    let seeds = (0..count).map(|_| SEEDS[random.usize(..SEEDS.len())]);
    let mut bytes: Vec<u8> = seeds.flat_map(str::bytes).collect();
    for _ in 0..random.usize(..5) {
        let at = random.usize(..bytes.len());
        match random.u8(..4) {
            0 => bytes[at] = random.u8(..),
            1 if bytes.len() > 1 => drop(bytes.remove(at)),
            2 => drop(bytes.splice(at..at, EVIL[random.usize(..EVIL.len())].bytes())),
            _ => bytes.truncate(at.max(1)),
        }
    }
    bytes
}

#[test]
fn an_application_sees_no_request_that_was_not_passed_on_as_one() {
    let mut random = fastrand::Rng::with_seed(9112);
    for _ in 0..4000 {
        let bytes = mutated(&mut random);
        fuzz::http1(&bytes, random.usize(1..64));
    }
}

#[test]
fn what_is_decided_of_a_connection_stays_so() {
    let mut random = fastrand::Rng::with_seed(8446);
    for _ in 0..2000 {
        fuzz::detection(&mutated(&mut random));
    }
}

/// An application of another make, which keeps the methods of the requests that it saw
/// to their ends.
async fn recorder() -> (Chain, Rc<RefCell<Vec<String>>>) {
    let (listener, addr) = listen().await;
    let seen = Rc::new(RefCell::new(Vec::new()));
    let recording = Rc::clone(&seen);
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = Rc::clone(&recording);
            let service = service_fn(move |request: Request<Incoming>| {
                let seen = Rc::clone(&seen);
                async move {
                    let method = request.method().to_string();
                    if request.into_body().collect().await.is_ok() {
                        seen.borrow_mut().push(method);
                    }
                    Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
                }
            });
            let server = hyper::server::conn::http1::Builder::new();
            spawn_local(server.serve_connection(TokioIo::new(stream), service));
        }
    });
    (Chain::before(addr).await, seen)
}

#[tokio::test(flavor = "local")]
async fn nothing_is_smuggled_through_both_proxies() {
    let mut random = fastrand::Rng::with_seed(6585);
    let (chain, seen) = recorder().await;
    for _ in 0..200 {
        // It begins as HTTP does; what does not is none of a proxy's business.
        let mut bytes = [GET.as_bytes(), &mutated(&mut random)].concat();
        // The application refuses targets that are no text, and no more than those.
        bytes.iter_mut().for_each(|byte| *byte &= 0x7f);
        let (mut expected, _) = pass_on(&bytes, bytes.len());
        let mut client = chain.connect().await;
        let (mut reading, mut writing) = client.split();
        let write = async {
            let piece = random.usize(1..200);
            for piece in bytes.chunks(piece) {
                let _ = writing.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            let _ = writing.shutdown().await;
        };
        let mut answers = Vec::new();
        let (_, _) = tokio::join!(write, reading.read_to_end(&mut answers));
        let seen: Vec<_> = seen.take();
        expected.truncate(seen.len());
        let expected: Vec<_> = expected.into_iter().map(|(method, _)| method).collect();
        assert_eq!(seen, expected, "{:?}", String::from_utf8_lossy(&bytes));
        assert!(answers.starts_with(b"HTTP/1.1 200 OK"), "the first is good");
    }
}
