//! The command, run as a person runs it.

use std::{path::Path, process::Stdio};

use tempfile::TempDir;
use tokio::process::Command;

/// What the command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
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
    run(command().args(arguments.split_whitespace())).await
}

/// The command, without what the environment says of clusters.
pub(crate) fn command() -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_netting")));
    for variable in ["KUBECONFIG", "NETTING_IMAGE", "NETTING_SYSTEM_NAMESPACE"] {
        command.env_remove(variable);
    }
    command
}

/// Runs it to its end.
pub(crate) async fn run(command: &mut Command) -> Said {
    let output = command
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
