//! Backends for all exporters, on the node, which take everything and keep nothing.

use std::{
    fs,
    io::Read as _,
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, absolute},
    process::Command,
    thread,
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::{args::Args, network::NODE, process::Process};

/// All exporters that send; the second of a kind is counted.
const EXPORTERS: [&str; 8] = [
    "dogstatsd",
    "graphite",
    "influxdb",
    "otlp",
    "otlp-2",
    "remote-write",
    "statsd",
    "zipkin",
];
const HTTP_PORT: u16 = 9400;
const GRPC_PORT: u16 = 4317;
/// What every gRPC method answers with: a message without a byte (its length's prefix).
const NO_MESSAGE: [u8; 5] = [0; 5];

/// Kept for as long as anything is sent.
pub(crate) struct Backends {
    _nginx: Process,
    /// Never read: the kernel throws away what doesn't fit.
    datagrams: UdpSocket,
    lines: SocketAddr,
}

impl Backends {
    /// Starts them.
    pub(super) fn start(args: &Args, logs: &Path) -> anyhow::Result<Self> {
        let scratch = absolute(&args.scratch)?;
        fs::write(scratch.join("no-message"), NO_MESSAGE)?;
        let file = scratch.join("backends.conf");
        fs::write(&file, configuration(&scratch.to_string_lossy()))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig=KILL", "nginx", "-e", "stderr", "-p"]);
        command.arg(&scratch).arg("-c").arg(&file);
        let mut nginx = Process::start("nginx-backends", &mut command, logs)?;
        nginx.wait_until("its listeners", || {
            TcpStream::connect((NODE, HTTP_PORT))?;
            Ok(Some(TcpStream::connect((NODE, GRPC_PORT))?))
        })?;
        let lines = TcpListener::bind((NODE, 0)).context("no port for lines")?;
        let addr = lines.local_addr()?;
        // It ends with this process.
        thread::spawn(move || lines.incoming().flatten().for_each(drain));
        Ok(Self {
            _nginx: nginx,
            datagrams: UdpSocket::bind((NODE, 0)).context("no port for datagrams")?,
            lines: addr,
        })
    }

    /// The value of `--telemetry` that names them all, each told every second.
    pub(crate) fn as_telemetry(&self) -> String {
        let http = format!("http://{NODE}:{HTTP_PORT}");
        let datagrams = self.datagrams.local_addr().expect("it is bound");
        let lines = self.lines;
        [
            "prometheus".to_owned(),
            format!("otlp=http://{NODE}:{GRPC_PORT};interval=1s"),
            format!("otlp-http={http};interval=1s"),
            format!("remote-write={http}/api/v1/write;interval=1s"),
            format!("statsd=udp://{datagrams};interval=1s"),
            format!("dogstatsd=udp://{datagrams};interval=1s"),
            format!("graphite=tcp://{lines};interval=1s"),
            format!("influxdb={http}/write?db=bench;interval=1s"),
            format!("zipkin={http}/api/v2/spans"),
        ]
        .join(",")
    }
}

/// Looks at what a sidecar says of its exporters: one entry for each and each signal.
pub(super) fn check_sent(exporters: &Value) -> anyhow::Result<()> {
    let exporters: Vec<_> = exporters.as_array().into_iter().flatten().collect();
    for exporter in &exporters {
        ensure!(
            exporter["last_failure"].is_null(),
            "it could not send: {exporter}"
        );
    }
    for name in EXPORTERS {
        let mut of_name = exporters.iter().filter(|exporter| exporter["name"] == name);
        let has_sent = of_name.any(|exporter| exporter["items_sent"].as_u64() > Some(0));
        ensure!(has_sent, "{name} has sent nothing: {exporters:?}");
    }
    Ok(())
}

/// Reads until the other side ends, or fails, which is as good.
fn drain(mut connection: TcpStream) {
    thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while connection.read(&mut buffer).is_ok_and(|read| read > 0) {}
    });
}

fn configuration(scratch: &str) -> String {
    // nginx answers no POST with a file, unless as the page of that error.
    format!(
        "daemon off;
master_process off;
worker_processes 1;
error_log stderr;
pid backends.pid;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_max_body_size 64m;
  keepalive_requests 1000000000;
  server {{ listen {NODE}:{HTTP_PORT}; location / {{ return 200; }} }}
  server {{
    listen {NODE}:{GRPC_PORT} http2;
    root {scratch};
    default_type application/grpc;
    add_trailer grpc-status 0 always;
    error_page 405 =200 /no-message;
    location / {{ try_files /no-message =404; }}
  }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sent(change: impl FnOnce(&mut Vec<Value>)) -> Result<(), String> {
        let of_name = |name| json!({"name": name, "items_sent": 7, "last_failure": null});
        let mut exporters: Vec<_> = EXPORTERS.map(of_name).into();
        change(&mut exporters);
        check_sent(&exporters.into()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_exporter_that_is_missing_or_sent_nothing_or_failed_is_told() {
        assert_eq!(sent(|_| ()), Ok(()));
        let is_nothing = |sent: Result<(), String>| {
            sent.is_err_and(|why| why.starts_with("dogstatsd has sent nothing"))
        };
        assert!(is_nothing(sent(|all| drop(all.remove(0)))));
        assert!(is_nothing(sent(|all| all[0]["items_sent"] = 0.into())));
        let failed = sent(|all| all[7]["last_failure"] = "connect".into());
        assert!(failed.is_err_and(|why| why.starts_with("it could not send: ")));
    }
}
