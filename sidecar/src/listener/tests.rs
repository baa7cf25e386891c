use netting_telemetry::{
    Metrics,
    connections::{ConnectionMetrics, Direction},
};
use tokio::io::AsyncReadExt as _;

use super::*;

struct Fixture {
    door: Door,
    metrics: Metrics,
    addr: SocketAddr,
}

/// Accepts connections as `connection` says, with room for `places`.
fn accepting<C>(places: usize, connection: impl Fn(TcpStream, ClientAddr) -> C + 'static) -> Fixture
where
    C: Future<Output = ()> + 'static,
{
    let metrics = Metrics::new("test", "0");
    let listeners = Listeners::bind(0).expect("a free port");
    let port = listeners.port().expect("a bound socket has an address");
    let connections = ConnectionMetrics::register(&metrics);
    let door = Door {
        places: Arc::new(Semaphore::new(places)),
        drain: Drain::new(),
        peak: Peak::default(),
        metrics: connections.of(Direction::Inbound),
    };
    let accepting = accept(listeners, door.clone(), connection);
    tokio::task::spawn_local(accepting);
    Fixture {
        door,
        metrics,
        addr: (Ipv4Addr::LOCALHOST, port).into(),
    }
}

/// A reset can be there before the client sees that it is connected.
async fn is_closed(connecting: impl Future<Output = io::Result<TcpStream>>) -> bool {
    match connecting.await {
        Ok(mut stream) => matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)),
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

#[tokio::test(flavor = "local")]
async fn refuses_what_there_is_no_room_for() {
    let fixture = accepting(1, |stream, _| async move {
        let _kept = stream;
        std::future::pending().await
    });
    let first = TcpStream::connect(fixture.addr).await.expect("it listens");
    assert!(is_closed(TcpStream::connect(fixture.addr)).await);
    let metrics = fixture.metrics.expose();
    let refused = r#"refused_total{direction="inbound",reason="too_many_connections"} 1"#;
    assert!(metrics.contains(refused), "{metrics}");
    drop(first);
}

#[tokio::test(flavor = "local")]
async fn a_connection_that_panics_is_no_longer_open() {
    let fixture = accepting(1, |stream, _| async move {
        drop(stream);
        panic!("this is what the test is about");
    });
    assert!(is_closed(TcpStream::connect(fixture.addr)).await);
    while fixture.door.drain.tasks() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(fixture.door.metrics.active.get(), 0);
    assert_eq!(fixture.door.places.available_permits(), 1);
}

#[tokio::test]
async fn each_thread_can_have_the_port_for_itself() {
    let listeners = Listeners::bind_each(0, 3).expect("a free port");
    let ports: Vec<_> = listeners.iter().map(|each| each.port().ok()).collect();
    assert_eq!(ports.len(), 3);
    assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_refused() {
    let taken = Listeners::bind(0).expect("a free port");
    let port = taken.port().expect("a bound socket has an address");
    let error = Listeners::bind_each(port, 2).expect_err("it is taken");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn what_is_accepted_has_the_options_of_its_listener() {
    let listeners = Listeners::bind(0).expect("a free port");
    let limit = Duration::from_secs(90);
    listeners.tune(Some(limit));
    let port = listeners.port().expect("it is bound");
    let listener = TcpListener::from_std(listeners.v4).expect("there is a runtime");
    let connect = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    let (accepted, _client) = tokio::join!(listener.accept(), connect);
    let (accepted, _) = accepted.expect("one connects");
    let socket = socket2::SockRef::from(&accepted);
    let is_set = |set: io::Result<bool>| set.expect("the kernel says");
    assert!(is_set(socket.tcp_nodelay()) && is_set(socket.keepalive()));
    let timeout = socket.tcp_user_timeout().expect("the kernel says");
    assert_eq!(timeout, Some(limit));
}
