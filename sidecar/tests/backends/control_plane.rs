//! The real catalog, and an API server that tells it of one Service with one endpoint.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use crate::{
    pods::{ENDPOINT, SERVICE},
    process::{Server, directory},
};

/// Both processes, on the node.
pub(crate) struct ControlPlane {
    _api: Server,
    _catalog: Server,
}

impl ControlPlane {
    /// Starts them within the node, and waits until the catalog serves.
    pub(crate) fn start() -> Self {
        let directory_of_api = directory();
        let kubeconfig = directory_of_api.path().join("kubeconfig");
        let mut command = Command::new(binary("netting-sandbox"));
        command.args(["api", "--kubeconfig"]).arg(&kubeconfig);
        let mut api = Server::start("netting-sandbox", directory_of_api, &mut command);
        let (server, token) = api.until("it says how it is reached", || {
            let config = fs::read_to_string(&kubeconfig).ok()?;
            Some((field(&config, "server")?, field(&config, "token")?))
        });
        for (path, object) in objects() {
            create(&format!("{server}/{path}"), &token, &object);
        }
        let mut command = Command::new(binary("netting-catalog"));
        command
            .env("KUBECONFIG", &kubeconfig)
            .env("NETTING_POD_NAME", "netting-catalog-1")
            .env("NETTING_POD_NAMESPACE", "netting");
        let mut catalog = Server::start("netting-catalog", directory(), &mut command);
        catalog.until("it is ready", || {
            curl(&["--fail", "http://127.0.0.1:15020/ready"])
                .status
                .success()
                .then_some(())
        });
        Self {
            _api: api,
            _catalog: catalog,
        }
    }
}

/// That of `NETTING_BIN_DIR`, or what cargo has built beside this test.
fn binary(name: &str) -> PathBuf {
    let built = concat!(env!("CARGO_TARGET_TMPDIR"), "/../debug");
    let directory = std::env::var("NETTING_BIN_DIR").unwrap_or_else(|_| built.to_owned());
    let path = Path::new(&directory).join(name);
    assert!(
        path.exists(),
        "{} is missing; `hack/test.sh telemetry` builds it",
        path.display()
    );
    path
}

/// The first value of that name in a kubeconfig, in braces or on a line of its own.
fn field(config: &str, name: &str) -> Option<String> {
    let (_, rest) = config.split_once(&format!("{name}: "))?;
    let value = rest.trim_start_matches('"');
    Some(value.split(['"', ',', '}', '\n']).next()?.to_owned())
}

fn objects() -> [(&'static str, Value); 3] {
    let ports = json!([{"name": "http", "port": 80}]);
    [
        ("api/v1/namespaces", json!({"metadata": {"name": "shop"}})),
        (
            "api/v1/namespaces/shop/services",
            json!({
                "metadata": {"name": "orders"},
                "spec": {"clusterIP": SERVICE, "ports": ports},
            }),
        ),
        (
            "apis/discovery.k8s.io/v1/namespaces/shop/endpointslices",
            json!({
                "metadata": {"name": "orders-1", "labels": {"kubernetes.io/service-name": "orders"}},
                "addressType": "IPv4",
                "endpoints": [{"addresses": [ENDPOINT], "conditions": {"ready": true}}],
                "ports": ports,
            }),
        ),
    ]
}

fn create(url: &str, token: &str, object: &Value) {
    let output = curl(&[
        // The server's certificate is as new as its process.
        "--insecure",
        "--fail-with-body",
        "--header",
        &format!("Authorization: Bearer {token}"),
        "--header",
        "Content-Type: application/json",
        "--data",
        &object.to_string(),
        url,
    ]);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{url}: {said}");
}

fn curl(arguments: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--max-time", "30"])
        .args(arguments)
        .stdin(Stdio::null());
    command.output().expect("curl is installed")
}
