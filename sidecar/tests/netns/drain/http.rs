//! How HTTP ends when the sidecar is told to.

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use crate::harness::{PATIENCE, namespace::dst, pod::Pod};

#[allow(dead_code, reason = "a part of it is used here")]
#[path = "../../wire/frames.rs"]
mod frames;

use frames::{ACK, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, SETTINGS, frame, get};

/// What the sidecar is started with here.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// The same with what the sidecar adds to it.
const LAST_OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
const UPGRADE: &str =
    "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
const UPGRADED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

/// The client's connection, and the application's.
struct Ends {
    client: TcpStream,
    app: TcpStream,
}

/// A connection over which the application has been sent a request.
fn http1(pod: &Pod, listener: &TcpListener, request: &str) -> Ends {
    let client = pod.peer_connect(dst("10.0.0.2", 8080));
    let mut client = patient(client.expect("the sidecar accepts"));
    say(&mut client, request.as_bytes());
    let (app, _) = listener.accept().expect("the sidecar connects");
    let mut app = patient(app);
    hear(&mut app, request);
    Ends { client, app }
}

/// The same over HTTP/2. The client has waited for the settings, as many libraries do.
fn http2(pod: &Pod, listener: &TcpListener) -> Ends {
    let mut client = frames::connect(pod);
    until(&mut client, SETTINGS);
    say(&mut client, &get(1).bytes());
    let (app, _) = listener.accept().expect("the sidecar connects");
    let mut app = patient(app);
    hear(&mut app, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    say(&mut app, &frame(SETTINGS, 0, 0, []).bytes());
    until(&mut app, HEADERS);
    Ends { client, app }
}

fn patient(stream: TcpStream) -> TcpStream {
    let patience = DRAIN_TIMEOUT + PATIENCE;
    let set = stream.set_read_timeout(Some(patience));
    set.expect("a socket can be set so");
    stream
}

fn say(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).expect("the connection stays");
}

fn hear(stream: &mut TcpStream, text: &str) {
    let mut heard = vec![0; text.len()];
    stream.read_exact(&mut heard).expect("the connection stays");
    assert_eq!(String::from_utf8_lossy(&heard), text);
}

/// The next frame of this kind.
fn until(stream: &mut TcpStream, kind: u8) -> Frame {
    loop {
        let frame = Frame::read(stream).expect("the connection stays");
        if frame.kind == kind {
            return frame;
        }
    }
}

impl Ends {
    /// The application answers; that is the last that the client hears over HTTP/1.
    fn answers_for_the_last_time(mut self) {
        say(&mut self.app, OK.as_bytes());
        hear(&mut self.client, LAST_OK);
        assert_eq!(self.client.read(&mut [0]).expect("a clean end"), 0);
    }

    /// The same over HTTP/2. Returns the kinds of what the client hears until the end.
    fn answers_the_stream(mut self) -> Vec<u8> {
        const STATUS_200: u8 = 0x88;
        let ok = frame(HEADERS, END_HEADERS | END_STREAM, 1, [STATUS_200]);
        say(&mut self.app, &ok.bytes());
        let mut kinds = Vec::new();
        loop {
            match Frame::read(&mut self.client) {
                Ok(Frame {
                    kind: PING,
                    flags,
                    payload,
                    ..
                }) if flags != ACK => {
                    say(&mut self.client, &frame(PING, ACK, 0, payload).bytes());
                }
                Ok(frame) if frame.kind == HEADERS => {
                    assert!(frame.payload.contains(&STATUS_200), "{frame:?}");
                    kinds.push(HEADERS);
                }
                Ok(frame) => kinds.push(frame.kind),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                    return kinds;
                }
            }
        }
    }

    /// Both sides say something.
    fn talk(&mut self) {
        say(&mut self.client, b"ping");
        hear(&mut self.app, "ping");
        say(&mut self.app, b"pong");
        hear(&mut self.client, "pong");
    }
}

#[test]
fn requests_finish_new_ones_are_served_and_what_never_ends_is_cut() {
    let mut pod = Pod::start(&[]);
    let listener = pod.listen(dst("10.0.0.2", 8080));
    let request = http1(&pod, &listener, GET);
    let mut stream = http2(&pod, &listener);
    let mut upgraded = http1(&pod, &listener, UPGRADE);
    say(&mut upgraded.app, UPGRADED.as_bytes());
    hear(&mut upgraded.client, UPGRADED);
    upgraded.talk();

    let told = Instant::now();
    pod.terminate();
    pod.wait_for("/ready", "not ready: not draining");
    // This client may still ask for what it had not heard of when it did.
    let goaway = until(&mut stream.client, GOAWAY);
    assert_eq!(goaway.error_code(), 0);
    http1(&pod, &listener, GET).answers_for_the_last_time();
    let late = http2(&pod, &listener).answers_the_stream();
    assert!(
        late.contains(&HEADERS) && late.contains(&GOAWAY),
        "{late:?}"
    );

    request.answers_for_the_last_time();
    let heard = stream.answers_the_stream();
    assert!(heard.contains(&HEADERS), "{heard:?}");
    upgraded.talk();
    for end in [&mut upgraded.client, &mut upgraded.app] {
        let cut = end.read(&mut [0]).expect_err("it is cut");
        assert_eq!(cut.kind(), io::ErrorKind::ConnectionReset);
    }
    assert!(told.elapsed() >= DRAIN_TIMEOUT, "it was cut too early");
    assert_eq!(pod.exit_code(), Some(0));
}
