//! Requests whose bodies are stuck on their way: what is left of them is no request, nor
//! is it lost.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
};

use netting_proto::v1;
use socket2::SockRef;

use crate::{
    harness::{
        PATIENCE,
        catalog::{self, Known},
        namespace::dst,
        pod::Pod,
    },
    responses::read_head,
    smuggling::SMUGGLED,
};

/// How long the sidecar waits for an answer. Few of so many requests at once are late for
/// more than that.
const TIMEOUT_MS: u64 = 2000;
/// Less than the sidecar holds of a body, so that one of the bodies ends in its hands,
/// whatever fits into the sockets.
const STEP_BYTES: usize = 8 * 1024;
/// As much does not fit into sockets that have never been emptied.
const BODY_BYTES_MAX: usize = 512 * 1024;

/// Reads one head on each connection, and nothing else, nor says anything.
fn serve(listener: TcpListener) -> thread::JoinHandle<Vec<String>> {
    let small = SockRef::from(&listener).set_recv_buffer_size(4096);
    small.expect("a socket can be set so");
    thread::spawn(move || {
        let (mut held, mut heads) = (Vec::new(), Vec::new());
        while let Ok((mut stream, _)) = listener.accept() {
            match read_head(&mut stream) {
                Ok(Some(head)) if head.starts_with("GET /enough ") => break,
                Ok(head) => heads.extend(head),
                Err(_) => {}
            }
            held.push(stream);
        }
        heads
    })
}

/// Sends a request with a body of so many bytes, and returns all that comes back.
fn post(mut stream: TcpStream, bytes: usize) -> String {
    stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
        .expect("a socket can be set so");
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n");
    let mut body = SMUGGLED.repeat(bytes / SMUGGLED.len() + 1);
    body.truncate(bytes);
    // It may be answered before all of it is sent.
    let _ = stream.write_all((head + &body).as_bytes());
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn the_rest_of_a_body_that_nobody_takes_is_no_request() {
    let (service, endpoint) = (dst("192.0.2.10", 80), dst("10.0.0.1", 8080));
    let known = Known {
        endpoints: [(service, endpoint)].into(),
        policy: v1::ServicePolicy {
            timeout_ms: Some(TIMEOUT_MS),
            eject_after: Some(0),
            ..Default::default()
        },
        ..Known::default()
    };
    let pod = Pod::start_with_catalog(|listener| catalog::serve(listener, known));
    let app = serve(pod.peer_listen(endpoint));
    let sizes = (1..=BODY_BYTES_MAX / STEP_BYTES).map(|steps| steps * STEP_BYTES);
    let asked: Vec<_> = sizes
        .map(|bytes| {
            let stream = pod.connect(service).expect("the sidecar accepts");
            (bytes, thread::spawn(move || post(stream, bytes)))
        })
        .collect();
    let mut sent = 0;
    for (bytes, asked) in asked {
        let answer = asked.join().expect("it does not panic");
        assert!(
            answer.starts_with("HTTP/1.1 504 "),
            "{bytes} bytes: {answer}"
        );
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        // Others may not have been connected in time.
        sent += usize::from(answer.contains("details=\"response_timeout\""));
    }
    let mut last = pod.connect(service).expect("the sidecar accepts");
    let enough = last.write_all(b"GET /enough HTTP/1.1\r\nHost: a\r\n\r\n");
    enough.expect("it is read");
    let heads = app.join().expect("it does not panic");
    let smuggled = heads.iter().filter(|head| !head.starts_with("POST "));
    assert_eq!(smuggled.count(), 0, "{heads:?}");
    assert!(sent > 0, "some got as far");
    assert_eq!(heads.len(), sent);
}

#[test]
fn what_is_held_of_a_request_comes_before_what_follows_it() {
    /// Nearly as much as is kept of a request, and more than fits into the sockets.
    const BODY_BYTES: usize = 60_000;
    let (service, endpoint) = (dst("192.0.2.10", 80), dst("10.0.0.1", 8080));
    let pod = Pod::start(&[(service, endpoint)]);
    let listener = pod.peer_listen(endpoint);
    let small = SockRef::from(&listener).set_recv_buffer_size(4096);
    small.expect("a socket can be set so");
    let mut client = pod.connect(service).expect("the sidecar accepts");
    client
        .set_read_timeout(Some(PATIENCE))
        .expect("a socket can be set so");
    let asks = "Upgrade: x\r\nConnection: Upgrade\r\n";
    write!(
        client,
        "POST / HTTP/1.1\r\nHost: a\r\n{asks}Content-Length: {BODY_BYTES}\r\n\r\n{}",
        "b".repeat(BODY_BYTES)
    )
    .expect("it is read");
    let (mut app, _) = listener.accept().expect("the sidecar connects");
    app.set_read_timeout(Some(PATIENCE))
        .expect("a socket can be set so");
    read_head(&mut app).expect("it is asked");
    // It agrees before it has read the rest.
    write!(app, "HTTP/1.1 101 Yes\r\n{asks}\r\n").expect("it is read");
    let head = read_head(&mut client).expect("it is answered");
    assert!(head.is_some_and(|head| head.starts_with("HTTP/1.1 101 ")));
    client.write_all(b"after").expect("it is read");
    client.shutdown(Shutdown::Write).expect("it is open");
    let mut heard = Vec::new();
    app.read_to_end(&mut heard).expect("it ends");
    let (body, after) = heard.split_at(heard.len().min(BODY_BYTES));
    let bytes = body.iter().filter(|byte| **byte == b'b').count();
    assert_eq!((bytes, after), (BODY_BYTES, &b"after"[..]));
}
