use std::{cell::Cell, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;

#[derive(Default)]
struct Counted {
    sent: Cell<u64>,
    received: Cell<u64>,
}

impl Count for Counted {
    fn sent(&self, bytes: u64) {
        self.sent.set(self.sent.get() + bytes);
    }
    fn received(&self, bytes: u64) {
        self.received.set(self.received.get() + bytes);
    }
}

/// Two ends of one connection.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener
        .local_addr()
        .expect("a bound socket has an address");
    let (connected, accepted) = tokio::join!(TcpStream::connect(addr), listener.accept());
    (
        connected.expect("it listens"),
        accepted.expect("one connects").0,
    )
}

/// A client and a server with a relay between them, whose outcome is awaited last.
async fn relayed<R>(talk: impl AsyncFnOnce(TcpStream, TcpStream) -> R) -> (R, Reason, Counted) {
    let (client, downstream) = pair().await;
    let (upstream, server) = pair().await;
    let counted = Counted::default();
    let (talked, reason) = tokio::join!(
        talk(client, server),
        relay(&downstream, &upstream, &counted)
    );
    (talked, reason, counted)
}

#[tokio::test]
async fn passes_the_end_of_one_direction_on_and_leaves_the_other_open() {
    let ((), reason, counted) = relayed(async |mut client, mut server| {
        client
            .write_all(b"question")
            .await
            .expect("the relay reads");
        client.shutdown().await.expect("the relay is there");
        let mut question = String::new();
        server
            .read_to_string(&mut question)
            .await
            .expect("the end is passed on");
        assert_eq!(question, "question");
        server
            .write_all(b"a late answer")
            .await
            .expect("the other way is open");
        drop(server);
        let mut answer = String::new();
        client
            .read_to_string(&mut answer)
            .await
            .expect("the end is passed on");
        assert_eq!(answer, "a late answer");
    })
    .await;
    assert_eq!(reason, Reason::Finished);
    assert_eq!((counted.sent.get(), counted.received.get()), (8, 13));
}

#[tokio::test]
async fn the_server_may_finish_first() {
    let ((), reason, _) = relayed(async |mut client, mut server| {
        server.shutdown().await.expect("the relay is there");
        let mut nothing = [0];
        assert_eq!(
            client
                .read(&mut nothing)
                .await
                .expect("the end is passed on"),
            0
        );
        client
            .write_all(b"still here")
            .await
            .expect("the other way is open");
        drop(client);
        let mut said = String::new();
        server
            .read_to_string(&mut said)
            .await
            .expect("the end is passed on");
        assert_eq!(said, "still here");
    })
    .await;
    assert_eq!(reason, Reason::Finished);
}

#[tokio::test]
async fn a_slow_reader_loses_nothing_and_is_waited_for() {
    const BYTES: usize = 32 * 1024 * 1024;
    let (read, reason, counted) = relayed(async |mut client, mut server| {
        let write = async move {
            let chunk: Vec<u8> = (0..=255).cycle().take(1024 * 1024).collect();
            for _ in 0..BYTES / chunk.len() {
                client.write_all(&chunk).await.expect("the relay reads");
            }
        };
        let read = async move {
            // Lets every buffer on the way fill up first.
            tokio::task::yield_now().await;
            let mut read = Vec::new();
            server
                .read_to_end(&mut read)
                .await
                .expect("the end is passed on");
            read
        };
        tokio::join!(write, read).1
    })
    .await;
    assert_eq!(reason, Reason::Finished);
    assert_eq!(read.len(), BYTES);
    assert!(
        read.chunks(256)
            .all(|chunk| chunk.iter().copied().eq(0..=255))
    );
    assert_eq!(counted.sent.get(), BYTES as u64);
}

#[tokio::test]
async fn holds_no_more_than_one_buffer_for_a_reader_that_does_not_read() {
    let (mut client, downstream) = pair().await;
    let (upstream, _server) = pair().await;
    let flood = tokio::spawn(async move {
        let chunk = vec![7; BUFFER_BYTES];
        while client.write_all(&chunk).await.is_ok() {}
    });
    let mut flow = Flow::default();
    // Until the server's receive buffer and the upstream's send buffer are full.
    let stuck = tokio::time::timeout(
        Duration::from_millis(500),
        poll_fn(|cx| flow.poll(cx, &downstream, &upstream, |_| {})),
    );
    assert!(stuck.await.is_err(), "nobody reads: it cannot be finished");
    assert!(!flow.rest.is_empty() && flow.rest.len() <= BUFFER_BYTES);
    flood.abort();
}

#[tokio::test]
async fn a_reset_by_the_client_ends_the_connection() {
    let ((), reason, _) = relayed(async |mut client, mut server| {
        client.write_all(b"x").await.expect("the relay reads");
        server.read_exact(&mut [0]).await.expect("it is passed on");
        crate::connect::reset(client);
    })
    .await;
    assert_eq!(reason, Reason::DownstreamReset);
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_request_reaches_the_client_whole() {
    const ANSWER: usize = 16 * 1024;
    let (answer, reason, _) = relayed(async |mut client, mut server| {
        let refuse = async move {
            server.read_exact(&mut [0]).await.expect("it is passed on");
            let answer = vec![b'n'; ANSWER];
            server.write_all(&answer).await.expect("the relay reads");
            // With unread input, which makes the kernel send a reset.
            drop(server);
        };
        let (mut read, mut write) = client.split();
        let upload = async {
            let chunk = vec![0; 64 * 1024];
            while write.write_all(&chunk).await.is_ok() {}
        };
        let download = async {
            let mut answer = vec![0; ANSWER];
            read.read_exact(&mut answer).await.map(|_| answer)
        };
        let both = async {
            tokio::select! {
                answer = download => answer,
                () = async { upload.await; std::future::pending().await } => unreachable!(),
            }
        };
        tokio::join!(refuse, both).1
    })
    .await;
    let answer = answer.expect("the answer comes through");
    assert!(answer.iter().all(|byte| *byte == b'n'));
    assert_eq!(reason, Reason::UpstreamReset);
}

#[tokio::test]
async fn a_reset_by_the_server_ends_the_connection() {
    let ((), reason, _) = relayed(async |mut client, mut server| {
        client.write_all(b"x").await.expect("the relay reads");
        server.read_exact(&mut [0]).await.expect("it is passed on");
        crate::connect::reset(server);
    })
    .await;
    assert_eq!(reason, Reason::UpstreamReset);
}
