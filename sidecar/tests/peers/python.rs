//! Python's peers, from an environment of their own.

use std::{path::PathBuf, process::Command};

use crate::{
    harness::namespace::Namespace,
    pods::{Pods, SERVICE},
    process::{Server, directory},
};

/// Where `hack/test.sh peers` installs what `requirements.txt` names.
const INTERPRETER: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/../peers/venv/bin/python3");

fn interpreter() -> PathBuf {
    PathBuf::from(INTERPRETER).canonicalize().map_or_else(
        |error| panic!("{INTERPRETER}: {error}; `hack/test.sh peers` installs it"),
        // The link itself says where the environment is, not what it points to.
        |_| INTERPRETER.into(),
    )
}

fn path_of(script: &str) -> PathBuf {
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/python");
    PathBuf::from(scripts).join(script)
}

/// A client, whose first argument is the Service's address.
pub(crate) fn script(pods: &Pods, name: &str) -> Command {
    let interpreter = interpreter();
    let mut command = pods.client_command(interpreter.to_str().expect("its path is text"));
    command.arg(path_of(name)).arg(SERVICE);
    command
}

/// A server in the pod.
pub(crate) fn server(pod: &Namespace, port: u16, name: &str) -> Server {
    let interpreter = interpreter();
    let mut command = pod.command(&[], interpreter.to_str().expect("its path is text"));
    command.arg(path_of(name)).arg(port.to_string());
    Server::start(pod, port, directory(), &mut command)
}
