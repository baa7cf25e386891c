use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::{
    Metrics,
    config::{Kind, Rehearsal, Signal, Telemetry},
    export::{
        http::{self, HttpClient, Protocol},
        net::{Alpn, Dialer},
    },
    snapshot::Data,
};

/// What the counters of a name say, by their last label.
fn counted(metrics: &Metrics, name: &str) -> Vec<(String, u64)> {
    let snapshot = metrics.snapshot();
    let metric = snapshot
        .metrics
        .iter()
        .find(|metric| metric.descriptor.name == name);
    match metric.map(|metric| &metric.data) {
        Some(Data::Counter(points)) => points
            .iter()
            .map(|point| (point.labels[0].value.to_string(), point.value))
            .collect(),
        _ => Vec::new(),
    }
}

struct Running {
    listener: TcpListener,
    metrics: Metrics,
    queue: Arc<Queue>,
    hurry: CancellationToken,
    sender: Sender,
}

async fn running() -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    let list = format!("remote-write=http://{addr}/write");
    let telemetry = Telemetry::parse(&list, &Rehearsal);
    let Kind::RemoteWrite(to) = telemetry.exporters[0].kind.clone() else {
        panic!("expected remote write");
    };
    let resolv_conf = Arc::new("/nowhere".into());
    let dialer = Dialer::new(&to, Alpn::Http1, resolv_conf).expect("no certificates");
    let metrics = Metrics::new("test", "0");
    let queue = Arc::new(Queue::new(100));
    let hurry = CancellationToken::new();
    let protocol = Protocol {
        headers: &[],
        passes: http::passes,
    };
    let timeout = Duration::from_secs(10);
    let client = HttpClient::new(to, dialer, timeout, &protocol);
    let sender = Sender {
        name: "remote-write".to_owned(),
        queue: Arc::clone(&queue),
        transport: Transport::Http {
            client: Box::new(client),
            rejected: |answer| answer.len() as u64,
        },
        counts: Counts::new(&metrics, "remote-write", Signal::Metrics),
        hurry: hurry.clone(),
        retry_for: RETRY_FOR,
        backoff: Backoff::default(),
    };
    Running {
        listener,
        metrics,
        queue,
        hurry,
        sender,
    }
}

fn batch(items: u64) -> Batch {
    Batch {
        body: Bytes::from_static(b"hello"),
        items,
    }
}

/// Takes one request and answers it.
async fn answer(listener: &TcpListener, answer: &str) {
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let mut read = Vec::new();
    while !read.ends_with(b"hello") {
        read.push(stream.read_u8().await.expect("the request goes on"));
    }
    let answer = format!("HTTP/1.1 {answer}\r\nconnection: close\r\n\r\n");
    stream
        .write_all(answer.as_bytes())
        .await
        .expect("the client is there");
}

#[tokio::test]
async fn what_is_refused_for_good_is_dropped_and_the_next_is_sent() {
    let running = running().await;
    assert_eq!(
        running.queue.push(batch(3)) + running.queue.push(batch(4)),
        0
    );
    running.queue.close();
    let serving = async {
        answer(&running.listener, "400 Bad").await;
        answer(&running.listener, "204 No Content").await;
    };
    tokio::join!(running.sender.run(), serving);
    assert_eq!(
        counted(&running.metrics, "netting.telemetry.dropped"),
        [("refused".to_owned(), 3)]
    );
    assert_eq!(
        counted(&running.metrics, "netting.telemetry.failed"),
        [("refused".to_owned(), 1)]
    );
    assert_eq!(
        running
            .metrics
            .snapshot()
            .metrics
            .iter()
            .filter(|m| m.descriptor.name == "netting.telemetry.sent")
            .count(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn what_may_succeed_later_is_sent_again_until_it_does() {
    let running = running().await;
    assert_eq!(running.queue.push(batch(3)), 0);
    running.queue.close();
    let serving = async {
        answer(&running.listener, "503 Later").await;
        answer(&running.listener, "429 Slow\r\nretry-after: 20").await;
        answer(&running.listener, "200 OK").await;
    };
    let counts = running.sender.counts.clone();
    tokio::join!(running.sender.run(), serving);
    assert_eq!(counts.items_sent(), 3);
    assert_eq!(
        counted(&running.metrics, "netting.telemetry.failed"),
        [("unavailable".to_owned(), 2)]
    );
    assert_eq!(counted(&running.metrics, "netting.telemetry.dropped"), []);
}

#[tokio::test(start_paused = true)]
async fn what_never_succeeds_is_given_up() {
    let running = running().await;
    drop(running.listener);
    assert_eq!(running.queue.push(batch(3)), 0);
    running.queue.close();
    let begun = Instant::now();
    running.sender.run().await;
    assert!(begun.elapsed() <= RETRY_FOR, "{:?}", begun.elapsed());
    assert_eq!(
        counted(&running.metrics, "netting.telemetry.dropped"),
        [("connect".to_owned(), 3)]
    );
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_process_is_not_waited_out() {
    let running = running().await;
    drop(running.listener);
    assert_eq!(
        running.queue.push(batch(3)) + running.queue.push(batch(4)),
        0
    );
    running.queue.close();
    running.hurry.cancel();
    let begun = Instant::now();
    running.sender.run().await;
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(
        counted(&running.metrics, "netting.telemetry.dropped"),
        [("shutdown".to_owned(), 7)]
    );
}
