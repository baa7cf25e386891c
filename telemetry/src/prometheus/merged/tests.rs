use std::{io::Read as _, net::Ipv4Addr};

use axum::http::{StatusCode, header};
use flate2::read::GzDecoder;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::labels::labels;

mod redirects;
mod waiting;

const POD: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
const THINGS: Descriptor = Descriptor {
    name: "netting.things",
    unit: "{thing}",
    description: "Things",
};
const OURS: &str = "\nnetting_things_total{otel_scope_name=\"netting\"} 3\n";
const TEXT: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\n\r\n";
const OPENMETRICS: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/openmetrics-text; version=1.0.0\r\n\r\n";

/// An application that answers so to one request, and tells what it was asked.
async fn application(answer: Vec<String>) -> (Merging, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind((POD, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("it is asked");
        let mut head = vec![0; 4096];
        let read = stream.read(&mut head).await.expect("there is a request");
        for piece in answer {
            // A sidecar that has heard enough hangs up.
            let _ = stream.write_all(piece.as_bytes()).await;
        }
        String::from_utf8_lossy(&head[..read]).into_owned()
    });
    let application = format!("{port}/stats/prometheus?x=1");
    (merging(&application), asked)
}

fn merging(application: &str) -> Merging {
    let resource = labels(&[("service.name", "shop")]);
    let metrics = Metrics::of(resource, crate::registry::Settings::default(), "test", "0");
    metrics.counters(THINGS).only().inc_by(3);
    Merging {
        asked: ByLabel::new(metrics.counters(ASKED), &labels::none(), "outcome"),
        left_out: metrics.gauges(LEFT_OUT).only(),
        metrics,
        application: application.parse().expect("a port and a path"),
    }
}

async fn scrape(merging: &Merging, asks: &[(&'static str, &'static str)]) -> (HeaderMap, Vec<u8>) {
    let asks = asks.iter().map(|(name, value)| {
        let name = header::HeaderName::from_static(name);
        (name, header::HeaderValue::from_static(value))
    });
    let response = merging.answer_at(POD, Some("y=2"), &asks.collect()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("it comes to its end");
    (head.headers, body.to_bytes().to_vec())
}

fn text_of(body: Vec<u8>) -> String {
    String::from_utf8(body).expect("it is text")
}

#[tokio::test]
async fn both_are_in_one_exposition_of_the_applications_format() {
    let said = ["# TYPE up gauge\nup 1\n", "# EOF\n"].map(str::to_owned);
    let answer = [vec![OPENMETRICS.to_owned()], said.to_vec()].concat();
    let (merging, asked) = application(answer).await;
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let (head, body) = scrape(&merging, &[("accept", accept)]).await;
    let kind = &head[header::CONTENT_TYPE];
    assert_eq!(
        kind,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let text = text_of(body);
    assert!(
        text.starts_with("# TYPE up gauge\nup 1\n# HELP target "),
        "{text}"
    );
    assert!(text.contains(OURS), "{text}");
    assert_eq!(
        (text.matches("# EOF").count(), text.ends_with("\n# EOF\n")),
        (1, true),
        "{text}"
    );
    let asked = asked.await.expect("it was asked");
    assert!(
        asked.starts_with("GET /stats/prometheus?x=1&y=2 HTTP/1.1\r\n"),
        "{asked}"
    );
    assert!(
        asked.contains("accept: application/openmetrics-text;"),
        "{asked}"
    );
    assert_eq!(merging.asked.of("passed").get(), 1);
}

#[tokio::test]
async fn an_application_that_knows_one_format_decides_for_both() {
    let (merging, _) = application(vec![TEXT.to_owned(), "up 1\n".to_owned()]).await;
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let (head, body) = scrape(&merging, &[("accept", accept)]).await;
    assert_eq!(
        head[header::CONTENT_TYPE],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let text = text_of(body);
    assert!(!text.contains("# EOF"), "{text}");
    assert!(
        text.contains("# TYPE netting_things_total counter\n"),
        "{text}"
    );
}

#[tokio::test]
async fn what_both_have_with_two_types_is_the_applications() {
    let theirs = "netting_things_total{mine=\"1\"} 5\ntarget_info{a=\"b\"} 1\n";
    let (merging, _) = application(vec![TEXT.to_owned(), theirs.to_owned()]).await;
    let text = text_of(scrape(&merging, &[]).await.1);
    let both = theirs.replace("{a=\"b\"}", "{a=\"b\",service_name=\"shop\"}");
    assert!(text.starts_with(&both), "{text}");
    assert_eq!(text.matches("netting_things_total").count(), 1, "{text}");
    assert_eq!(text.matches("target_info").count(), 1, "{text}");
    assert!(text.contains("netting_build_info{"), "{text}");
    assert_eq!(merging.left_out.get(), 1);
}

#[tokio::test]
async fn what_both_have_with_one_type_has_the_series_of_both() {
    let theirs = "# TYPE netting_things_total counter\nnetting_things_total 5\n";
    let (merging, _) = application(vec![TEXT.to_owned(), theirs.to_owned()]).await;
    let text = text_of(scrape(&merging, &[]).await.1);
    let both = format!("{theirs}netting_things_total{{otel_scope_name=\"netting\"}} 3\n");
    assert!(text.starts_with(&both), "{text}");
    assert_eq!(text.matches("netting_things_total").count(), 3, "{text}");
    assert_eq!(merging.left_out.get(), 0);
}

#[tokio::test]
async fn what_is_passed_on_is_compressed_if_that_is_wanted() {
    let lines: String = (0..1000)
        .map(|n| format!("mine{{n=\"{n}\"}} 1\n"))
        .collect();
    let (merging, _) = application(vec![TEXT.to_owned(), lines.clone()]).await;
    let (head, body) = scrape(&merging, &[("accept-encoding", "gzip")]).await;
    assert_eq!(head[header::CONTENT_ENCODING], "gzip");
    let mut text = String::new();
    GzDecoder::new(&*body)
        .read_to_string(&mut text)
        .expect("it is gzip");
    assert!(text.starts_with(&lines) && text.contains(OURS), "{text}");
}

#[tokio::test]
async fn an_application_without_a_good_answer_costs_nothing_but_its_metrics() {
    let not_found = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned();
    let broken = "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nup 1\nu".to_owned();
    let json = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"up\": 1}\n".to_owned();
    let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n\
                <!doctype html>\n<title>Shop</title>\n<script>\nup = 1\n</script>"
        .to_owned();
    let partly = format!("{TEXT}up 1\nup{{a=\"b}} 2\n");
    let endless = format!("{TEXT}{}", "x".repeat(100_000));
    for (answer, outcome, theirs) in [
        (not_found, "status", ""),
        ("SSH-2.0\r\n".to_owned(), "broken", ""),
        (broken, "broken", "up 1\n"),
        (json, "malformed", ""),
        (page, "malformed", ""),
        (partly, "malformed", "up 1\n"),
        (endless, "too_large", ""),
    ] {
        let (merging, _) = application(vec![answer]).await;
        let text = text_of(scrape(&merging, &[]).await.1);
        assert!(
            text.starts_with(&format!("{theirs}# HELP target_info")),
            "{outcome}: {text}"
        );
        assert!(text.contains(OURS), "{outcome}: {text}");
        assert_eq!(merging.asked.of(outcome).get(), 1, "{outcome}");
    }
    let nobody = merging("1/metrics");
    let text = text_of(scrape(&nobody, &[]).await.1);
    assert!(text.contains(OURS), "{text}");
    assert_eq!(nobody.asked.of("unreachable").get(), 1);
}

#[tokio::test]
async fn a_scraper_does_not_wait_longer_than_it_wants_to() {
    let listener = TcpListener::bind((POD, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    // It accepts, and says nothing.
    let merging = merging(&format!("{port}/metrics"));
    let waits = [("x-prometheus-scrape-timeout-seconds", "0.6")];
    let text = text_of(scrape(&merging, &waits).await.1);
    assert!(text.contains(OURS), "{text}");
    assert_eq!(merging.asked.of("late").get(), 1);
}

#[tokio::test]
async fn the_application_is_not_asked_over_loopback() {
    let merging = merging("1/metrics");
    let response = merging.answer(Some(POD), None, &HeaderMap::new()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(merging.asked.of("unreachable").get(), 0);
}
