//! Bad input: it ends its own stream at most, and says why.

use std::net::Ipv4Addr;

use tokio::{net::TcpSocket, time::timeout};

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

/// A pod that means no good.
const POD: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

#[tokio::test]
async fn who_takes_all_streams_keeps_nobody_out() {
    let limits = Limits {
        streams_max: 20,
        ..limits()
    };
    let server = Server::with(limits, true).await;
    let mut sidecar = server.welcomed().await;
    let mut taken = Vec::new();
    for _ in 0..19 {
        let opened = Client::open(server.endpoint_from(POD)).await;
        taken.push(opened.expect("there are some left"));
    }
    let refused = Client::open(server.endpoint_from(POD)).await.err();
    let refused = refused.expect("it has most of them");
    assert_eq!(refused.code(), Code::ResourceExhausted);

    let mut other = server.welcomed().await;
    let newest = taken.pop().expect("there are some").ended().await;
    let newest = newest.expect("it is told why");
    assert_eq!(newest.code(), Code::ResourceExhausted);
    server.assert_counted(r#"netting_catalog_streams_closed_total{reason="gave_way"} 1"#);
    for stream in [&mut sidecar, &mut other] {
        stream.subscribe(CART, &[]).await;
        assert!(matches!(stream.hear().await, Message::Unknown(_)));
    }
}

/// What each client of HTTP/2 begins with, and settings without a word.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

async fn begun(server: &Server, from: IpAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("there are sockets");
    let bound = socket.bind((from, 0).into());
    bound.expect("all of 127.0.0.0/8 is this host's");
    let mut stream = socket.connect(server.addr).await.expect("it listens");
    // Unless it has been told to go by now.
    let _ = stream.write_all(PREFACE).await;
    stream
}

#[tokio::test]
async fn connections_without_streams_keep_nobody_out() {
    let limits = Limits {
        streams_max: 20,
        ..limits()
    };
    let server = Server::with(limits, true).await;
    let mut sidecar = server.welcomed().await;
    let mut open = Vec::new();
    for _ in 0..20 + SPARE_CONNECTIONS {
        open.push(begun(&server, POD).await);
    }
    let welcomed = timeout(Duration::from_secs(5), server.welcomed()).await;
    let mut other = welcomed.expect("nobody is in the way");
    for stream in [&mut sidecar, &mut other] {
        stream.subscribe(CART, &[]).await;
        assert!(matches!(stream.hear().await, Message::Unknown(_)));
    }
}

/// Answers pings until the connection ends.
async fn answer_pings(mut client: TcpStream) {
    const PING: u8 = 6;
    const ACK: u8 = 1;
    let mut head = [0; 9];
    while client.read_exact(&mut head).await.is_ok() {
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut rest = vec![0; length];
        client
            .read_exact(&mut rest)
            .await
            .expect("frames are whole");
        if head[3] == PING && head[4] & ACK == 0 {
            head[4] |= ACK;
            let pong = [&head[..], &rest].concat();
            client.write_all(&pong).await.expect("it is open");
        }
    }
}

#[tokio::test]
async fn a_connection_without_a_stream_gives_its_place_back() {
    let server = Server::synced().await;
    let client = begun(&server, POD).await;
    tokio::time::pause();
    let ended = timeout(Duration::from_secs(60), answer_pings(client)).await;
    tokio::time::resume();
    ended.expect("it is of no use");
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
