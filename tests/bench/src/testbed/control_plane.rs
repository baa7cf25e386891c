//! The real catalog, and an API server that tells it of one Service with one endpoint.

use std::{
    fs,
    io::Write as _,
    net::IpAddr,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::{args::Args, process::Process, scenario::Protocol};

use super::SERVICE;

/// Where sidecars find the catalog, on the node.
pub(super) const GRPC_PORT: u16 = 15010;

/// Both processes, on the node.
pub(super) struct ControlPlane {
    _api: Process,
    _catalog: Process,
}

impl ControlPlane {
    /// Starts them, and waits until they know the Service, whose endpoint is `server`.
    pub(super) fn start(args: &Args, logs: &Path, server: IpAddr) -> anyhow::Result<Self> {
        let kubeconfig = args.scratch.join("kubeconfig");
        // One that an earlier run left would be of another server.
        let _ = fs::remove_file(&kubeconfig);
        let mut command = on_node(&args.control_plane.join("netting-sandbox"));
        command.args(["api", "--kubeconfig"]).arg(&kubeconfig);
        let mut api = Process::start("netting-sandbox-api", &mut command, logs)?;
        let config = api.wait_until("its kubeconfig", || {
            Ok(Some(fs::read_to_string(&kubeconfig)?))
        })?;
        create_all(&serde_saphyr::from_str(&config)?, server)?;

        let mut command = on_node(&args.control_plane.join("netting-catalog"));
        command.env("KUBECONFIG", &kubeconfig);
        let mut catalog = Process::start("netting-catalog", &mut command, logs)?;
        catalog.wait_until("the catalog to be ready", || {
            let url = "http://127.0.0.1:15020/ready";
            curl(&[url], None).map(Some)
        })?;
        Ok(Self {
            _api: api,
            _catalog: catalog,
        })
    }
}

fn on_node(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.arg("--pdeathsig=KILL").arg(program);
    command
}

fn create_all(kubeconfig: &Value, server: IpAddr) -> anyhow::Result<()> {
    let text = |pointer| kubeconfig.pointer(pointer).and_then(Value::as_str);
    let api = text("/clusters/0/cluster/server").context("the kubeconfig has no server")?;
    let token = text("/users/0/user/token").context("the kubeconfig has no token")?;
    let objects = [
        ("api/v1/namespaces", json!({"metadata": {"name": "bench"}})),
        ("api/v1/namespaces/bench/services", service()),
        (
            "apis/discovery.k8s.io/v1/namespaces/bench/endpointslices",
            slice(server),
        ),
    ];
    for (path, object) in objects {
        let authorization = format!("Authorization: Bearer {token}");
        let url = format!("{api}/{path}");
        // The server's certificate is as new as its process, and nothing else can be listening
        // in a network namespace of our own.
        let arguments = ["--insecure", "--header", &authorization, &url];
        curl(&arguments, Some(&object)).with_context(|| format!("could not create {object}"))?;
    }
    Ok(())
}

fn service() -> Value {
    json!({
        "metadata": {"name": "nginx"},
        "spec": {"clusterIP": SERVICE, "ports": ports(|protocol| protocol.ports().service)},
    })
}

fn slice(server: IpAddr) -> Value {
    json!({
        "metadata": {"name": "nginx-1", "labels": {"kubernetes.io/service-name": "nginx"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [server], "conditions": {"ready": true}}],
        "ports": ports(|protocol| protocol.ports().nginx),
    })
}

fn ports(port: impl Fn(Protocol) -> u16) -> Value {
    json!([
        {"name": "http", "port": port(Protocol::Http1)},
        {"name": "http2", "port": port(Protocol::Http2), "appProtocol": "kubernetes.io/h2c"},
    ])
}

/// Sends `object` (or nothing) and returns the answer, which must be a good one.
fn curl(arguments: &[&str], object: Option<&Value>) -> anyhow::Result<String> {
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--fail-with-body",
        "--max-time",
        "10",
    ]);
    if object.is_some() {
        command.args(["--header", "Content-Type: application/json", "--data", "@-"]);
    }
    let mut child = command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("could not start curl")?;
    let stdin = child.stdin.take();
    if let (Some(mut stdin), Some(object)) = (stdin, object) {
        stdin.write_all(object.to_string().as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    ensure!(
        output.status.success(),
        "{}{}",
        text(&output.stderr),
        text(&output.stdout)
    );
    Ok(text(&output.stdout))
}
