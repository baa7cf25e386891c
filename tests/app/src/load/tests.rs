use std::net::Ipv4Addr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::terminate::Ask;

const OK: &str = "HTTP/1.1 200 OK\r\nx-pod: echo-1\r\ncontent-length: 2\r\n\r\nok";
const REFUSED: &str = "HTTP/1.1 503 Busy\r\nx-pod: echo-1\r\ncontent-length: 0\r\n\r\n";

fn pod() -> Pod {
    Pod {
        pod: "load-1".to_owned(),
        version: "v1".to_owned(),
    }
}

fn load_args(port: u16) -> LoadArgs {
    LoadArgs {
        url: format!("http://127.0.0.1:{port}/").parse().expect("a URL"),
        rate: "200".parse().expect("a rate"),
        concurrency: 64,
        duration: Duration::from_secs(2),
        timeout: Duration::from_secs(60),
        new_connection_per_request: false,
        retry_connect: false,
        stats_port: 0,
        fail: false,
    }
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a free port");
    let port = listener.local_addr().expect("it listens").port();
    (listener, port)
}

/// A socket that has a port for itself, at which connections are refused until it listens.
fn not_listening() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().expect("a socket");
    let any_port = (Ipv4Addr::LOCALHOST, 0).into();
    socket.bind(any_port).expect("a free port");
    let port = socket.local_addr().expect("it's bound").port();
    (socket, port)
}

/// A server that gives `answer` to each of the first `requests_each` requests of a connection,
/// reads one more and closes.
fn serve_raw(listener: TcpListener, answer: &'static str, requests_each: usize) {
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_some(stream, answer, requests_each));
        }
    });
}

async fn answer_some(mut stream: TcpStream, answer: &str, requests: usize) -> std::io::Result<()> {
    for left in (0..=requests).rev() {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        if left > 0 {
            stream.write_all(answer.as_bytes()).await?;
        }
    }
    Ok(())
}

async fn run_to_end(args: LoadArgs) -> Summary {
    let (_ask, terminate) = Terminate::by_hand();
    drive(args, listener().await.0, terminate).await
}

/// A load that runs until it's asked to end, and the port of its statistics.
async fn start(args: LoadArgs) -> (u16, Ask, JoinHandle<Summary>) {
    let (statistics, port) = listener().await;
    let (ask, terminate) = Terminate::by_hand();
    let args = LoadArgs {
        duration: Duration::ZERO,
        ..args
    };
    (port, ask, tokio::spawn(drive(args, statistics, terminate)))
}

/// A load that runs until its statistics are `enough`.
async fn run_until(args: LoadArgs, enough: impl Fn(&Value) -> bool) -> Summary {
    let (stats_port, ask, load) = start(args).await;
    while !enough(&ask_stats(stats_port, "GET /stats").await) {
        tokio::task::yield_now().await;
    }
    ask.ask();
    load.await.expect("it ends")
}

async fn ask_stats(port: u16, request: &str) -> Value {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .expect("it listens");
    let request = format!("{request} HTTP/1.1\r\nhost: load\r\nconnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    serde_json::from_str(body).expect("statistics are JSON")
}

#[tokio::test]
async fn each_way_to_fail_is_counted_by_its_kind() {
    let (refusing, refusing_port) = listener().await;
    serve_raw(refusing, REFUSED, 1000);
    let (closing, closing_port) = listener().await;
    serve_raw(closing, OK, 0);
    let (_silent, silent_port) = listener().await;
    let (_bound, refusing_all) = not_listening();
    let (slow, short) = (Duration::from_secs(60), Duration::from_millis(20));
    for (kind, port, timeout) in [
        ("status", refusing_port, slow),
        ("reset", closing_port, slow),
        ("timeout", silent_port, short),
        ("connect", refusing_all, slow),
    ] {
        let args = LoadArgs {
            timeout,
            ..load_args(port)
        };
        let summary = run_until(args, |stats| stats["failed"].as_u64() >= Some(3)).await;
        assert!(summary.counts.failed > 0, "{kind}: {summary:?}");
        assert_eq!(
            summary.failures_by_kind[kind], summary.counts.sent,
            "{kind}: {summary:?}"
        );
        assert!(!summary.is_clean());
    }
}

#[tokio::test]
async fn all_answers_of_a_good_server_are_ok_and_share_connections() {
    let (listener, port) = listener().await;
    serve_raw(listener, OK, 1000);
    let summary = run_until(load_args(port), |stats| stats["ok"].as_u64() >= Some(40)).await;
    assert!(summary.is_clean(), "{summary:?}");
    assert_eq!(summary.by_pod["echo-1"], summary.counts.ok);
    assert_eq!(summary.by_status[&200], summary.counts.ok);
    assert!(
        summary.counts.connections < summary.counts.sent,
        "{summary:?}"
    );
    assert_eq!(summary.in_flight, 0);
    assert!(summary.latency_ms.is_some());
}

#[tokio::test]
async fn the_rate_is_kept_and_the_duration_ends_it() {
    let (listener, port) = listener().await;
    serve_raw(listener, OK, 1000);
    let summary = run_to_end(load_args(port)).await;
    assert!(summary.elapsed_ms >= 2000, "{summary:?}");
    // 200 a second, the first at once; the clock that counts the time is read a little later.
    let due = summary.elapsed_ms / 5 + 1;
    assert!((1..=due).contains(&summary.counts.sent), "{summary:?}");
    assert_eq!(summary.in_flight, 0);
}

#[tokio::test]
async fn a_new_connection_for_each_request_if_asked() {
    let (listener, port) = listener().await;
    serve_raw(listener, OK, 1000);
    let args = LoadArgs {
        new_connection_per_request: true,
        ..load_args(port)
    };
    let summary = run_until(args, |stats| stats["ok"].as_u64() >= Some(5)).await;
    assert!(summary.is_clean(), "{summary:?}");
    assert_eq!(summary.counts.connections, summary.counts.sent);
}

#[tokio::test]
async fn a_stale_connection_is_a_reset_without_retry_and_nothing_with_it() {
    let (listener, port) = listener().await;
    serve_raw(listener, OK, 1);
    let strict = run_until(load_args(port), |stats| stats["failed"] != 0).await;
    assert_eq!(
        strict.failures_by_kind["reset"], strict.counts.failed,
        "{strict:?}"
    );
    let lenient = LoadArgs {
        retry_connect: true,
        ..load_args(port)
    };
    let lenient = run_until(lenient, |stats| stats["stale_retries"] != 0).await;
    assert!(lenient.is_clean(), "{lenient:?}");
}

#[tokio::test]
async fn connecting_is_tried_again_until_somebody_listens() {
    let (socket, port) = not_listening();
    let (stats_port, ask, load) = start(LoadArgs {
        retry_connect: true,
        ..load_args(port)
    })
    .await;
    while ask_stats(stats_port, "GET /stats").await["connect_retries"] == 0 {
        tokio::task::yield_now().await;
    }
    serve_raw(socket.listen(1024).expect("it can listen"), OK, 1000);
    while ask_stats(stats_port, "GET /stats").await["ok"] == 0 {
        tokio::task::yield_now().await;
    }
    ask.ask();
    let summary = load.await.expect("it ends");
    assert!(summary.is_clean(), "{summary:?}");
}

#[tokio::test]
async fn requests_beyond_the_bound_wait_and_their_latency_tells() {
    let server = server::listen("test", 0, &pod()).expect("a free port");
    let port = server.local_addr().expect("it listens").port();
    let (_ask, terminate) = Terminate::by_hand();
    tokio::spawn(server::serve(
        server,
        server::OnSigterm::Exit,
        terminate,
        |mut stream, _, _| async move {
            tokio::time::sleep(Duration::from_millis(40)).await;
            let _ = stream.write_all(OK.as_bytes()).await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        },
    ));
    let args = LoadArgs {
        concurrency: 1,
        new_connection_per_request: true,
        ..load_args(port)
    };
    let summary = run_until(args, |stats| {
        stats["late"] != 0 && stats["ok"].as_u64() >= Some(6)
    })
    .await;
    assert!(summary.counts.late > 0, "{summary:?}");
    let latency = summary.latency_ms.expect("some succeeded");
    assert!(latency.max > 100.0, "waiting is not counted: {summary:?}");
}

#[tokio::test]
async fn the_books_are_served_and_reset_while_it_runs() {
    let (listener, port) = listener().await;
    serve_raw(listener, OK, 1_000_000);
    let (stats_port, ask, load) = start(load_args(port)).await;
    // So many that no pause on a busy machine makes up for them afterwards.
    while ask_stats(stats_port, "GET /stats").await["ok"].as_u64() < Some(400) {
        tokio::task::yield_now().await;
    }
    let before = ask_stats(stats_port, "PUT /reset").await;
    let after = ask_stats(stats_port, "GET /stats").await;
    assert!(before["ok"].as_u64() >= Some(400), "{before}");
    assert!(after["sent"].as_u64() < before["sent"].as_u64(), "{after}");
    let unknown = ask_stats(stats_port, "DELETE /stats").await;
    assert!(unknown["error"].as_str().is_some(), "{unknown}");
    ask.ask();
    assert_eq!(load.await.expect("it ends").counts.failed, 0);
}

#[tokio::test]
async fn sigterm_waits_for_what_is_in_flight_and_insisting_does_not() {
    let (_silent, port) = listener().await;
    let (short, long) = (Duration::from_millis(100), Duration::from_secs(3600));
    for (times, timeout, in_flight) in [(1, short, false), (2, long, true)] {
        let (stats_port, ask, load) = start(LoadArgs {
            timeout,
            ..load_args(port)
        })
        .await;
        while ask_stats(stats_port, "GET /stats").await["in_flight"] == 0 {
            tokio::task::yield_now().await;
        }
        (0..times).for_each(|_| ask.ask());
        let summary = load.await.expect("it ends");
        assert_eq!(summary.in_flight > 0, in_flight, "asked {times} times");
    }
}
