use std::net::SocketAddr;

use netting_telemetry::Metrics;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::spawn_local,
};

use super::{
    chain::{DRAIN_QUIET, OWN, know, proxy, view},
    *,
};

mod hang_up;
mod hinted;
mod meanwhile;
mod named;
mod owners;
mod undecided;

struct Fixture {
    outbound: Outbound,
    metrics: Metrics,
}

fn fixture() -> Fixture {
    let metrics = Metrics::new("test", "0");
    let outbound = Outbound {
        proxy: proxy(Direction::Outbound, &metrics),
        view: view(),
    };
    Fixture { outbound, metrics }
}

impl Fixture {
    /// Opens a connection as the application would, on its way to `dst`.
    async fn connection(&self, dst: Option<SocketAddr>) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener
            .local_addr()
            .expect("a bound socket has an address");
        let client = TcpStream::connect(addr).await.expect("it listens");
        let (downstream, peer) = listener.accept().await.expect("one connects");
        let outbound = self.outbound.clone();
        spawn_local(async move {
            let dst = dst.map(OriginalDst);
            outbound.connection(dst, downstream, ClientAddr(peer)).await;
        });
        client
    }

    /// Looks after connections that wait, while something else is waited for.
    async fn look_after<T>(&self, meanwhile: impl Future<Output = T>) -> T {
        let look = async {
            let begun = Instant::now();
            while begun.elapsed() < DRAIN_QUIET * 200 {
                tokio::time::sleep(DRAIN_QUIET / 5).await;
                self.outbound.proxy.http1.waiters.look();
            }
        };
        tokio::select! {
            came = meanwhile => came,
            () = look => panic!("nothing comes"),
        }
    }

    fn has(&self, series: &str) -> bool {
        let exposition = self.metrics.expose();
        exposition.lines().any(|line| line == series)
    }
}

/// A server on `ip` that says its name to whoever connects, and hangs up.
async fn named(ip: &str, name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).await.expect("a free port");
    let addr = listener
        .local_addr()
        .expect("a bound socket has an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(name.as_bytes()).await;
        }
    });
    addr
}

async fn answer(mut client: TcpStream) -> std::io::Result<String> {
    let mut answer = String::new();
    client.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn is_reset(client: TcpStream) -> bool {
    let error = answer(client).await.expect_err("it is reset");
    error.kind() == std::io::ErrorKind::ConnectionReset
}

#[tokio::test(flavor = "local")]
async fn resets_what_was_not_redirected() {
    let fixture = fixture();
    assert!(is_reset(fixture.connection(None).await).await);
    let refused =
        r#"netting_tcp_connections_refused_total{direction="outbound",reason="not_redirected"} 1"#;
    assert!(fixture.has(refused));
}

#[tokio::test(flavor = "local")]
async fn resets_what_would_come_back_to_itself() {
    let fixture = fixture();
    // The client of these tests comes from 127.0.0.1: that is the pod's own address.
    let own = SocketAddr::from(([127, 0, 0, 1], OWN.inbound));
    assert!(is_reset(fixture.connection(Some(own)).await).await);
    let refused =
        r#"netting_tcp_connections_refused_total{direction="outbound",reason="own_port"} 1"#;
    assert!(fixture.has(refused));
}

#[tokio::test(flavor = "local")]
async fn resets_a_connection_whose_upstream_refuses() {
    let fixture = fixture();
    let gone = TcpListener::bind("127.0.0.2:0").await.expect("a free port");
    let addr = gone.local_addr().expect("a bound socket has an address");
    drop(gone);
    assert!(is_reset(fixture.connection(Some(addr)).await).await);
    let closed =
        r#"netting_tcp_connections_closed_total{direction="outbound",reason="connect_refused"} 1"#;
    assert!(fixture.has(closed));
}

#[tokio::test(flavor = "local")]
async fn passes_through_without_a_catalog() {
    let fixture = fixture();
    let server = named("127.0.0.2", "original").await;
    let said = answer(fixture.connection(Some(server)).await).await;
    assert_eq!(said.expect("it answers"), "original");
    let passed = r#"netting_tcp_connections_passed_through_total{direction="outbound",reason="catalog_unavailable"} 1"#;
    assert!(fixture.has(passed));
}

#[tokio::test(flavor = "local")]
async fn goes_to_an_endpoint_of_what_the_catalog_knows() {
    let fixture = fixture();
    let endpoint = named("127.0.0.3", "endpoint").await;
    let service: SocketAddr = "192.0.2.10:80".parse().expect("a literal address");
    fixture.outbound.view.connected();
    let client = fixture.connection(Some(service)).await;
    while fixture.outbound.view.is_empty() {
        tokio::task::yield_now().await;
    }
    know(&fixture.outbound.view, service, &[endpoint]);
    assert_eq!(answer(client).await.expect("it answers"), "endpoint");
}

#[tokio::test(flavor = "local")]
async fn a_reset_of_the_upstream_reaches_the_client_as_one() {
    let fixture = fixture();
    let listener = TcpListener::bind("127.0.0.2:0").await.expect("a free port");
    let addr = listener
        .local_addr()
        .expect("a bound socket has an address");
    let client = fixture.connection(Some(addr)).await;
    let (server, _) = listener.accept().await.expect("the sidecar connects");
    connect::reset(server);
    assert!(is_reset(client).await);
}

#[tokio::test(flavor = "local")]
async fn draining_ends_relayed_connections_unless_somebody_has_spoken() {
    let fixture = fixture();
    let listener = TcpListener::bind("127.0.0.2:0").await.expect("a free port");
    let addr = listener
        .local_addr()
        .expect("a bound socket has an address");
    let accept = async || listener.accept().await.expect("the sidecar connects").0;
    let mut greeted = fixture.connection(Some(addr)).await;
    let mut greeting = accept().await;
    let said = greeting.write_all(b"220 hello").await;
    said.expect("it is connected");
    let mut heard = [0; 9];
    let read = greeted.read_exact(&mut heard).await;
    read.expect("the server has spoken");
    // Who speaks first there is known now, so that these are relayed at once.
    let silent = fixture.connection(Some(addr)).await;
    let mut mute = accept().await;
    let mut half = fixture.connection(Some(addr)).await;
    let mut late = accept().await;
    half.shutdown().await.expect("it is connected");
    assert_eq!(late.read(&mut heard).await.expect("its end"), 0);
    fixture.outbound.proxy.http1.waiters.drain();
    let ended = fixture.look_after(answer(silent)).await;
    assert_eq!(ended.expect("a clean end"), "");
    assert_eq!(mute.read(&mut heard).await.expect("a clean end"), 0);
    let closed =
        r#"netting_tcp_connections_closed_total{direction="outbound",reason="draining"} 1"#;
    assert!(fixture.has(closed), "{}", fixture.metrics.expose());
    for (client, server) in [(greeted, &mut greeting), (half, &mut late)] {
        server.write_all(b"more").await.expect("it is connected");
        server.shutdown().await.expect("it is connected");
        assert_eq!(answer(client).await.expect("it goes on"), "more");
    }
}

#[tokio::test(flavor = "local")]
async fn a_connection_costs_little_while_it_waits() {
    /// What its task takes, whatever it carries, beside what follows.
    const TASK_BYTES_MAX: usize = 320;
    /// What HTTP/1 takes. Buffers are lent while they are used.
    const HTTP1_BYTES_MAX: usize = 1744;
    /// What is relayed.
    const OPAQUE_BYTES_MAX: usize = 1024;
    let fixture = fixture();
    let (listener, addr) = chain::listen().await;
    let connect = async || TcpStream::connect(addr).await.expect("it listens");
    let task = (fixture.outbound).connection(None, connect().await, ClientAddr(addr));
    let bytes = size_of_val(&task);
    assert!(bytes <= TASK_BYTES_MAX, "{bytes}");
    let proxy = &fixture.outbound.proxy;
    let accepted = |downstream| Accepted {
        downstream,
        client: ClientAddr(addr),
        dst: OriginalDst(addr),
        since: Instant::now(),
        traffic: proxy.traffic.clone(),
    };
    let http1 = proxy.http1(accepted(connect().await), Target::Fixed, Default::default());
    let bytes = size_of_val(&*http1);
    assert!(bytes <= HTTP1_BYTES_MAX, "{bytes}");
    let upstream = proxy.connector.original(OriginalDst(addr)).await;
    let upstream = (upstream.expect("it listens"), Begun::default());
    let downstream = accepted(connect().await);
    let opaque = proxy.opaque(downstream, upstream, Protocol::Opaque, ());
    let bytes = size_of_val(&*opaque);
    assert!(bytes <= OPAQUE_BYTES_MAX, "{bytes}");
    drop((task, http1, opaque, listener));
}
