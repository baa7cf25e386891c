use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::*;
use crate::terminate::Ask;

fn pod() -> Pod {
    Pod {
        pod: "echo-1".to_owned(),
        version: "v1".to_owned(),
    }
}

/// A server whose connections send one byte, then hold until they are told that it's ending.
fn start(on_sigterm: OnSigterm) -> (u16, Ask, JoinHandle<()>) {
    let listener = listen("test", 0, &pod()).expect("a free port");
    let port = listener.local_addr().expect("it listens").port();
    let (ask, terminate) = Terminate::by_hand();
    let server = tokio::spawn(serve(
        listener,
        on_sigterm,
        terminate,
        |mut stream, _, mut ending| async move {
            let _ = stream.write_all(b"+").await;
            ending.begun().await;
            let _ = stream.write_all(b"-").await;
        },
    ));
    (port, ask, server)
}

async fn open(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .expect("the server accepts");
    assert_eq!(stream.read_u8().await.expect("a byte at once"), b'+');
    stream
}

async fn rest(mut stream: TcpStream) -> io::Result<Vec<u8>> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await?;
    Ok(rest)
}

#[test]
fn refuses_policies_it_does_not_know() {
    for text in ["", "linger", "Exit", "linger:5s"] {
        assert_eq!(
            text.parse::<OnSigterm>(),
            Err(OnSigtermError::Unknown),
            "{text:?}"
        );
    }
    assert_eq!(
        "linger=5".parse::<OnSigterm>(),
        Err(OnSigtermError::Duration(DurationError::Malformed))
    );
}

#[test]
fn reads_the_three_policies() {
    assert_eq!("exit".parse(), Ok(OnSigterm::Exit));
    assert_eq!("finish".parse(), Ok(OnSigterm::Finish));
    assert_eq!(
        "linger=5s".parse(),
        Ok(OnSigterm::Linger(Duration::from_secs(5)))
    );
}

#[tokio::test]
async fn a_taken_port_is_refused_by_its_number() {
    let taken = listen("test", 0, &pod()).expect("a free port");
    let port = taken.local_addr().expect("it listens").port();
    let error = listen("test", port, &pod()).expect_err("the port is taken");
    assert_eq!(error.to_string(), format!("listen on TCP port {port}"));
}

#[tokio::test]
async fn exit_breaks_open_connections() {
    let (port, ask, server) = start(OnSigterm::Exit);
    let open = open(port).await;
    ask.ask();
    server.await.expect("the server ends");
    // The connection's last word is never said.
    assert_eq!(rest(open).await.unwrap_or_default(), b"");
}

#[tokio::test]
async fn finish_lets_open_connections_end_and_accepts_no_more() {
    let (port, ask, server) = start(OnSigterm::Finish);
    let open = open(port).await;
    ask.ask();
    server.await.expect("the server ends");
    assert_eq!(rest(open).await.expect("closed in order"), b"-");
    let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
    assert_eq!(
        refused.expect_err("nobody listens").kind(),
        io::ErrorKind::ConnectionRefused
    );
}

#[tokio::test]
async fn lingering_accepts_until_its_time_is_over() {
    let (port, ask, server) = start(OnSigterm::Linger(Duration::from_secs(2)));
    ask.ask();
    let late = open(port).await;
    server.await.expect("the server ends");
    assert_eq!(rest(late).await.expect("closed in order"), b"-");
}

#[tokio::test]
async fn asking_twice_cuts_lingering_short() {
    let (port, ask, server) = start(OnSigterm::Linger(Duration::from_secs(3600)));
    let _open = open(port).await;
    ask.ask();
    ask.ask();
    server.await.expect("the server ends");
}

#[tokio::test]
async fn both_families_reach_one_listener_and_ipv4_peers_look_like_ipv4() {
    let listener = listen("test", 0, &pod()).expect("a free port");
    let port = listener.local_addr().expect("it listens").port();
    for ip in [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::from(Ipv6Addr::LOCALHOST),
    ] {
        let client = TcpStream::connect((ip, port)).await.expect("it's accepted");
        let (_, peer) = listener.accept().await.expect("a connection waits");
        assert_eq!(
            canonical(peer),
            client.local_addr().expect("it's connected")
        );
    }
}
