//! Requests in more pieces than usual, or in fewer.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
};

use crate::{
    app::serve_http2,
    frames::{Reaction, get, reaction},
    harness::{PATIENCE, namespace::dst, pod::Pod},
    responses::{read_head, serve},
};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn connected(pod: &Pod) -> TcpStream {
    let stream = pod
        .peer_connect(dst("10.0.0.2", 8080))
        .expect("the sidecar accepts");
    stream
        .set_nodelay(true)
        .and_then(|()| stream.set_read_timeout(Some(PATIENCE)))
        .expect("a socket can be set so");
    stream
}

fn write_byte_by_byte(stream: &mut TcpStream, bytes: &[u8]) {
    for byte in bytes {
        stream.write_all(&[*byte]).expect("it is read");
    }
}

#[test]
fn requests_that_trickle_are_answered() {
    let pod = Pod::start(&[]);
    serve(pod.listen(dst("10.0.0.2", 8080)), OK);
    let mut stream = connected(&pod);
    for _ in 0..2 {
        write_byte_by_byte(&mut stream, b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = read_head(&mut stream).expect("it answers");
        assert!(head.is_some_and(|head| head.starts_with("HTTP/1.1 200 ")));
    }
}

#[test]
fn frames_that_trickle_are_answered() {
    let pod = Pod::start(&[]);
    serve_http2(pod.listen(dst("10.0.0.2", 8080)));
    let mut stream = connected(&pod);
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    hello.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    hello.extend(get(1).bytes());
    write_byte_by_byte(&mut stream, &hello);
    assert_eq!(reaction(&mut stream), Reaction::Answered { ok: true });
}

#[test]
fn requests_that_come_at_once_are_answered_in_order() {
    let pod = Pod::start(&[]);
    let listener = pod.listen(dst("10.0.0.2", 8080));
    // Each answer says which request it is for.
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            std::thread::spawn(move || {
                while let Ok(Some(head)) = read_head(&mut stream) {
                    let path = head.split(' ').nth(1).unwrap_or_default();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\nX-Path: {path}\r\nContent-Length: 1\r\n\r\n.");
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    let requests: String = (0..50)
        .map(|at| format!("GET /{at} HTTP/1.1\r\nHost: a\r\n\r\n"))
        .collect();
    let mut stream = connected(&pod);
    stream.write_all(requests.as_bytes()).expect("it is read");
    for at in 0..50 {
        let head = read_head(&mut stream).expect("it answers");
        let head = head.expect("the connection stays");
        assert!(head.contains(&format!("/{at}\r\n")), "{at}: {head}");
        stream.read_exact(&mut [0]).expect("it has a body");
    }
}

#[test]
fn more_headers_than_anybody_needs_are_told_so() {
    let pod = Pod::start(&[]);
    serve(pod.listen(dst("10.0.0.2", 8080)), OK);
    let lines = format!("X-Large: {}\r\n", "v".repeat(8000)).repeat(100);
    let mut stream = connected(&pod);
    // It may be refused before the last byte is sent.
    let _ = write!(stream, "GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let _ = stream.shutdown(Shutdown::Write);
    let head = read_head(&mut stream).expect("it answers");
    let head = head.expect("it answers");
    assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
    assert!(head.contains("proxy-status: netting; error="), "{head}");
}

#[test]
fn a_connection_that_ends_within_a_request_bothers_nobody() {
    let pod = Pod::start(&[]);
    serve(pod.listen(dst("10.0.0.2", 8080)), OK);
    for said in [
        "",
        "G",
        "GET / HT",
        "GET / HTTP/1.1\r\nHos",
        "PRI * HTTP/2.0\r\n\r\nSM",
    ] {
        let mut stream = connected(&pod);
        stream.write_all(said.as_bytes()).expect("it is read");
        stream.shutdown(Shutdown::Write).expect("it is open");
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let mut stream = connected(&pod);
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .expect("it is read");
    assert!(read_head(&mut stream).is_ok_and(|head| head.is_some()));
}
