//! Frames that cost who sends them little and who reads them much: they are cut
//! short, and nobody else notices.

use std::{
    io::{self, Write as _},
    net::TcpStream,
};

use crate::{
    app::serve_http2,
    frames::{
        CONTINUATION, DATA, Frame, HEADERS, PING, RST_STREAM, Reaction, WINDOW_UPDATE, connect,
        field, frame, get, post, reaction, request,
    },
    harness::{PATIENCE, namespace::dst, pod::Pod},
};

/// A peak, as a process may have that does not keep what it is flooded with.
const RESIDENT_KB_MAX: u64 = 100 << 10;

fn pod() -> Pod {
    let pod = Pod::start(&[]);
    serve_http2(pod.listen(dst("10.0.0.2", 8080)));
    pod
}

/// Sends until it is cut off, and returns whether it was.
fn is_cut_off(stream: &mut TcpStream, frames: impl Iterator<Item = Vec<Frame>>) -> bool {
    // What comes back has to be read: a peer that cannot say a word is stuck, and one
    // that closes with something unread resets.
    let mut reading = stream.try_clone().expect("a socket can be cloned");
    let reader = std::thread::spawn(move || io::copy(&mut reading, &mut io::sink()));
    for some in frames {
        let bytes: Vec<u8> = some.iter().flat_map(Frame::bytes).collect();
        if stream.write_all(&bytes).is_err() {
            return true;
        }
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = reader.join();
    false
}

/// Others are served, and the sidecar has not grown.
fn is_unharmed(pod: &Pod) {
    let mut other = connect(pod);
    other.write_all(&get(1).bytes()).expect("it is read");
    assert_eq!(reaction(&mut other), Reaction::Answered { ok: true });
    let resident = pod.resident_kb();
    assert!(resident < RESIDENT_KB_MAX, "{resident} kB");
}

#[test]
fn streams_that_are_opened_and_reset_at_once_are_bounded() {
    let pod = pod();
    let mut stream = connect(&pod);
    let resets = (0..200_000).map(|at| {
        let number = 2 * at + 1;
        vec![get(number), frame(RST_STREAM, 0, number, [0, 0, 0, 8])]
    });
    assert!(is_cut_off(&mut stream, resets), "200,000 resets were fine");
    is_unharmed(&pod);
}

#[test]
fn streams_that_make_the_sidecar_reset_them_are_bounded() {
    let pod = pod();
    let mut stream = connect(&pod);
    let most = (u32::MAX >> 1).to_be_bytes();
    let resets = (0..200_000).map(|at| {
        let number = 2 * at + 1;
        vec![post(number), frame(WINDOW_UPDATE, 0, number, most)]
    });
    assert!(is_cut_off(&mut stream, resets), "200,000 were reset");
    is_unharmed(&pod);
}

#[test]
fn data_that_is_none_is_bounded() {
    let pod = pod();
    let mut stream = connect(&pod);
    let begin = vec![post(1)];
    let more = (0..20_000).map(|_| vec![frame(DATA, 0, 1, []); 10]);
    let flood = std::iter::once(begin).chain(more);
    assert!(is_cut_off(&mut stream, flood), "200,000 were fine");
    is_unharmed(&pod);
}

#[test]
fn a_header_block_without_an_end_is_bounded() {
    let pod = pod();
    for filler in [field("x-filler", &"f".repeat(16_000)), Vec::new()] {
        let mut stream = connect(&pod);
        let begin = vec![frame(HEADERS, 0, 1, request("GET", &[]))];
        let more = (0..100_000).map(|_| vec![frame(CONTINUATION, 0, 1, filler.clone())]);
        let flood = std::iter::once(begin).chain(more);
        let size = filler.len();
        assert!(is_cut_off(&mut stream, flood), "100,000 times {size} bytes");
    }
    is_unharmed(&pod);
}

#[test]
fn answers_that_are_not_read_are_not_piled_up() {
    let pod = pod();
    let mut stream = connect(&pod);
    stream
        .set_write_timeout(Some(PATIENCE / 10))
        .expect("a socket can be set so");
    let pings = frame(PING, 0, 0, [0; 8]).bytes().repeat(1000);
    // 170 MB, were they all taken.
    let taken = (0..10_000).position(|_| stream.write_all(&pings).is_err());
    assert!(taken.is_some(), "all of them were taken");
    is_unharmed(&pod);
}
