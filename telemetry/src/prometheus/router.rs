//! `GET /metrics` for scrapers, and `GET /instruments` for the `netting` command.

use std::io::Write as _;

use axum::{
    Router,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use flate2::{Compression, write::GzEncoder};

use super::{Format, accepts_gzip, negotiate, scraped, text};
use crate::{Metrics, snapshot::Snapshot};

/// Below this, compressing saves less than a packet.
const COMPRESSED_BYTES_MIN: usize = 1024;

/// How a snapshot is written.
type Write = fn(&Snapshot, Format) -> String;

/// `GET /metrics`, answered in the format that is asked for.
pub fn router(metrics: Metrics) -> Router {
    let answer = async move |headers: HeaderMap| answer(&metrics, scraped, &headers);
    Router::new().route("/metrics", get(answer))
}

/// `GET` of any path that no other route has, answered like `/metrics` if it is this one.
pub fn router_beside(metrics: Metrics, path: String) -> Router {
    let answer = async move |uri: Uri, headers: HeaderMap| match uri.path() == path {
        true => answer(&metrics, scraped, &headers),
        false => StatusCode::NOT_FOUND.into_response(),
    };
    Router::new().fallback(get(answer))
}

/// `GET /instruments`, likewise: who asks there knows whose the series are.
pub fn instruments_router(metrics: Metrics) -> Router {
    let answer = async move |headers: HeaderMap| answer(&metrics, text, &headers);
    Router::new().route("/instruments", get(answer))
}

/// How a scraper wants to be answered.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) format: Format,
    pub(super) gzip: bool,
}

impl Wanted {
    pub(super) fn by(headers: &HeaderMap) -> Self {
        Self {
            format: negotiate(&joined(headers, header::ACCEPT)),
            gzip: accepts_gzip(&joined(headers, header::ACCEPT_ENCODING)),
        }
    }

    /// What an answer says of itself.
    pub(super) fn head(self) -> HeaderMap {
        let gzip = self.gzip.then_some((header::CONTENT_ENCODING, "gzip"));
        let always = [
            (header::CONTENT_TYPE, self.format.content_type()),
            (header::VARY, "accept, accept-encoding"),
        ];
        let fields = always.into_iter().chain(gzip);
        fields
            .map(|(name, value)| (name, HeaderValue::from_static(value)))
            .collect()
    }
}

pub(super) fn answer(metrics: &Metrics, write: Write, headers: &HeaderMap) -> Response {
    let mut wanted = Wanted::by(headers);
    let exposition = write(&metrics.snapshot(), wanted.format).into_bytes();
    wanted.gzip &= exposition.len() >= COMPRESSED_BYTES_MIN;
    let body = if wanted.gzip {
        compressed(&exposition)
    } else {
        exposition
    };
    (wanted.head(), body).into_response()
}

/// All fields of a name, as the one list that they are (RFC 9110 section 5.3).
fn joined(headers: &HeaderMap, name: HeaderName) -> String {
    let values = headers
        .get_all(name)
        .iter()
        .filter_map(|it| it.to_str().ok());
    values.collect::<Vec<_>>().join(",")
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    // What repeats itself as much as this is small at any level.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let compressed = encoder.write_all(bytes).and_then(|()| encoder.finish());
    compressed.expect("memory can always be written to")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use axum::{body::Body, http::Request};
    use flate2::read::GzDecoder;
    use tower::ServiceExt as _;

    use super::*;

    fn ask(accept: &[(HeaderName, &'static str)]) -> Response {
        let mut headers = HeaderMap::new();
        for (name, value) in accept {
            headers.append(name, value.parse().expect("a plain value"));
        }
        answer(&Metrics::new("test", "1.2.3"), scraped, &headers)
    }

    async fn body(response: Response) -> Vec<u8> {
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        body.expect("it is all there").to_vec()
    }

    #[tokio::test]
    async fn answers_in_the_format_that_is_asked_for() {
        let text = ask(&[]);
        assert_eq!(
            text.headers()[header::CONTENT_TYPE],
            "text/plain; version=0.0.4; charset=utf-8"
        );
        let text = String::from_utf8(body(text).await).expect("it is text");
        assert!(
            text.contains(
                "\nnetting_build_info{part=\"test\",version=\"1.2.3\",otel_scope_name=\"netting\"} 1\n"
            ),
            "{text}"
        );
        assert!(!text.contains("# EOF"), "{text}");
        let openmetrics = ask(&[
            (header::ACCEPT, "text/plain;q=0.1"),
            (header::ACCEPT, "application/openmetrics-text"),
        ]);
        let content_type = &openmetrics.headers()[header::CONTENT_TYPE];
        assert_eq!(
            content_type,
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        );
        assert!(body(openmetrics).await.ends_with(b"# EOF\n"));
    }

    #[tokio::test]
    async fn a_path_beside_leaves_others_as_they_are() {
        let metrics = Metrics::new("test", "0");
        let there = Router::new().route("/ready", get(|| async { "ready" }));
        for (beside, path, expected) in [
            ("/stats", "/stats?a=b", "# HELP netting_build_info"),
            ("/stats", "/stat", ""),
            ("/ready", "/ready", "ready"),
            ("/{*any}", "/stats", ""),
        ] {
            let router = there
                .clone()
                .merge(router_beside(metrics.clone(), beside.to_owned()));
            let request = Request::get(path).body(Body::empty()).expect("a path");
            let response = router.oneshot(request).await.expect("it never fails");
            let is_found = response.status() == StatusCode::OK;
            assert_eq!(is_found, !expected.is_empty(), "{path}");
            let text = String::from_utf8(body(response).await).expect("it is text");
            assert!(text.starts_with(expected), "{path}: {text}");
        }
    }

    #[tokio::test]
    async fn compresses_what_is_worth_it() {
        let metrics = Metrics::new("test", "0");
        let descriptor = crate::snapshot::Descriptor {
            name: "netting.things",
            unit: "{thing}",
            description: "Things",
        };
        let things = metrics.counters(descriptor);
        for number in 0..100 {
            things
                .with(&crate::labels::labels(&[("number", &number.to_string())]))
                .inc();
        }
        let mut headers = HeaderMap::new();
        headers.append(
            header::ACCEPT_ENCODING,
            "gzip".parse().expect("a plain value"),
        );
        let response = answer(&metrics, text, &headers);
        assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
        let compressed = body(response).await;
        let mut text = String::new();
        let read = GzDecoder::new(&*compressed).read_to_string(&mut text);
        read.expect("it is gzip");
        assert!(compressed.len() < text.len() / 4);
        assert!(
            text.contains("netting_things_total{number=\"99\"} 1\n"),
            "{text}"
        );
        assert!(
            !ask(&[(header::ACCEPT_ENCODING, "identity")])
                .headers()
                .contains_key(header::CONTENT_ENCODING)
        );
    }
}
