//! Answers.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::status::Status;

/// A JSON document.
pub(crate) fn json(code: StatusCode, value: &Value) -> Response<Body> {
    with_type(code, "application/json", value.to_string().into())
}

/// A line of text.
pub(crate) fn text(text: &'static str) -> Response<Body> {
    with_type(StatusCode::OK, "text/plain; charset=utf-8", text.into())
}

/// A document of OpenAPI 2 in Protocol Buffers.
pub(crate) fn openapi_v2(document: &'static [u8]) -> Response<Body> {
    let kind = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    with_type(StatusCode::OK, kind, Bytes::from_static(document))
}

/// A refusal.
pub(crate) fn refusal(status: &Status) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(code, &status.body())
}

/// A stream of JSON documents.
pub(crate) fn stream(lines: impl Stream<Item = Bytes> + Send + 'static) -> Response<Body> {
    let mut response = json(StatusCode::OK, &Value::Null);
    *response.body_mut() = Body::from_stream(lines.map(Ok::<_, Infallible>));
    response
}

/// The `Status` of something done that returns no object.
pub(crate) fn success() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
}

/// Adds `Warning` headers; a warning's quotes and backslashes are escaped, its line ends left out.
pub(crate) fn warn(response: &mut Response<Body>, warnings: &[String]) {
    for warning in warnings {
        let text: String = warning
            .chars()
            .filter(|character| !character.is_control())
            .collect();
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{text}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

fn with_type(code: StatusCode, kind: &'static str, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let cache = HeaderValue::from_static("no-cache, private");
    headers.insert(header::CACHE_CONTROL, cache);
    response
}
