//! Applications that send their scrapers on.

use super::*;

/// An application that gives these answers in turn, with `PORT` for its own, and tells what
/// it was asked for each.
async fn redirecting(answers: &[&str]) -> (Merging, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind((POD, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let own = |answer: &&str| answer.replace("PORT", &port.to_string());
    let answers: Vec<String> = answers.iter().map(own).collect();
    let asked = tokio::spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.expect("it is asked");
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.expect("there is a request");
            asked.push(String::from_utf8_lossy(&head[..read]).into_owned());
            let answered = stream.write_all(answer.as_bytes()).await;
            answered.expect("the sidecar listens");
        }
        asked
    });
    (merging(&format!("{port}/metrics")), asked)
}

fn to(status: u16, location: &str) -> String {
    format!("HTTP/1.1 {status} X\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n")
}

#[tokio::test]
async fn a_redirect_to_another_host_or_port_is_not_followed() {
    let stranger = TcpListener::bind((POD, 0)).await.expect("a free port");
    let elsewhere = stranger.local_addr().expect("it is bound");
    for location in [
        format!("http://{elsewhere}/metrics"),
        format!("//{elsewhere}/metrics"),
        format!("http://localhost:{}/metrics", elsewhere.port()),
        "https://127.0.0.1:PORT/metrics".to_owned(),
        "http://[::1".to_owned(),
    ] {
        let (merging, _) = redirecting(&[&to(307, &location)]).await;
        let text = text_of(scrape(&merging, &[]).await.1);
        assert!(text.contains(OURS), "{location}: {text}");
        assert_eq!(merging.asked.of("redirected").get(), 1, "{location}");
    }
    let stranger = stranger.into_std().expect("it is a socket");
    let asked = stranger.accept().map_err(|error| error.kind());
    let nobody = std::io::ErrorKind::WouldBlock;
    assert!(matches!(asked, Err(kind) if kind == nobody), "{asked:?}");
}

#[tokio::test]
async fn who_is_sent_in_circles_gives_up() {
    let answers = [
        to(302, "/metrics"),
        to(303, "?"),
        to(307, "/metrics"),
        to(308, "/again"),
    ];
    let (merging, asked) = redirecting(&answers.each_ref().map(String::as_str)).await;
    let text = text_of(scrape(&merging, &[]).await.1);
    assert!(text.contains(OURS), "{text}");
    assert_eq!(merging.asked.of("redirected").get(), 1);
    assert_eq!(asked.await.expect("it was asked").len(), 4);
}

#[tokio::test]
async fn a_redirect_that_names_nothing_is_another_status() {
    let (merging, _) = redirecting(&["HTTP/1.1 307 X\r\ncontent-length: 0\r\n\r\n"]).await;
    let text = text_of(scrape(&merging, &[]).await.1);
    assert!(text.contains(OURS), "{text}");
    assert_eq!(merging.asked.of("status").get(), 1);
}

#[tokio::test]
async fn redirects_are_followed_within_the_application() {
    let answers = [
        to(307, "http://127.0.0.1:PORT/metrics/?y=2"),
        to(301, "../stats?all"),
        to(308, "/last"),
        format!("{OPENMETRICS}up 1\n# EOF\n"),
    ];
    let (merging, asked) = redirecting(&answers.each_ref().map(String::as_str)).await;
    let accept = [("accept", "application/openmetrics-text;version=1.0.0")];
    let text = text_of(scrape(&merging, &accept).await.1);
    assert!(text.starts_with("up 1\n") && text.contains(OURS), "{text}");
    assert_eq!(merging.asked.of("passed").get(), 1);
    let asked = asked.await.expect("it was asked");
    let paths = ["/metrics?y=2", "/metrics/?y=2", "/stats?all", "/last"];
    for (head, path) in asked.iter().zip(paths) {
        let first = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:");
        assert!(head.starts_with(&first), "{head}");
        let accepts = "accept: application/openmetrics-text;";
        assert!(head.contains(accepts), "{head}");
    }
}
