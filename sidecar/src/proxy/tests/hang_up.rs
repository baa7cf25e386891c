//! Endpoints that accept connections and are of no use.

use std::time::Duration;

use netting_proto::v1;

use super::{
    chain::{Chain, listen},
    *,
};

/// What no protocol that is looked into begins with.
const BINARY: &str = "\x00\x01binary";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// An endpoint that treats each of its connections so.
async fn endpoint(treat: impl AsyncFn(TcpStream) + Copy + 'static) -> SocketAddr {
    let (listener, addr) = listen().await;
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            spawn_local(async move { treat(stream).await });
        }
    });
    addr
}

async fn read_some(stream: &mut TcpStream) -> usize {
    let mut bytes = [0; 1024];
    stream.read(&mut bytes).await.unwrap_or(0)
}

async fn answers(mut stream: TcpStream) {
    if read_some(&mut stream).await > 0 {
        let _ = stream.write_all(OK.as_bytes()).await;
    }
}

async fn hangs_up_when_asked(mut stream: TcpStream) {
    read_some(&mut stream).await;
}

async fn breaks_off(stream: TcpStream) {
    connect::reset(stream);
}

/// Takes all, and says nothing.
async fn swallows(mut stream: TcpStream) {
    while read_some(&mut stream).await > 0 {}
}

async fn before(endpoints: &[SocketAddr]) -> Chain {
    Chain::to_service(endpoints, v1::ServicePolicy::default(), None).await
}

/// Says this after a moment, over a connection of its own, and reads to its end.
async fn ask(chain: &Chain, hesitates: Duration, text: &str) -> String {
    let mut client = chain.connect().await;
    tokio::time::sleep(hesitates).await;
    let _ = client.write_all(text.as_bytes()).await;
    answer(client).await.unwrap_or_default()
}

fn ejections(chain: &Chain) -> u64 {
    let reason = [r#"reason="failures_in_a_row""#];
    chain.count("netting_endpoint_ejections_total", &reason)
}

/// Asks until an endpoint is ejected, and tells how often there was no answer before.
async fn failures(chain: &Chain, hesitates: Duration, text: &str) -> usize {
    let mut failures = 0;
    for _ in 0..200 {
        let asked = tokio::time::timeout(LATER * 2, ask(chain, hesitates, text));
        failures += usize::from(asked.await.as_deref() != Ok(OK));
        if ejections(chain) > 0 {
            return failures;
        }
    }
    panic!("none is ejected: {}", chain.metrics.expose());
}

const AT_ONCE: Duration = Duration::ZERO;
/// Longer than a client is given to speak first.
const LATER: Duration = Duration::from_millis(30);
/// By default.
const EJECTED_AFTER: usize = 5;

#[tokio::test(flavor = "local")]
async fn an_endpoint_that_hangs_up_instead_of_answering_is_ejected() {
    for (hesitates, text) in [(AT_ONCE, BINARY), (LATER, BINARY), (AT_ONCE, GET)] {
        let endpoints = [endpoint(hangs_up_when_asked).await, endpoint(answers).await];
        let chain = before(&endpoints).await;
        let failures = failures(&chain, hesitates, text).await;
        assert!(
            failures >= EJECTED_AFTER,
            "{text:?} {hesitates:?}: {failures}"
        );
    }
}

#[tokio::test(flavor = "local")]
async fn an_endpoint_that_breaks_off_at_once_is_ejected_whoever_speaks_first() {
    for text in ["", BINARY, GET] {
        let endpoints = [endpoint(breaks_off).await, endpoint(answers).await];
        let chain = before(&endpoints).await;
        failures(&chain, LATER, text).await;
    }
}

#[tokio::test(flavor = "local")]
async fn endpoints_that_have_nothing_to_say_are_not_ejected() {
    let endpoints = [endpoint(swallows).await, endpoint(swallows).await];
    let chain = before(&endpoints).await;
    for text in ["", BINARY] {
        for _ in 0..20 {
            let mut client = chain.connect().await;
            let sent = client.write_all(text.as_bytes()).await;
            sent.expect("the proxy reads");
            client.shutdown().await.expect("it is connected");
            assert_eq!(answer(client).await.expect("a clean end"), "");
        }
    }
    assert_eq!(ejections(&chain), 0, "{}", chain.metrics.expose());
}
