//! Applications that take their time, and scrapers that keep their connections.

use axum::http::Request;
use netting_runtime::admin;
use tokio::{net::TcpStream, time::advance};

use super::*;

/// Time that goes on by [`advance`] alone, however long the kernel takes with a packet: a
/// paused clock stands still while anything blocks.
fn frozen() -> std::sync::mpsc::Sender<()> {
    let (until, dropped) = std::sync::mpsc::channel();
    tokio::task::spawn_blocking(move || dropped.recv());
    until
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        let byte = stream.read_u8().await;
        let so_far = String::from_utf8_lossy(&read);
        read.push(byte.unwrap_or_else(|error| panic!("{error} after {so_far}")));
    }
    String::from_utf8(read).expect("it is text")
}

/// The next request that the application is asked.
async fn asked(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.expect("it is asked");
    read_until(&mut stream, "\r\n\r\n").await;
    stream
}

async fn application() -> (Merging, TcpListener) {
    let listener = TcpListener::bind((POD, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    (merging(&format!("{port}/metrics")), listener)
}

#[tokio::test(start_paused = true)]
async fn an_application_may_take_as_long_as_its_scraper_waits() {
    let _frozen = frozen();
    for (waits, takes, outcome) in [
        ("30", 30, "late"),
        ("30", 29, "passed"),
        // Nobody waits for longer than two minutes.
        ("1e9", 121, "late"),
        ("1e9", 119, "passed"),
        ("soon", 9, "late"),
        ("soon", 7, "passed"),
        ("-5", 7, "passed"),
        ("5", 7, "late"),
    ] {
        // It takes its time before the head of its answer, or thereafter.
        for (head, rest) in [("", format!("{TEXT}up 1\n")), (TEXT, "up 1\n".to_owned())] {
            let (merging, listener) = application().await;
            let answer = async {
                let mut stream = asked(&listener).await;
                let sent = stream.write_all(head.as_bytes()).await;
                sent.expect("the sidecar listens");
                advance(Duration::from_secs(takes)).await;
                match outcome {
                    // It says nothing more, and stays.
                    "late" => return Some(stream),
                    _ => stream.write_all(rest.as_bytes()).await,
                }
                .expect("the sidecar listens");
                None
            };
            let says = [("x-prometheus-scrape-timeout-seconds", waits)];
            let ((_, text), _stays) = tokio::join!(scrape(&merging, &says), answer);
            let text = text_of(text);
            assert_eq!(
                merging.asked.of(outcome).get(),
                1,
                "{waits} {takes}: {text}"
            );
            assert_eq!(text.starts_with("up 1\n"), outcome == "passed", "{text}");
            assert!(text.contains(OURS), "{text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_is_not_kept_at_it_for_a_scraper_that_has_gone() {
    let _frozen = frozen();
    let (merging, listener) = application().await;
    let headers = HeaderMap::new();
    let answer = async {
        let mut stream = asked(&listener).await;
        let sent = stream.write_all(TEXT.as_bytes()).await;
        sent.expect("the sidecar listens");
        stream
    };
    let (scraped, mut stream) = tokio::join!(merging.answer_at(POD, None, &headers), answer);
    drop(scraped);
    let read = stream.read(&mut [0]).await;
    assert!(matches!(read, Ok(0)), "the sidecar has gone: {read:?}");
    assert_eq!(merging.asked.of("late").get(), 1);
}

/// The admin port of a pod that is at loopback here.
async fn admin_port(merging: Merging) -> TcpStream {
    let listener = TcpListener::bind((POD, 0)).await.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    let answer = async move |request: Request<Body>| {
        let query = request.uri().query();
        merging.answer_at(POD, query, request.headers()).await
    };
    let router = Router::new().route("/metrics", get(answer));
    tokio::spawn(admin::serve(listener, router));
    TcpStream::connect(addr).await.expect("it listens")
}

#[tokio::test(start_paused = true)]
async fn a_scraper_that_keeps_its_connection_gets_every_answer_whole() {
    let _frozen = frozen();
    let (merging, listener) = application().await;
    let mut scraper = admin_port(merging.clone()).await;
    // Every seven seconds, of which the application takes five: the ninth scrape is under
    // way when the connection is a minute old, and the tenth is its last.
    for number in 1..=10 {
        let request = b"GET /metrics HTTP/1.1\r\nhost: pod\r\n\r\n";
        let sent = scraper.write_all(request).await;
        sent.expect("the connection is open");
        let mut application = asked(&listener).await;
        let begins = format!("{TEXT}up 1\n");
        let sent = application.write_all(begins.as_bytes()).await;
        sent.expect("the sidecar listens");
        let head = read_until(&mut scraper, "up 1\n").await;
        let is_last = head.contains("\r\nconnection: close\r\n");
        assert_eq!(is_last, number == 10, "{number}: {head}");
        advance(Duration::from_secs(5)).await;
        let sent = application.write_all(b"down 0\n").await;
        sent.expect("the sidecar listens");
        drop(application);
        let text = read_until(&mut scraper, "\r\n0\r\n\r\n").await;
        assert!(text.contains("down 0\n") && text.contains(OURS), "{text}");
        assert_eq!(merging.asked.of("passed").get(), number);
        advance(Duration::from_secs(2)).await;
    }
    let end = scraper.read(&mut [0]).await;
    assert!(matches!(end, Ok(0)), "{end:?}");
}
