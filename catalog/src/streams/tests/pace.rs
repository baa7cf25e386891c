//! Slow readers, silence, and the end.

use super::*;
use crate::objects::Slice;

async fn with_heartbeats_every(heartbeat_interval: Duration) -> Server {
    let limits = Limits {
        heartbeat_interval,
        ..limits()
    };
    Server::with(limits, true).await
}

fn parsed(object: &Value) -> Slice {
    match Object::parse(object) {
        Object::Slice(parsed) => parsed.object.expect("a good slice"),
        other => panic!("no slice: {other:?}"),
    }
}

/// A connection that takes in little more than one message before it is read.
fn narrow(endpoint: Endpoint) -> Endpoint {
    endpoint
        .initial_stream_window_size(256)
        .initial_connection_window_size(64 * 1024)
}

#[tokio::test]
async fn a_slow_reader_gets_the_newest_state_and_holds_up_nobody() {
    const CHANGES: usize = 10_000;
    let server = Server::synced().await;
    server.apply(&cart());
    let slice = parsed(&behind(&pods(20, 0)));
    server
        .publisher
        .update(SystemTime::now(), |index| index.apply_slice(slice.clone()));
    let endpoint = narrow(server.endpoint());
    let mut slow = Client::open(endpoint).await.expect("it is accepted");
    slow.say(Kind::Hello(v1::Hello::default())).await;
    assert!(matches!(slow.hear().await, Message::Welcome(_)));
    slow.subscribe(CART, &[]).await;
    let mut quick = server.welcomed().await;
    quick.subscribe(CART, &[]).await;
    let mut last = quick.snapshot().await.hash;

    for change in 0..CHANGES {
        let mut slice = slice.clone();
        slice.group.members[7].node = format!("node-{change}").into();
        server
            .publisher
            .update(SystemTime::now(), |index| index.apply_slice(slice));
        if change % 100 == 99 {
            // The quick one is up to date before there is more.
            let delta = quick.delta().await;
            assert_eq!(delta.base_hash, last);
            last = delta.hash;
        }
    }

    let mut messages = 0;
    let mut held = Vec::new();
    while held != last {
        held = match slow.hear().await {
            Message::Snapshot(snapshot) => snapshot.hash,
            Message::Delta(delta) => {
                assert_eq!(delta.base_hash, held, "a delta is for what was sent last");
                delta.hash
            }
            other => panic!("neither snapshot nor delta: {other:?}"),
        };
        messages += 1;
    }
    // The snapshot, what waited in front of the transport since, and the newest.
    assert!(messages <= 6, "{messages} messages of {CHANGES} changes");
}

#[tokio::test]
async fn a_change_is_with_the_sidecar_within_milliseconds() {
    let server = Server::synced().await;
    server.apply(&cart());
    let mut client = server.welcomed().await;
    client.subscribe(CART, &[]).await;
    client.snapshot().await;
    let mut took = Vec::new();
    for count in 1..=50 {
        let begun = std::time::Instant::now();
        server.apply(&behind(&pods(count, 0)));
        client.hear().await;
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    // Far above what it takes, so that a busy machine fails no test; far below
    // what any timer or polling would need.
    assert!(took[25] < Duration::from_millis(100), "{took:?}");
}

#[tokio::test]
async fn each_side_hears_the_other_in_every_interval() {
    let server = with_heartbeats_every(Duration::from_secs(2)).await;
    let mut client = server.open().await;
    client.say(Kind::Hello(v1::Hello::default())).await;
    let Message::Welcome(welcome) = client.hear().await else {
        panic!("Welcome is first");
    };
    assert_eq!(welcome.heartbeat_interval_ms, 2000);
    for sequence in 1..=2 {
        let unasked = v1::Heartbeat { sequence: 0 };
        assert_eq!(client.hear().await, Message::Heartbeat(unasked));
        client.beat(sequence).await;
        let answer = v1::Heartbeat { sequence };
        assert_eq!(client.hear().await, Message::Heartbeat(answer));
    }
}

#[tokio::test]
async fn a_silent_sidecar_is_told_and_left() {
    let server = with_heartbeats_every(Duration::from_millis(300)).await;
    let mut client = server.welcomed().await;
    client.subscribe(CART, &[]).await;
    let status = client.ended().await.expect("it is told why");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("heartbeat"), "{status}");
    server.assert_counted(r#"netting_catalog_streams_closed_total{reason="silent"} 1"#);
    server.assert_nothing_followed().await;
}

#[tokio::test]
async fn answers_wait_until_everything_was_listed() {
    let server = Server::with(limits(), false).await;
    let mut client = server.welcomed().await;
    client.subscribe(CART, &[]).await;
    client.beat(1).await;
    assert!(matches!(client.hear().await, Message::Heartbeat(_)));
    server.apply(&cart());
    server.publisher.set_synced();
    assert_eq!(client.snapshot().await.address, Some(addr(CART).into()));
}

#[tokio::test]
async fn a_replica_that_cannot_list_the_cluster_sends_its_sidecars_away() {
    let server = Server::with(limits(), false).await;
    let mut client = server.welcomed().await;
    client.subscribe(CART, &[]).await;
    client.beat(1).await;
    assert!(matches!(client.hear().await, Message::Heartbeat(_)));
    // From here on nothing but timers is left, and time runs to the next of them.
    tokio::time::pause();
    let status = client.ended().await.expect("it is told why");
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("another"), "{status}");
}

#[tokio::test]
async fn a_drain_ends_streams_with_a_reason_and_takes_no_new_ones() {
    let server = Server::synced().await;
    let mut client = server.welcomed().await;
    client.subscribe(CART, &[]).await;
    assert!(matches!(client.hear().await, Message::Unknown(_)));
    let timeout = Duration::from_secs(30);
    let drained = server.drain.run(timeout, std::future::pending());
    let ended = async {
        let status = client.ended().await.expect("it is told why");
        // The connection goes with its last stream.
        drop(client);
        status
    };
    let (status, drained) = tokio::join!(ended, drained);
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("shutting down"), "{status}");
    assert_eq!(drained, netting_runtime::Drained::Complete);
    let refused = TcpStream::connect(server.addr).await;
    assert!(refused.is_err(), "it listens no more");
}

#[tokio::test]
async fn a_sidecar_that_leaves_leaves_nothing_behind() {
    let server = Server::synced().await;
    let mut client = server.welcomed().await;
    client.subscribe(CART, &[]).await;
    client.hear().await;
    drop(client);
    server.assert_nothing_followed().await;
    server.assert_counted("netting_catalog_streams 0\n");
    server.assert_counted("netting_catalog_subscriptions 0\n");
}
