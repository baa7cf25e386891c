//! What connections cost that wait for a request.
//!
//! `NETTING_IDLE_CONNECTIONS` says how many; a thousand, if it is not set.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::harness::{namespace::dst, pod::Pod};

/// Beyond what the kernel takes.
const HTTP1_BYTES_MAX: u64 = 4096;
/// The same for HTTP/2 in the server's pod, which has two such connections for each.
const HTTP2_BYTES_MAX: u64 = 48 * 1024;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What is sent, and what the answer ends with.
const HTTP1: (&[u8], &[u8]) = (REQUEST, RESPONSE);
/// The preface, SETTINGS, and HEADERS of `GET http://a/`; a response that is nothing
/// but `:status: 200` (RFC 7541, appendix A).
const HTTP2: (&[u8], &[u8]) = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\
      \0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a",
    b"\0\0\x01\x01\x05\0\0\0\x01\x88",
);

/// Answers one request after the other on all connections, on one thread each until
/// their first answer; then they stay open.
fn serve(listener: TcpListener) {
    thread::spawn(move || -> io::Result<()> {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept() {
            let mut request = vec![0; REQUEST.len()];
            stream.read_exact(&mut request)?;
            stream.write_all(RESPONSE)?;
            open.push(stream);
        }
        Ok(())
    });
}

/// Opens so many connections, each of which is answered once and stays.
fn open(
    count: u64,
    (request, response): (&[u8], &[u8]),
    connect: impl Fn() -> io::Result<TcpStream>,
) -> Vec<TcpStream> {
    let one = |_| {
        let mut stream = connect().expect("the sidecar accepts");
        stream.write_all(request).expect("it reads");
        let mut heard = Vec::new();
        while !heard.ends_with(response) {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("it is answered");
            heard.push(byte[0]);
        }
        stream
    };
    (0..count).map(one).collect()
}

/// How many, as far as that many files may be open: two for each, here and in the
/// sidecar, which is started after this.
fn count() -> u64 {
    let count = std::env::var("NETTING_IDLE_CONNECTIONS");
    let count = count.map_or(1000, |text| text.parse().expect("a number"));
    let needed = count * 2 + 2000;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("it can be asked");
    let more = setrlimit(Resource::RLIMIT_NOFILE, hard.max(needed), hard.max(needed));
    if more.is_ok() {
        return count;
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("it may be raised so far");
    count.min(hard.saturating_sub(2000) / 2)
}

/// Beside what the first few cost, which is once for all.
fn assert_cheap(
    pod: &Pod,
    (what, count, most): (&str, u64, u64),
    open: impl Fn(u64) -> Vec<TcpStream>,
) {
    let first = open(100);
    let before = pod.resident_kb();
    let held = open(count);
    let grown = pod.resident_kb().saturating_sub(before);
    let each = grown * 1024 / count;
    println!("{what}: {each} bytes for each of {count} connections");
    drop((first, held));
    assert!(each <= most, "{each} bytes for each connection");
}

#[test]
fn outbound_connections_that_wait_cost_little() {
    let count = count();
    let services = [(dst("192.0.2.10", 80), dst("10.0.0.1", 8080))];
    let pod = Pod::start(&services);
    let listener = pod.peer_listen(services[0].1);
    // The sidecar asks over one connection for all of them.
    thread::spawn(move || -> io::Result<()> {
        loop {
            let (mut stream, _) = listener.accept()?;
            thread::spawn(move || -> io::Result<()> {
                let mut request = vec![0; REQUEST.len()];
                loop {
                    stream.read_exact(&mut request)?;
                    stream.write_all(RESPONSE)?;
                }
            });
        }
    });
    assert_cheap(&pod, ("outbound", count, HTTP1_BYTES_MAX), |count| {
        pod.run(|| open(count, HTTP1, || TcpStream::connect(services[0].0)))
    });
}

#[test]
fn inbound_connections_that_wait_cost_little() {
    let count = count();
    let pod = Pod::start(&[]);
    let addr: SocketAddr = dst("10.0.0.2", 8080);
    serve(pod.listen(addr));
    assert_cheap(&pod, ("inbound", count, HTTP1_BYTES_MAX), |count| {
        pod.peer_run(|| open(count, HTTP1, || TcpStream::connect(addr)))
    });
}

/// Answers requests of HTTP/2 with 200 and nothing more.
fn serve_http2(listener: TcpListener) {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be built");
        runtime.block_on(async move {
            let set = listener.set_nonblocking(true);
            set.expect("a socket can be set so");
            let listener = tokio::net::TcpListener::from_std(listener).expect("it is a listener");
            while let Ok((stream, _)) = listener.accept().await {
                let set = stream.set_nodelay(true);
                set.expect("a socket can be set so");
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.expect("it speaks");
                    while let Some(Ok((_, mut respond))) = connection.accept().await {
                        let _ = respond.send_response(http::Response::new(()), true);
                    }
                });
            }
        });
    });
}

#[test]
fn inbound_connections_of_http2_that_wait_cost_what_two_of_the_library_do() {
    let count = count() / 5;
    let pod = Pod::start(&[]);
    let addr: SocketAddr = dst("10.0.0.2", 8080);
    serve_http2(pod.listen(addr));
    assert_cheap(&pod, ("inbound HTTP/2", count, HTTP2_BYTES_MAX), |count| {
        pod.peer_run(|| open(count, HTTP2, || TcpStream::connect(addr)))
    });
}
