//! An API server that answers what a test says, for as long as the test runs.

use std::sync::Arc;

use axum::{
    Json, Router,
    http::{StatusCode, Uri},
    response::IntoResponse as _,
    routing::get,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::command::kubeconfig;

/// A server, for as long as the test runs.
pub(crate) struct Stub {
    pub(crate) kubeconfig: String,
    _dir: TempDir,
}

impl Stub {
    /// Serves `/version`, and for every other path what `answer` says: a status code and
    /// a body (text is sent as it is), or an empty list.
    pub(crate) async fn serve(
        version: Value,
        answer: impl Fn(&str) -> Option<(u16, Value)> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let answer = Arc::new(answer);
        let other = move |uri: Uri| {
            let nothing =
                || json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": []});
            let (code, body) = answer(uri.path()).unwrap_or_else(|| (200, nothing()));
            let code = StatusCode::from_u16(code).expect("a status code");
            async move {
                match body {
                    // A log is text.
                    Value::String(text) => (code, text).into_response(),
                    body => (code, Json(body)).into_response(),
                }
            }
        };
        let router = Router::new()
            .route("/version", get(async move || Json(version)))
            .fallback(other);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let (dir, kubeconfig) = kubeconfig(&format!("http://{address}"));
        Self {
            kubeconfig,
            _dir: dir,
        }
    }
}
