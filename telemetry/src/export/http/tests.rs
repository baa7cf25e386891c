use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::config::{Authority, Url};

/// A backend that says what the test makes it say.
struct Backend {
    listener: TcpListener,
    client: HttpClient,
}

async fn backend(gzip: bool) -> Backend {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    let authority = Authority {
        host: addr.ip().to_string(),
        port: addr.port(),
    };
    let mut headers = HeaderMap::new();
    headers.insert("x-tenant", HeaderValue::from_static("shop"));
    let to = Http {
        url: Url {
            tls: false,
            authority: authority.clone(),
            path: "/v1/metrics?a=b".parse().expect("a path"),
        },
        headers,
        ca: None,
        client: None,
        gzip,
    };
    let dialer = Dialer {
        authority,
        resolv_conf: Arc::new("/nowhere".into()),
        tls: None,
    };
    let protocol = Protocol {
        headers: &[("content-type", "application/x-protobuf")],
        passes,
    };
    let client = HttpClient::new(to, dialer, Duration::from_millis(500), &protocol);
    Backend { listener, client }
}

/// Reads a request with a body of five bytes.
async fn request(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"hello") {
        let byte = stream.read_u8().await.expect("the request goes on");
        read.push(byte);
    }
    String::from_utf8(read).expect("it is text")
}

impl Backend {
    /// Posts `hello` to a backend that answers with these bytes.
    async fn answers(&mut self, answer: &'static [u8]) -> Result<Answer, Failure> {
        let accepting = async {
            let (mut stream, _) = self.listener.accept().await.expect("a connection");
            let _ = request(&mut stream).await;
            // It may be cut short.
            let _ = stream.write_all(answer).await;
            stream
        };
        let posting = self.client.post(Bytes::from_static(b"hello"));
        let (outcome, _stream) = tokio::join!(posting, accepting);
        outcome
    }
}

#[tokio::test]
async fn a_protocol_says_what_is_not_sent_again() {
    let mut backend = backend(false).await;
    backend.client.passes = |status| status == StatusCode::SERVICE_UNAVAILABLE;
    let error = b"HTTP/1.1 500 Bug\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n";
    let failure = backend.answers(error).await.expect_err("it is refused");
    assert_eq!(
        (failure.reason, failure.retry),
        (Reason::Unavailable, Retry::Never)
    );
    backend.client.kept = None;
    let busy = b"HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n";
    let failure = backend.answers(busy).await.expect_err("it is refused");
    assert_eq!(failure.retry, Retry::After(Duration::from_secs(7)));
}

#[tokio::test]
async fn failures_say_whether_to_try_again() {
    for (answer, reason, retry) in [
        (
            &b"HTTP/1.1 400 Bad\r\ncontent-length: 3\r\n\r\nno\n"[..],
            Reason::Refused,
            Retry::Never,
        ),
        (
            b"HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n",
            Reason::Refused,
            Retry::Never,
        ),
        (
            b"HTTP/1.1 301 Go\r\nlocation: /\r\ncontent-length: 0\r\n\r\n",
            Reason::Refused,
            Retry::Never,
        ),
        (
            b"HTTP/1.1 503 Later\r\ncontent-length: 0\r\n\r\n",
            Reason::Unavailable,
            Retry::Later,
        ),
        (
            b"HTTP/1.1 429 Slow\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n",
            Reason::Unavailable,
            Retry::After(Duration::from_secs(7)),
        ),
        (b"220 mail.example ESMTP\r\n", Reason::Broken, Retry::Later),
    ] {
        let failure = backend(false)
            .await
            .answers(answer)
            .await
            .expect_err("it failed");
        assert_eq!(
            (failure.reason, failure.retry),
            (reason, retry),
            "{failure:?}"
        );
    }
}

#[tokio::test]
async fn a_backend_that_says_nothing_is_not_waited_for() {
    let failure = backend(false)
        .await
        .answers(b"HTTP/1.1 200")
        .await
        .expect_err("no answer");
    assert_eq!(
        (failure.reason, failure.retry),
        (Reason::Timeout, Retry::Later)
    );
}

#[tokio::test]
async fn a_head_without_end_is_not_read_to_its_end() {
    let mut backend = backend(false).await;
    let (client, listener) = (&mut backend.client, &backend.listener);
    let flooding = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let _ = request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        let line = b"x-flood: 0123456789abcdef0123456789abcdef\r\n".repeat(1000);
        while stream.write_all(&line).await.is_ok() {}
    };
    let (outcome, ()) = tokio::join!(client.post(Bytes::from_static(b"hello")), flooding);
    assert_eq!(outcome.expect_err("no answer").reason, Reason::Broken);
}

#[tokio::test]
async fn a_body_without_end_is_taken_for_what_its_status_says() {
    let mut backend = backend(false).await;
    let (client, listener) = (&mut backend.client, &backend.listener);
    let flooding = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let _ = request(&mut stream).await;
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n";
        let _ = stream.write_all(head).await;
        let mut written = 0_usize;
        while stream.write_all(&[b'x'; 64 * 1024]).await.is_ok() {
            written += 64 * 1024;
        }
        written
    };
    let (outcome, written) = tokio::join!(client.post(Bytes::from_static(b"hello")), flooding);
    assert_eq!(outcome, Ok(Bytes::new()));
    assert!(
        written < 50_000_000,
        "the kernel's buffers are full long before: {written}"
    );
}

#[tokio::test]
async fn one_connection_does_for_many_requests() {
    let mut backend = backend(false).await;
    let (client, listener) = (&mut backend.client, &backend.listener);
    let serving = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        for _ in 0..3 {
            let request = request(&mut stream).await;
            assert!(
                request.starts_with("POST /v1/metrics?a=b HTTP/1.1\r\n"),
                "{request}"
            );
            assert!(request.contains("\r\nx-tenant: shop\r\n"), "{request}");
            assert!(request.contains("\r\ncontent-length: 5\r\n"), "{request}");
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            stream.write_all(answer).await.expect("the client is there");
        }
    };
    let posting = async {
        for _ in 0..3 {
            let answer = client.post(Bytes::from_static(b"hello")).await;
            assert_eq!(answer, Ok(Bytes::from_static(b"ok")));
        }
    };
    tokio::join!(posting, serving);
}

#[tokio::test]
async fn bodies_are_compressed_where_that_is_asked_for() {
    use std::io::Read as _;

    let backend = backend(true).await;
    let request = backend.client.request(Bytes::from_static(b"hello"));
    assert_eq!(request.headers()["content-encoding"], "gzip");
    let body = request
        .into_body()
        .collect()
        .await
        .expect("it is there")
        .to_bytes();
    let mut text = String::new();
    let read = flate2::read::GzDecoder::new(&*body).read_to_string(&mut text);
    assert_eq!((read.expect("it is gzip"), text.as_str()), (5, "hello"));
}
