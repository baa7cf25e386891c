use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::exchange::{HttpConnection, read_body, request};
use super::target::{Host, HttpUrl};
use super::*;

const SOON: Duration = Duration::from_secs(5);

async fn listener() -> (TcpListener, Target) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a free port");
    let target = target_of(&listener);
    (listener, target)
}

fn target_of(listener: &TcpListener) -> Target {
    let addr = listener.local_addr().expect("it listens");
    Target {
        host: Host::Address(addr.ip()),
        port: addr.port(),
    }
}

async fn connection_error(target: &Target) -> Failure {
    connect(&Names::default(), target, deadline_in(SOON))
        .await
        .expect_err("nobody accepts")
}

/// What a request comes to when the server says `answer` to it, then closes.
async fn exchange_with(answer: &'static [u8]) -> Result<String, Failure> {
    let (listener, target) = listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        let mut request = [0; 4];
        stream.read_exact(&mut request).await?;
        stream.write_all(answer).await?;
        // Closing with unread bytes would reset the connection, and take the answer with it.
        stream.shutdown().await?;
        stream.read_to_end(&mut Vec::new()).await?;
        io::Result::Ok(())
    });
    let deadline = deadline_in(SOON);
    let stream = connect(&Names::default(), &target, deadline).await?;
    let mut connection = HttpConnection::new(stream).await?;
    let url: HttpUrl = "http://echo/".parse().expect("a good URL");
    let response = connection
        .send(request(hyper::Method::GET, &url)?, deadline)
        .await?;
    let mut body = Vec::new();
    read_body(response.into_body(), deadline, |data| {
        body.extend_from_slice(data)
    })
    .await?;
    Ok(String::from_utf8(body).expect("it's text"))
}

#[tokio::test]
async fn a_port_nobody_listens_on_is_a_connect_failure() {
    let (listener, target) = listener().await;
    drop(listener);
    let failure = connection_error(&target).await;
    assert_eq!(failure.kind, FailureKind::Connect);
    let expected = format!("connect to {target}: Connection refused");
    assert!(failure.reason.starts_with(&expected), "{failure}");
}

#[tokio::test]
async fn a_name_that_is_none_is_a_resolve_failure() {
    // Refused by its form (RFC 1035 section 2.3.4), so no name server is asked.
    let target = Target {
        host: Host::Name(format!("{}.demo", "x".repeat(64))),
        port: 80,
    };
    assert_eq!(connection_error(&target).await.kind, FailureKind::Resolve);
}

#[tokio::test]
async fn silence_is_a_timeout() {
    let (listener, target) = listener().await;
    let stream = connect(&Names::default(), &target, deadline_in(SOON))
        .await
        .expect("it listens");
    let mut connection = HttpConnection::new(stream).await.expect("it's open");
    let url: HttpUrl = "http://echo/".parse().expect("a good URL");
    let request = request(hyper::Method::GET, &url).expect("a good request");
    let failure = connection
        .send(request, deadline_in(Duration::from_millis(20)))
        .await
        .expect_err("nobody answers");
    assert_eq!(failure, Failure::timeout("waiting for the answer"));
    drop(listener);
}

#[tokio::test]
async fn a_connection_that_ends_early_is_a_reset() {
    for answer in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
    ] {
        let failure = exchange_with(answer).await.expect_err("it ended early");
        assert_eq!(failure.kind, FailureKind::Reset, "{failure}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_a_protocol_failure() {
    let failure = exchange_with(b"220 smtp-0 ready\r\n\r\n")
        .await
        .expect_err("it isn't HTTP");
    assert_eq!(failure.kind, FailureKind::Protocol, "{failure}");
}

#[tokio::test]
async fn a_whole_answer_is_read_to_its_end() {
    let body = exchange_with(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
    assert_eq!(body, Ok("hello".to_owned()));
}

#[tokio::test]
async fn ipv6_literals_connect() {
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0))
        .await
        .expect("the loopback interface has ::1");
    let target = target_of(&listener);
    assert!(target.to_string().starts_with("[::1]:"), "{target}");
    connect(&Names::default(), &target, deadline_in(SOON))
        .await
        .expect("it listens");
}

#[tokio::test]
async fn localhost_is_tried_by_each_of_its_addresses() {
    // Only ::1 listens, and 127.0.0.1 comes first.
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0))
        .await
        .expect("the loopback interface has ::1");
    let target = Target {
        host: Host::Name("localhost".to_owned()),
        port: target_of(&listener).port,
    };
    let names = Names::default();
    let addresses = names
        .addresses(&target, deadline_in(SOON))
        .await
        .expect("localhost resolves");
    assert!(
        addresses.first().is_some_and(SocketAddr::is_ipv4),
        "{addresses:?}"
    );
    connect(&names, &target, deadline_in(SOON))
        .await
        .expect("the second address listens");
}
