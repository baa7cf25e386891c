//! Spans as Zipkin's published schema has them, by a validator that knows nothing of ours.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::process::python;

/// What a validator says is wrong with a list of spans.
pub(crate) fn judged(spans: &Value) -> Result<(), String> {
    let mut command: Command = python("zipkin.py");
    let piped = command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut judge = piped.spawn().expect("`hack/test.sh telemetry` installs it");
    let mut stdin = judge.stdin.take().expect("it is piped");
    stdin
        .write_all(spans.to_string().as_bytes())
        .expect("it reads");
    drop(stdin);
    let output = judge.wait_with_output().expect("it ends");
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
