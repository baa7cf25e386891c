//! Peers that vanish without a word.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    thread,
    time::Instant,
};

use http_body_util::Empty;
use hyper::{Request, Response, body::Bytes, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::oneshot, time::timeout};

use netting_proto::v1;
use netting_sidecar::vanished::has_vanished;

use crate::harness::{
    LOOK_AGAIN, PATIENCE,
    catalog::{self, Known},
    namespace::{Namespace, dst},
    pod::{Pod, joined},
};

/// Soon enough for a test, and far sooner than TCP.
const ENVIRONMENT: [(&str, &str); 2] = [
    ("NETTING_HTTP2_PING_INTERVAL", "300ms"),
    ("NETTING_HTTP2_PING_TIMEOUT", "300ms"),
];

/// Takes requests, says so, and never answers.
fn serve(listener: TcpListener, taken: oneshot::Sender<()>) {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be built");
        runtime.block_on(async move {
            let set = listener.set_nonblocking(true);
            set.expect("a socket can be set so");
            let listener = tokio::net::TcpListener::from_std(listener).expect("it is a listener");
            let (stream, _) = listener.accept().await.expect("the sidecar connects");
            let mut connection = h2::server::handshake(stream).await.expect("it speaks");
            let _request = connection.accept().await;
            let _ = taken.send(());
            // Its connection is served on: signs of life are answered.
            while connection.accept().await.is_some() {}
        });
    });
}

async fn ask(service: SocketAddr) -> Response<hyper::body::Incoming> {
    let stream = TcpStream::connect(service).await;
    let stream = TokioIo::new(stream.expect("the sidecar accepts"));
    let handshake = http2::handshake(TokioExecutor::new(), stream).await;
    let (mut sender, connection) = handshake.expect("the sidecar speaks it");
    tokio::spawn(connection);
    // The service asks for others to be tried again.
    let request = Request::post("http://app.test/").body(Empty::<Bytes>::new());
    let answer = sender.send_request(request.expect("a good request"));
    let answer = timeout(PATIENCE, answer).await;
    answer.expect("it is in time").expect("it is answered")
}

#[test]
fn a_request_over_http2_does_not_wait_for_an_upstream_that_has_vanished() {
    let (service, endpoint) = (dst("192.0.2.10", 80), dst("10.0.0.1", 8080));
    let resets = v1::RetryOn {
        reset: true,
        ..Default::default()
    };
    let known = Known {
        endpoints: [(service, endpoint)].into(),
        // Others are not asked as often.
        meshed: true,
        policy: v1::ServicePolicy {
            retry_on: Some(resets),
            ..Default::default()
        },
        ..Known::default()
    };
    let pod = Pod::start_with(&ENVIRONMENT, |listener| catalog::serve(listener, known));
    let (taken, is_taken) = oneshot::channel();
    serve(pod.peer_listen(endpoint), taken);
    let answer = thread::scope(|scope| {
        let client = scope.spawn(|| {
            pod.run(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime can be built");
                runtime.block_on(ask(service))
            })
        });
        let taken = is_taken.blocking_recv();
        taken.expect("the request gets there");
        pod.peer_vanishes();
        client.join().expect("it does not panic")
    });
    assert_eq!(answer.status(), 504);
    let said = "netting; error=connection_read_timeout; details=\"upstream_silent\"";
    assert_eq!(answer.headers()["proxy-status"], said);
}

/// So often something is sent again within a second or two.
const RETRIES: u8 = 3;

/// Both ends of a connection.
fn connected(near: &Namespace, far: &Namespace, port: u16) -> [std::net::TcpStream; 2] {
    let addr = dst("10.0.0.1", port);
    let listener = far.listen(addr);
    let stream = near.run(|| std::net::TcpStream::connect(addr));
    let stream = stream.expect("it listens");
    stream
        .set_nonblocking(true)
        .expect("a socket can be set so");
    let (accepted, _) = listener.accept().expect("it is connected");
    [stream, accepted]
}

#[test]
fn a_peer_that_reads_nothing_is_told_from_one_that_is_gone() {
    let (near, far) = joined();
    let [mut full, _unread] = connected(&near, &far, 8081);
    let [mut gone, _lost] = connected(&near, &far, 8082);
    let filled = loop {
        if let Err(error) = full.write(&[7; 4096]) {
            break error;
        }
    };
    assert_eq!(filled.kind(), io::ErrorKind::WouldBlock);
    // Long enough that the kernel asks whether there is room by now, more than once.
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE / 3 {
        assert!(!has_vanished(&full, 1), "it is there");
        thread::sleep(LOOK_AGAIN);
    }
    far.vanishes();
    gone.write_all(b"hello").expect("the kernel takes it");
    assert!(!has_vanished(&gone, RETRIES), "not yet");
    let begun = Instant::now();
    while !has_vanished(&gone, RETRIES) {
        assert!(begun.elapsed() < PATIENCE, "nobody notices");
        thread::sleep(LOOK_AGAIN);
    }
}

/// Says something to a peer that vanishes before it is heard; what comes back.
fn say_to_nobody(first: &str, answer: &str, last: &str) -> (Pod, io::Result<String>) {
    let (service, endpoint) = (dst("192.0.2.10", 80), dst("10.0.0.1", 8080));
    let known = Known {
        endpoints: [(service, endpoint)].into(),
        ..Known::default()
    };
    let environment = [("NETTING_TCP_RETRIES", "3")];
    let pod = Pod::start_with(&environment, |listener| catalog::serve(listener, known));
    let listener = pod.peer_listen(endpoint);
    let mut client = pod.connect(service).expect("the sidecar accepts");
    client.write_all(first.as_bytes()).expect("it is read");
    let (mut app, _) = listener.accept().expect("the sidecar connects");
    app.read_exact(&mut vec![0; first.len()])
        .expect("it is passed on");
    app.write_all(answer.as_bytes()).expect("it is read");
    let patient = client.set_read_timeout(Some(PATIENCE));
    patient.expect("a socket can be set so");
    client
        .read_exact(&mut vec![0; answer.len()])
        .expect("it is passed on");
    pod.peer_vanishes();
    client.write_all(last.as_bytes()).expect("it is read");
    let mut rest = String::new();
    let read = client.read_to_string(&mut rest);
    (pod, read.map(|_| rest))
}

const CLOSED: &str = "netting_tcp_connections_closed_total";

#[test]
fn a_request_over_http1_does_not_wait_for_an_upstream_that_has_vanished() {
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let last = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let (_pod, answer) = say_to_nobody(get, ok, last);
    let answer = answer.expect("it is answered");
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert!(answer.contains("details=\"upstream_silent\""), "{answer}");
}

#[test]
fn a_relayed_connection_does_not_wait_for_an_upstream_that_has_vanished() {
    let (pod, end) = say_to_nobody("\x00\x01hello", "\x00\x01hi", "more");
    let end = end.expect_err("it does not look complete");
    assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
    let metrics = pod.admin("/metrics");
    let mut closed = metrics.lines().filter(|line| line.starts_with(CLOSED));
    let is_told = closed.any(|line| line.contains("upstream_silent"));
    assert!(is_told, "{metrics}");
}
