//! Through both proxies, with real sockets: what the application and the client see
//! of each other.

use std::io;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::spawn_local,
    try_join,
};

use crate::{
    addr::{ClientAddr, OriginalDst},
    connect,
    proxy::chain::{Chain, HEAD_BYTES_MAX, know, listen},
    reason::Reason,
};

mod fuzz;
mod gone;
mod kept;
mod meanwhile;
mod policy;
mod replayed;
mod tunnel;

/// Reads as many bytes as are expected, and says which came.
async fn read(stream: &mut TcpStream, expected: &str) -> io::Result<String> {
    let mut bytes = vec![0; expected.len()];
    let mut filled = 0;
    while filled < bytes.len() {
        match stream.read(&mut bytes[filled..]).await? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(String::from_utf8_lossy(&bytes[..filled]).into_owned())
}

/// Reads to the end of the connection.
async fn rest(stream: &mut TcpStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn expect(stream: &mut TcpStream, expected: &str) {
    let came = read(stream, expected).await;
    assert_eq!(came.expect("the connection holds"), expected);
}

async fn say(stream: &mut TcpStream, text: &str) {
    let said = stream.write_all(text.as_bytes()).await;
    said.expect("the connection holds");
}

/// A client's connection and the application's, with both proxies between them.
/// The client has sent this, and the application has got it so.
async fn between(sent: &str, got: &str) -> (Chain, TcpStream, TcpStream) {
    let (app, addr) = listen().await;
    let chain = Chain::before(addr).await;
    let mut client = chain.connect().await;
    say(&mut client, sent).await;
    let mut app = accept(&app).await;
    expect(&mut app, got).await;
    (chain, client, app)
}

async fn accept(app: &TcpListener) -> TcpStream {
    app.accept().await.expect("a proxy connects").0
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test(flavor = "local")]
async fn what_leaves_doubt_is_refused_before_the_application_sees_it() {
    let (app, addr) = listen().await;
    let chain = Chain::before(addr).await;
    for request in [
        "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length : 5\r\n\r\nhello",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    ] {
        let mut client = chain.connect().await;
        say(&mut client, request).await;
        let answer = rest(&mut client).await.expect("it is answered");
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{request:?}: {answer}"
        );
        let status =
            "proxy-status: netting; error=http_request_error; details=\"request_malformed\"";
        assert!(answer.contains(status), "{answer}");
    }
    drop(chain);
    tokio::select! {
        biased;
        _ = app.accept() => panic!("the application was connected"),
        () = tokio::task::yield_now() => {}
    }
}

#[tokio::test(flavor = "local")]
async fn a_head_that_is_too_large_is_refused() {
    let (_app, addr) = listen().await;
    let chain = Chain::before(addr).await;
    let mut client = chain.connect().await;
    let cookie = "x".repeat(HEAD_BYTES_MAX);
    say(
        &mut client,
        &format!("GET / HTTP/1.1\r\nCookie: {cookie}\r\n\r\n"),
    )
    .await;
    let answer = rest(&mut client).await.expect("it is answered");
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test(flavor = "local")]
async fn messages_go_through_as_they_are() {
    for (request, response) in [
        (GET, OK),
        (
            "POST /a?b HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 201 Made\r\nX-y: Z\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n\
             3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n",
        ),
        (
            "PUT http://a/b HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\
             Connection: TE\r\n\r\n\
             5\r\nhello\r\n0\r\nChecksum: 1\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
        ),
        (
            "GET /caf\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n",
            "HTTP/1.1 404 caf\u{e9}\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",
        ),
        (
            "GET / HTTP/1.1\r\nIf-None-Match: \"x\"\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n",
        ),
        (
            "OPTIONS * HTTP/1.1\r\n\r\n",
            "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok",
        ),
        (
            "GET / HTTP/1.1\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        ),
    ] {
        let (_chain, mut client, mut app) = between(request, request).await;
        say(&mut app, response).await;
        expect(&mut client, response).await;
        // The same connections serve another request.
        if request.contains("1.1") {
            say(&mut client, GET).await;
            expect(&mut app, GET).await;
            say(&mut app, OK).await;
            expect(&mut client, OK).await;
        }
    }
}

#[tokio::test(flavor = "local")]
async fn a_target_in_latin_1_reaches_the_application_as_it_is() {
    let (app, addr) = listen().await;
    let chain = Chain::before(addr).await;
    let mut client = chain.connect().await;
    let request = b"GET /caf\xe9?\xff HTTP/1.1\r\nHost: a\r\n\r\n";
    let said = client.write_all(request).await;
    said.expect("the connection holds");
    let mut app = accept(&app).await;
    let mut heard = vec![0; request.len()];
    app.read_exact(&mut heard).await.expect("it is passed on");
    assert_eq!(heard, request);
    say(&mut app, OK).await;
    expect(&mut client, OK).await;
    say(&mut client, GET).await;
    expect(&mut app, GET).await;
}

#[tokio::test(flavor = "local")]
async fn a_body_without_a_length_ends_with_its_connection() {
    for request in [GET, "GET / HTTP/1.0\r\n\r\n"] {
        let (_chain, mut client, mut app) = between(request, request).await;
        say(&mut app, "HTTP/1.1 200 OK\r\n\r\nsome").await;
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nsome";
        expect(&mut client, head).await;
        say(&mut app, " more").await;
        drop(app);
        assert_eq!(rest(&mut client).await.expect("a clean end"), " more");
    }
}

#[tokio::test(flavor = "local")]
async fn a_response_that_breaks_off_does_not_look_complete() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let (chain, mut client, mut app) = between(GET, GET).await;
        say(&mut app, response).await;
        expect(&mut client, response).await;
        drop(app);
        // Its framing tells. A reset could overtake what is still on its way.
        assert_eq!(rest(&mut client).await.expect("an end"), "");
        let failed = chain.requests(&[r#"error_type="upstream_closed""#]);
        assert_eq!(failed, 1, "{}", chain.metrics.expose());
    }
    // Without a length, a reset is all that tells it from the end.
    let (_chain, mut client, mut app) = between(GET, GET).await;
    say(&mut app, "HTTP/1.1 200 OK\r\n\r\nhalf").await;
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf";
    expect(&mut client, head).await;
    connect::reset(app);
    let end = rest(&mut client).await.expect_err("it breaks off");
    assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test(flavor = "local")]
async fn pipelined_requests_are_answered_in_turn() {
    let (_chain, mut client, mut app) = between(&GET.repeat(3), GET).await;
    for _ in 0..2 {
        say(&mut app, OK).await;
        expect(&mut client, OK).await;
        expect(&mut app, GET).await;
    }
    say(&mut app, OK).await;
    expect(&mut client, OK).await;
}

#[tokio::test(flavor = "local")]
async fn a_body_waits_for_its_continue() {
    let head = "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let (_chain, mut client, mut app) = between(head, head).await;
    say(&mut app, "HTTP/1.1 100 Continue\r\n\r\n").await;
    expect(&mut client, "HTTP/1.1 100 Continue\r\n\r\n").await;
    say(&mut client, "hello").await;
    expect(&mut app, "hello").await;
    say(&mut app, OK).await;
    expect(&mut client, OK).await;
}

#[tokio::test(flavor = "local")]
async fn a_body_that_is_not_wanted_need_not_be_sent() {
    let head = "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let (_chain, mut client, mut app) = between(head, head).await;
    let refusal = "HTTP/1.1 417 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    say(&mut app, refusal).await;
    drop(app);
    expect(
        &mut client,
        "HTTP/1.1 417 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(rest(&mut client).await.expect("a clean end"), "");
}

#[tokio::test(flavor = "local")]
async fn a_request_and_its_response_can_overlap() {
    let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (_chain, mut client, mut app) = between(head, head).await;
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    say(&mut app, answer).await;
    expect(&mut client, answer).await;
    for _ in 0..3 {
        say(&mut client, "4\r\nping\r\n").await;
        expect(&mut app, "4\r\nping\r\n").await;
        say(&mut app, "4\r\npong\r\n").await;
        expect(&mut client, "4\r\npong\r\n").await;
    }
    say(&mut client, "0\r\n\r\n").await;
    expect(&mut app, "0\r\n\r\n").await;
    say(&mut app, "0\r\n\r\n").await;
    expect(&mut client, "0\r\n\r\n").await;
}

#[tokio::test(flavor = "local")]
async fn a_large_body_goes_through_both_ways() {
    let body = "0123456789abcdef".repeat(100_000);
    let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
    let (_chain, mut client, mut app) = between(&head, &head).await;
    let response = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let application = async {
        assert!(read(&mut app, &body).await? == body);
        app.write_all(response.as_bytes()).await?;
        Ok(app)
    };
    let asking = async {
        client.write_all(body.as_bytes()).await?;
        assert!(read(&mut client, &response).await? == response);
        Ok::<_, io::Error>(client)
    };
    try_join!(application, asking).expect("both connections hold");
}

#[tokio::test(flavor = "local")]
async fn http2_is_not_spoken_because_http1_asks_for_it() {
    for upgrade in ["h2c", "h2c\r\nUpgrade: websocket", "websocket, h2c"] {
        let ask = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n\
             Upgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
        );
        let (_chain, mut client, mut app) = between(&ask, GET).await;
        say(&mut app, OK).await;
        expect(&mut client, OK).await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_client_that_goes_away_is_noticed_by_the_application() {
    let (_chain, client, mut app) = between(GET, GET).await;
    drop(client);
    assert_eq!(rest(&mut app).await.expect("its end is passed on"), "");
    let (_chain, client, mut app) = between(GET, GET).await;
    connect::reset(client);
    assert!(rest(&mut app).await.is_err());
}

#[tokio::test(flavor = "local")]
async fn a_client_that_has_said_all_still_gets_its_answer() {
    let (_chain, mut client, mut app) = between(GET, GET).await;
    client.shutdown().await.expect("it is connected");
    assert_eq!(rest(&mut app).await.expect("its end is passed on"), "");
    say(&mut app, OK).await;
    expect(&mut client, OK).await;
    assert_eq!(rest(&mut client).await.expect("a clean end"), "");
}

#[tokio::test(flavor = "local")]
async fn an_application_that_is_not_there_is_a_bad_gateway() {
    let (app, addr) = listen().await;
    drop(app);
    let chain = Chain::before(addr).await;
    let mut client = chain.connect().await;
    for _ in 0..2 {
        say(&mut client, GET).await;
        let answer = "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/plain\r\n\
             content-length: 25\r\n\
             proxy-status: netting; error=connection_refused; details=\"connect_refused\"\r\n\
             \r\nnetting: connect_refused\n";
        expect(&mut client, answer).await;
    }
    // The client's own proxy only passed the answer on.
    let passed = chain.requests(&[
        r#"error_type="502""#,
        r#"http_request_method="GET""#,
        r#"http_response_status_code="502""#,
        r#"network_protocol_version="1.1""#,
        r#"server_port="80""#,
        r#"service_peer_name="reviews",service_peer_namespace="shop""#,
    ]);
    assert_eq!(passed, 2, "{}", chain.metrics.expose());
}

#[tokio::test(flavor = "local")]
async fn an_application_that_hangs_up_is_a_bad_gateway() {
    let post = "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi";
    let (_chain, mut client, app) = between(post, post).await;
    drop(app);
    let reason = Reason::UpstreamClosed;
    let answer = format!(
        "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/plain\r\n\
         content-length: 25\r\n\
         proxy-status: netting; error=connection_terminated; details=\"{reason}\"\r\n"
    );
    expect(&mut client, &answer).await;
}

#[tokio::test(flavor = "local")]
async fn a_response_that_is_none_is_a_bad_gateway() {
    for none in [
        "SSH-2.0-x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n",
    ] {
        let (_chain, mut client, mut app) = between(GET, GET).await;
        say(&mut app, none).await;
        let answer = "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/plain\r\n\
                      content-length: 28\r\nproxy-status: netting; \
                      error=http_protocol_error; details=\"response_malformed\"\r\n";
        expect(&mut client, answer).await;
    }
}

/// Answers all requests of all connections with this, and its own name.
async fn named(name: &'static str) -> std::net::SocketAddr {
    let (listener, addr) = listen().await;
    spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            spawn_local(async move {
                while read(&mut stream, GET).await.is_ok_and(|came| came == GET) {
                    let length = name.len();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{name}");
                    say(&mut stream, &answer).await;
                }
            });
        }
    });
    addr
}

async fn ask(client: &mut TcpStream) -> String {
    say(client, GET).await;
    let answer = read(client, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx").await;
    let answer = answer.expect("it is answered");
    answer.chars().last().map(String::from).unwrap_or_default()
}

#[tokio::test(flavor = "local")]
async fn each_request_chooses_its_endpoint_and_sees_the_newest_state() {
    let (a, b, c) = (named("a").await, named("b").await, named("c").await);
    let chain = Chain::before(a).await;
    let service = ([192, 0, 2, 10], 80).into();
    know(&chain.outbound.view, service, &[a, b]);
    let mut client = chain.connect().await;
    let mut answers = Vec::new();
    for _ in 0..40 {
        answers.push(ask(&mut client).await);
    }
    assert!(answers.contains(&"a".to_owned()) && answers.contains(&"b".to_owned()));
    know(&chain.outbound.view, service, &[c]);
    for _ in 0..5 {
        assert_eq!(ask(&mut client).await, "c");
    }
    // Connections stay: one to each.
    let connects = chain.count("netting_tcp_connect_duration_seconds_count", &[]);
    assert_eq!(connects, 3, "{}", chain.metrics.expose());
}

#[tokio::test(flavor = "local")]
async fn clients_that_close_after_each_request_share_an_upstream_connection() {
    let last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let (app, addr) = listen().await;
    let chain = Chain::before(addr).await;
    let mut app = {
        let mut client = chain.connect().await;
        say(&mut client, last).await;
        let mut app = accept(&app).await;
        expect(&mut app, GET).await;
        say(&mut app, OK).await;
        let answer = rest(&mut client).await.expect("a clean end");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        app
    };
    for _ in 0..3 {
        let mut client = chain.connect().await;
        say(&mut client, last).await;
        expect(&mut app, GET).await;
        say(&mut app, OK).await;
        assert!(
            rest(&mut client)
                .await
                .expect("a clean end")
                .ends_with("ok")
        );
    }
    let connects = chain.count("netting_tcp_connect_duration_seconds_count", &[]);
    assert_eq!(connects, 1, "{}", chain.metrics.expose());
}

#[tokio::test(flavor = "local")]
async fn a_request_that_may_have_been_processed_is_not_repeated() {
    let (app, addr) = listen().await;
    let chain = Chain::to(&[addr], Chain::before(addr).await.inbound).await;
    let mut client = chain.connect().await;
    say(&mut client, GET).await;
    let mut first = accept(&app).await;
    expect(&mut first, GET).await;
    say(&mut first, OK).await;
    expect(&mut client, OK).await;
    let post = "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
    say(&mut client, post).await;
    expect(&mut first, post).await;
    drop(first);
    let answer = read(&mut client, "HTTP/1.1 502").await;
    assert_eq!(answer.expect("it is answered"), "HTTP/1.1 502");
}

#[tokio::test(flavor = "local")]
async fn the_applications_end_of_an_idle_connection_is_the_clients() {
    let (_chain, mut client, mut app) = between(GET, GET).await;
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    say(&mut app, last).await;
    // The connection between the proxies ends with it; the client's own goes on.
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    expect(&mut client, answer).await;
    assert_eq!(rest(&mut app).await.expect("a clean end"), "");
}

#[tokio::test(flavor = "local")]
async fn draining_ends_connections_with_their_next_response() {
    let (chain, mut client, mut app) = between(GET, GET).await;
    chain.outbound.proxy.http1.waiters.drain();
    say(&mut app, OK).await;
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    expect(&mut client, last).await;
    assert_eq!(rest(&mut client).await.expect("a clean end"), "");
}

#[tokio::test(flavor = "local")]
async fn a_request_that_begins_slowly_is_a_request() {
    let (app, addr) = listen().await;
    let chain = Chain::before(addr).await;
    let mut client = chain.connect().await;
    let (early, late) = GET.split_at(5);
    say(&mut client, early).await;
    // Both proxies have given up waiting for more of it.
    let mut first = accept(&app).await;
    expect(&mut first, early).await;
    say(&mut client, late).await;
    expect(&mut first, late).await;
    say(&mut first, OK).await;
    expect(&mut client, OK).await;
    say(&mut client, GET).await;
    expect(&mut first, GET).await;
    let carried =
        r#"netting_tcp_connections_carried_total{direction="outbound",protocol="http1"} 1"#;
    assert!(chain.has(carried), "{:?}", chain.metrics.expose());
}

#[tokio::test(flavor = "local")]
async fn after_interim_responses_a_failure_is_still_answered() {
    let (_chain, mut client, mut app) = between(GET, GET).await;
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    for _ in 0..3 {
        say(&mut app, hint).await;
        expect(&mut client, hint).await;
    }
    drop(app);
    expect(&mut client, "HTTP/1.1 502 Bad Gateway\r\n").await;
}

#[tokio::test(flavor = "local")]
async fn a_response_that_just_fills_the_buffer_ends_no_connection() {
    let (chain, mut client, mut app) = between(GET, GET).await;
    for length in [16, 32, 64].map(|kibibytes| kibibytes * 1024) {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        say(&mut app, &head).await;
        expect(&mut client, &head).await;
        let body = "x".repeat(length);
        say(&mut app, &body).await;
        expect(&mut client, &body).await;
        say(&mut client, GET).await;
        expect(&mut app, GET).await;
    }
    let connects = chain.count("netting_tcp_connect_duration_seconds_count", &[]);
    assert_eq!(connects, 1, "{}", chain.metrics.expose());
}

#[tokio::test(flavor = "local")]
async fn a_request_that_has_begun_survives_the_applications_end() {
    let (app, addr) = listen().await;
    let chain = Chain::before(addr).await;
    let (listener, inbound) = listen().await;
    let mut client = TcpStream::connect(inbound).await.expect("it listens");
    let (stream, from) = listener.accept().await.expect("the client connects");
    spawn_local(async move {
        let (dst, from) = (OriginalDst(addr), ClientAddr(from));
        chain.inbound.connection(dst, stream, from).await;
    });
    say(&mut client, GET).await;
    let mut first = accept(&app).await;
    expect(&mut first, GET).await;
    say(&mut first, OK).await;
    expect(&mut client, OK).await;
    say(&mut client, "POST / HTTP/1.1\r\n").await;
    drop(first);
    tokio::task::yield_now().await;
    say(&mut client, "Content-Length: 2\r\n\r\nhi").await;
    let mut second = accept(&app).await;
    let post = "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi";
    expect(&mut second, post).await;
    say(&mut second, OK).await;
    expect(&mut client, OK).await;
}
