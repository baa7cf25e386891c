//! An API server that answers what a test says, and the command that asks it.

use std::{path::Path, process::Stdio, sync::Arc};

use axum::{
    Json, Router,
    http::{StatusCode, Uri},
    response::IntoResponse as _,
    routing::get,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, process::Command};

/// What the command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A server, for as long as the test runs.
pub(crate) struct Stub {
    pub(crate) kubeconfig: String,
    _dir: TempDir,
}

impl Stub {
    /// Serves `/version`, and for every other path what `answer` says: a status code and
    /// a body, or an empty list.
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
            async move { (code, Json(body)).into_response() }
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

/// A kubeconfig for a server.
pub(crate) fn kubeconfig(server: &str) -> (TempDir, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("config");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
         clusters: [{{name: test, cluster: {{server: \"{server}\"}}}}]\n\
         users: [{{name: me, user: {{token: t}}}}]\n\
         contexts: [{{name: test, context: {{cluster: test, user: me}}}}]\n"
    );
    std::fs::write(&path, text).expect("it can be written");
    let path = path.to_str().expect("the path is text").to_owned();
    (dir, path)
}

/// Runs it, with no terminal.
pub(crate) async fn netting(arguments: &str) -> Said {
    let program = Path::new(env!("CARGO_BIN_EXE_netting"));
    let output = Command::new(program)
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .output()
        .await
        .expect("it runs");
    Said {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}
