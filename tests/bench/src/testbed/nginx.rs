//! What answers.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, absolute},
};

use anyhow::Context as _;

use crate::{network::Pod, process::Process, scenario::Protocol};

/// A small answer, as most of an API's are.
const BODY_BYTES: usize = 1024;

/// Starts it in `pod`, for both protocols.
pub(super) fn start(pod: &Pod, scratch: &Path, logs: &Path) -> anyhow::Result<Process> {
    let name = format!("nginx-{}", pod.name);
    let file = absolute(scratch.join(format!("{name}.conf")))?;
    fs::write(&file, configuration(&name)).with_context(|| format!("could not write {file:?}"))?;
    let mut command = pod.command(&[]);
    command
        .args(["nginx", "-e", "stderr", "-p"])
        .arg(absolute(scratch)?)
        .arg("-c")
        .arg(&file);
    let mut nginx = Process::start(&name, &mut command, logs)?;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let addr = SocketAddr::new(pod.addr, protocol.ports().nginx);
        nginx.wait_for_listener(pod, addr)?;
    }
    Ok(nginx)
}

fn configuration(name: &str) -> String {
    let (http1, http2) = (Protocol::Http1.ports().nginx, Protocol::Http2.ports().nginx);
    let body = "x".repeat(BODY_BYTES);
    format!(
        "daemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile 65536;
error_log stderr;
pid {name}.pid;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  server {{
    listen {http1};
    listen {http2} http2;
    location / {{ return 200 '{body}'; }}
  }}
}}
"
    )
}
