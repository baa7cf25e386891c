//! The real catalog and webhook, and an API server that tells of one Service with one
//! endpoint.

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

/// The processes, on the node.
pub(crate) struct ControlPlane {
    api: Option<Server>,
    _catalog: Server,
    webhook: Option<Server>,
    kubeconfig: PathBuf,
    server: String,
    token: String,
}

/// Where the webhook's admin port is: the catalog's is beside it.
pub(crate) const WEBHOOK_ADMIN: &str = "10.0.0.1:15021";
const WEBHOOK: &str = "https://127.0.0.1:8443/mutate";

impl ControlPlane {
    /// Starts API server and catalog within the node, and waits until the catalog serves.
    pub(crate) fn start() -> Self {
        Self::telling("prometheus")
    }

    /// The same with exporters.
    pub(crate) fn telling(telemetry: &str) -> Self {
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
            send("POST", &format!("{server}/{path}"), &token, &object);
        }
        let catalog = part(
            "netting-catalog",
            &kubeconfig,
            telemetry,
            "127.0.0.1:15020",
            &[],
        );
        Self {
            api: Some(api),
            _catalog: catalog,
            webhook: None,
            kubeconfig,
            server,
            token,
        }
    }

    /// Starts the webhook, too.
    pub(crate) fn with_webhook(mut self, telemetry: &str) -> Self {
        let admin = "--admin-port=15021";
        let started = part(
            "netting-webhook",
            &self.kubeconfig,
            telemetry,
            WEBHOOK_ADMIN,
            &[admin],
        );
        self.webhook = Some(started);
        self
    }

    /// Replaces an object.
    pub(crate) fn put(&self, path: &str, object: &Value) {
        send(
            "PUT",
            &format!("{}/{path}", self.server),
            &self.token,
            object,
        );
    }

    /// Asks the webhook about a pod, as an API server does.
    pub(crate) fn admit(&self) {
        let review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "a",
                "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "resource": {"group": "", "version": "v1", "resource": "pods"},
                "namespace": "shop",
                "operation": "CREATE",
                "object": {
                    "metadata": {"name": "web", "labels": {"netting.dev/inject": "enabled"}},
                    "spec": {"containers": [{"name": "app", "image": "app"}]},
                },
            },
        });
        let answer = send("POST", WEBHOOK, &self.token, &review);
        assert!(answer.contains("\"patch\""), "{answer}");
    }

    /// From now on, nothing is there where the API server was.
    pub(crate) fn api_ends(&mut self) {
        self.api = None;
    }
}

/// A part of the control plane that is ready.
fn part(
    name: &'static str,
    kubeconfig: &Path,
    telemetry: &str,
    admin: &str,
    flags: &[&str],
) -> Server {
    let mut command = Command::new(binary(name));
    command
        .args(flags)
        .env("KUBECONFIG", kubeconfig)
        .env("NETTING_TELEMETRY", telemetry)
        .env("NETTING_POD_NAME", format!("{name}-1"))
        .env("NETTING_POD_NAMESPACE", "netting");
    let mut server = Server::start(name, directory(), &mut command);
    server.until("it is ready", || {
        let ready = curl(&["--fail", &format!("http://{admin}/ready")]);
        ready.status.success().then_some(())
    });
    server
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

fn objects() -> [(&'static str, Value); 5] {
    let ports = json!([{"name": "http", "port": 80}]);
    [
        ("api/v1/namespaces", json!({"metadata": {"name": "shop"}})),
        (
            "api/v1/namespaces",
            json!({"metadata": {"name": "netting"}}),
        ),
        // The webhook is ready once its certificate is trusted.
        (
            "apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
            json!({"metadata": {"name": "netting"}, "webhooks": [{
                "name": "pod.inject.netting.dev",
                "admissionReviewVersions": ["v1"],
                "clientConfig": {"url": WEBHOOK},
                "sideEffects": "None",
            }]}),
        ),
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

/// Returns the answer, which says that it went well.
fn send(method: &str, url: &str, token: &str, object: &Value) -> String {
    let output = curl(&[
        "--request",
        method,
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
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{url}: {said}");
    said
}

fn curl(arguments: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--max-time", "30"])
        .args(arguments)
        .stdin(Stdio::null());
    command.output().expect("curl is installed")
}
