//! Bad input: it ends its own stream at most, and says why.

use super::*;

async fn refused(server: &Server, requests: Vec<Kind>) -> Status {
    let mut client = server.open().await;
    for request in requests {
        client.say(request).await;
    }
    client.ended().await.expect("it is told why")
}

#[tokio::test]
async fn a_stream_that_does_not_begin_with_hello_is_refused() {
    let server = Server::synced().await;
    let mut bystander = server.welcomed().await;
    let heartbeat = Kind::Heartbeat(v1::Heartbeat { sequence: 1 });
    let status = refused(&server, vec![heartbeat]).await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("Hello"), "{status}");
    bystander.subscribe(CART, &[]).await;
    assert!(matches!(bystander.hear().await, Message::Unknown(_)));
    server.assert_counted(r#"netting_catalog_streams_closed_total{reason="no_hello"} 1"#);
}

#[tokio::test]
async fn a_second_hello_is_refused() {
    let server = Server::synced().await;
    let hello = || Kind::Hello(v1::Hello::default());
    let status = refused(&server, vec![hello(), hello()]).await;
    assert_eq!(status.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_request_that_is_too_long_is_refused_with_the_limit() {
    let server = Server::synced().await;
    let hello = v1::Hello {
        pod: "x".repeat(REQUEST_BYTES_MAX + 1),
        ..v1::Hello::default()
    };
    let status = refused(&server, vec![Kind::Hello(hello)]).await;
    assert_eq!(status.code(), Code::OutOfRange);
    assert!(status.message().contains("limit"), "{status}");
    server.assert_counted(r#"netting_catalog_streams_closed_total{reason="oversized_request"} 1"#);
}

#[tokio::test]
async fn a_name_that_is_none_is_cut_where_a_character_ends() {
    let server = Server::synced().await;
    let mut client = server.open().await;
    let hello = v1::Hello {
        pod: "ä".repeat(100_000),
        namespace: "x\n".repeat(100_000),
        ..v1::Hello::default()
    };
    client.say(Kind::Hello(hello)).await;
    assert!(matches!(client.hear().await, Message::Welcome(_)));
}

#[tokio::test]
async fn garbage_in_one_subscription_is_counted_and_the_rest_answered() {
    let server = Server::synced().await;
    server.apply(&cart());
    let mut client = server.welcomed().await;
    let garbage = v1::Subscription {
        address: Some(v1::Address {
            ip: vec![1, 2, 3],
            port: 99_999,
        }),
        known_hash: Vec::new(),
    };
    let good = v1::Subscription {
        address: Some(addr(CART).into()),
        known_hash: Vec::new(),
    };
    let subscriptions = vec![garbage, good];
    client
        .say(Kind::Subscribe(v1::Subscribe { subscriptions }))
        .await;
    assert_eq!(client.snapshot().await.address, Some(addr(CART).into()));
    server.assert_counted(r#"netting_catalog_ignored_requests_total{reason="bad_address"} 1"#);
}

#[tokio::test]
async fn a_stream_too_many_is_refused_until_another_ends() {
    let limits = Limits {
        streams_max: 1,
        ..limits()
    };
    let server = Server::with(limits, true).await;
    let first = server.welcomed().await;
    let refused = Client::open(server.endpoint()).await.err();
    let refused = refused.expect("there is one place");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    drop(first);
    while Client::open(server.endpoint()).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn bytes_that_are_no_http2_end_their_own_connection_only() {
    let server = Server::synced().await;
    let mut bystander = server.welcomed().await;
    let mut garbled = TcpStream::connect(server.addr).await.expect("it listens");
    let request = b"GET / HTTP/1.1\r\nhost: catalog\r\n\r\n";
    garbled.write_all(request).await.expect("it is read");
    let mut answer = Vec::new();
    // It may be told GOAWAY, or reset; either way it ends.
    let _ = garbled.read_to_end(&mut answer).await;
    bystander.subscribe(CART, &[]).await;
    assert!(matches!(bystander.hear().await, Message::Unknown(_)));
}

#[tokio::test]
async fn a_client_that_connects_and_says_nothing_gives_its_place_back() {
    let server = Server::synced().await;
    for begun in [&b""[..], b"PRI * HT"] {
        let mut silent = TcpStream::connect(server.addr).await.expect("it listens");
        silent.write_all(begun).await.expect("it is read");
        let mut greeting = [0; 1];
        // The server's settings: it has accepted, and waits for ours.
        silent.read_exact(&mut greeting).await.expect("it greets");
        tokio::time::pause();
        let mut answer = Vec::new();
        let _ = silent.read_to_end(&mut answer).await;
        tokio::time::resume();
    }
}

#[tokio::test]
async fn a_stream_without_a_word_is_ended() {
    let limits = Limits {
        heartbeat_interval: Duration::from_millis(20),
        ..limits()
    };
    let server = Server::with(limits, true).await;
    let status = refused(&server, vec![]).await;
    assert_eq!(status.code(), Code::DeadlineExceeded);
}
