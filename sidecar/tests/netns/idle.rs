//! What connections cost that wait for a request, and what is left of it afterwards.
//!
//! `NETTING_IDLE_CONNECTIONS` says how many; a thousand, if it is not set.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Instant,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::harness::{LOOK_AGAIN, WAITED_FOR, namespace::dst, pod::Pod};

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

/// How many: as many as are asked for, or else as that many files may be open for, two for
/// each, here and in the sidecar, which is started after this.
fn count() -> u64 {
    let asked = std::env::var("NETTING_IDLE_CONNECTIONS").ok();
    let asked: Option<u64> = asked.map(|text| text.parse().expect("a number"));
    let count = asked.unwrap_or(1000);
    let needed = count * 2 + 2000;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("it can be asked");
    let more = setrlimit(Resource::RLIMIT_NOFILE, hard.max(needed), hard.max(needed));
    if more.is_ok() {
        return count;
    }
    let fewer = count.min(hard.saturating_sub(2000) / 2);
    assert!(
        asked.is_none() || fewer == count,
        "{count} connections need {needed} files and {hard} may be open: \
         raise the limit (ulimit -Hn), or ask for {fewer}"
    );
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("it may be raised so far");
    fewer
}

/// Waits until the sidecar's memory is as it should be.
fn wait_until(pod: &Pod, what: &str, is_so: impl Fn(u64) -> bool) {
    let begun = Instant::now();
    while !is_so(pod.resident_kb()) {
        let now = pod.resident_kb();
        assert!(begun.elapsed() < WAITED_FOR, "{what}: {now} kB");
        thread::sleep(LOOK_AGAIN);
    }
}

/// Waits until the sidecar has given back most of what it has taken since.
fn wait_until_given_back(pod: &Pod, before: u64, taken: u64) {
    let left = before + taken / 3;
    let what = format!("{before} kB, {taken} kB more, and not {left} kB again");
    wait_until(pod, &what, |now| now <= left);
    let kept = pod.resident_kb().saturating_sub(before);
    println!("{taken} kB were taken, {kept} kB kept");
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
    wait_until_given_back(pod, before, grown);
}

/// Answers one request after the other, each of which ends with its head. The sidecar asks
/// over few connections for all of its clients.
fn serve_on_and_on(listener: TcpListener) {
    thread::spawn(move || -> io::Result<()> {
        loop {
            let (mut stream, _) = listener.accept()?;
            thread::spawn(move || -> io::Result<()> {
                let mut said = BufReader::new(stream.try_clone()?);
                let mut line = String::new();
                while said.read_line(&mut line)? > 0 {
                    if line == "\r\n" {
                        stream.write_all(RESPONSE)?;
                    }
                    line.clear();
                }
                Ok(())
            });
        }
    });
}

#[test]
fn outbound_connections_that_wait_cost_little() {
    let count = count();
    let services = [(dst("192.0.2.10", 80), dst("10.0.0.1", 8080))];
    let pod = Pod::start(&services);
    serve_on_and_on(pod.peer_listen(services[0].1));
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

#[test]
fn what_busy_connections_hold_is_given_back_while_they_wait() {
    /// Nearly as much as a head may have.
    const HEAD_BYTES: usize = 60_000;
    let count = count() / 5;
    let services = [(dst("192.0.2.10", 80), dst("10.0.0.1", 8080))];
    let pod = Pod::start(&services);
    serve_on_and_on(pod.peer_listen(services[0].1));
    let connect = || TcpStream::connect(services[0].0);
    let mut clients = pod.run(|| open(count, HTTP1, connect));
    let before = pod.resident_kb();
    let begun = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(HEAD_BYTES));
    for client in &mut clients {
        client.write_all(begun.as_bytes()).expect("it is read");
    }
    let taken = count * HEAD_BYTES as u64 / 1024;
    let what = format!("{before} kB, and not {taken} kB more");
    wait_until(&pod, &what, |now| now >= before + taken);
    for client in &mut clients {
        client.write_all(b"\r\n\r\n").expect("it is read");
        let mut heard = vec![0; RESPONSE.len()];
        client.read_exact(&mut heard).expect("it is answered");
        assert_eq!(heard, RESPONSE);
    }
    wait_until_given_back(&pod, before, taken);
}
