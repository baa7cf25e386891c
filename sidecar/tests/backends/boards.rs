//! The dashboards and alerts over a mesh of real processes: two sidecars, the catalog and
//! the webhook, with traffic through them in which not all goes well; and applications
//! that have metrics of the same names.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    thread,
};

use netting_proto::v1::{self, catalog_client::CatalogClient, stream_request};
use serde_json::{Value, json};
use tonic::transport::Endpoint;

use crate::{
    NODE, application,
    asked::{Asked, BOARDS, all, board, documentation, of_board, text},
    backends::Prometheus,
    collector,
    control_plane::{ControlPlane, WEBHOOK_ADMIN},
    harness::{
        catalog::{self, Known},
        namespace::{Namespace, dst},
    },
    pods::{ENDPOINT, Pods, SERVICE},
    process::{directory, until_eq},
    query::{json as answer, promql},
    strangers,
};

/// What the variables of the dashboards stand for here. What is asked of a workload, the
/// one has data for or the other.
const VARIABLES: [(&str, &str); 3] = [
    ("$__rate_interval", "15s"),
    ("$namespace", "shop"),
    ("$service", "orders"),
];
const WORKLOADS: [&str; 2] = ["web", "orders"];

/// One backend that takes what it is told, and one that is not there.
const TELEMETRY: &str =
    "prometheus, statsd=udp://10.0.0.1:8125;interval=1s, dogstatsd=udp://10.0.0.1:8126;interval=1s";
/// Answered by nobody once the API server has ended.
const OF_NO_API: &str = "netting_catalog_watch_errors_total";

const SLICE: &str = "apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/orders-1";
const HTTP: u16 = 80;
const GRPC: u16 = 50051;
const TCP: u16 = 9000;
/// Where something that is not of the mesh is scraped.
const STRANGER: u16 = 9081;
/// Where a Collector is.
const COLLECTOR: u16 = 8889;
/// All of the mesh.
const TARGETS: [&str; 4] = [
    "10.0.0.1:15020",
    WEBHOOK_ADMIN,
    "10.0.0.2:15020",
    "10.0.0.3:15020",
];

fn ports() -> Value {
    json!([
        {"name": "http", "port": HTTP},
        {"name": "grpc", "port": GRPC},
        {"name": "tcp", "port": TCP},
    ])
}

/// Its requests are made again if they fail, and one of its annotations is no good.
fn service() -> Value {
    json!({
        "metadata": {"name": "orders", "annotations": {
            "netting.dev/retry-on": "5xx",
            "netting.dev/eject-after": "2",
            "netting.dev/eject-for": "200ms",
            "netting.dev/timeout": "soon",
        }},
        "spec": {"clusterIP": SERVICE, "ports": ports()},
    })
}

/// The server's pod, and perhaps another endpoint, where nobody listens.
fn slice(has_another: bool) -> Value {
    let mut addresses = vec![ENDPOINT];
    addresses.extend(has_another.then_some(NODE));
    let endpoint = |address| json!({"addresses": [address], "conditions": {"ready": true}});
    json!({
        "metadata": {"name": "orders-1", "labels": {"kubernetes.io/service-name": "orders"}},
        "addressType": "IPv4",
        "endpoints": addresses.into_iter().map(endpoint).collect::<Vec<_>>(),
        "ports": ports(),
    })
}

/// Sends back what it gets.
fn echo(listener: TcpListener) {
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut read = stream.try_clone().expect("a socket can be cloned");
            thread::spawn(move || std::io::copy(&mut read, &mut stream));
        }
    });
}

/// A stream to a catalog, from within a namespace: with these requests, until it ends.
fn stream(from: &Namespace, catalog: &str, requests: Vec<v1::StreamRequest>) {
    let catalog = format!("http://{catalog}");
    from.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be built");
        runtime.block_on(async {
            let endpoint = Endpoint::from_shared(catalog).expect("it is a URL");
            let channel = endpoint.connect().await.expect("it listens");
            let mut client = CatalogClient::new(channel);
            let Ok(answers) = client.stream(tokio_stream::iter(requests)).await else {
                return;
            };
            let mut answers = answers.into_inner();
            while let Ok(Some(_)) = answers.message().await {}
        });
    });
}

/// Two pods of the mesh, their node with the control plane, and what goes on among them.
struct Mesh {
    pods: Pods,
    control_plane: ControlPlane,
    /// Whatever is sent there has arrived.
    _statsd: UdpSocket,
    has_another: bool,
}

impl Mesh {
    fn start() -> Self {
        let mut pods = Pods::new();
        application::serve(pods.server.listen(dst("0.0.0.0", HTTP)));
        echo(pods.server.listen(dst("0.0.0.0", TCP)));
        strangers::serve(pods.server.listen(dst("0.0.0.0", 9080)));
        strangers::serve(pods.node.listen(dst(NODE, STRANGER)));
        let grpc = pods.server.listen(dst("0.0.0.0", GRPC));
        thread::spawn(move || catalog::serve(grpc, Known::default()));
        // Of the node itself, which no Service leads to.
        application::serve(pods.node.listen(dst(NODE, 8080)));
        let statsd = pods.node.run(|| UdpSocket::bind((NODE, 8125)));
        let control_plane = pods
            .node
            .run(|| ControlPlane::telling(TELEMETRY).with_webhook(TELEMETRY));
        let client = [
            ("NETTING_TELEMETRY", TELEMETRY),
            ("NETTING_POD_NAME", "web-1"),
            ("NETTING_POD_NAMESPACE", "shop"),
            ("NETTING_WORKLOAD_NAME", "web"),
            // One call is all that it allows.
            ("NETTING_HTTP2_STREAMS_MAX", "1"),
        ];
        let probes = r#"{"/probe/app/liveness": {"tcpSocket": {"port": 80}, "port": 80}}"#;
        let server = [
            ("NETTING_TELEMETRY", TELEMETRY),
            ("NETTING_POD_NAME", "orders-1"),
            ("NETTING_POD_NAMESPACE", "shop"),
            ("NETTING_WORKLOAD_NAME", "orders"),
            ("NETTING_PROBES", probes),
            ("NETTING_APPLICATION_METRICS", "9080/metrics"),
        ];
        pods.start_sidecars([&client, &server]);
        let mut mesh = Self {
            pods,
            control_plane,
            _statsd: statsd.expect("a free port"),
            has_another: false,
        };
        mesh.pods.node.run(|| {
            let path = "api/v1/namespaces/shop/services/orders";
            mesh.control_plane.put(path, &service());
        });
        mesh.changes();
        mesh
    }

    /// An endpoint comes, or goes.
    fn changes(&mut self) {
        self.has_another = !self.has_another;
        let slice = slice(self.has_another);
        self.pods.node.run(|| self.control_plane.put(SLICE, &slice));
    }

    /// Everything happens once more that is counted.
    fn goes_on(&self) {
        let Pods { client, node, .. } = &self.pods;
        for path in ["/200", "/503", "/404"] {
            // Whatever comes of it.
            let _ = application::ask(&self.pods.connect(HTTP), path, "");
        }
        stream(client, &format!("{SERVICE}:{GRPC}"), Vec::new());
        let mut echoed = [0; 4];
        let mut stream_of_bytes = self.pods.connect(TCP);
        let asked = stream_of_bytes.write_all(b"\0ask");
        let _ = asked.and_then(|()| stream_of_bytes.read_exact(&mut echoed));
        let around = client.run(|| TcpStream::connect(dst(NODE, 8080)));
        let _ = application::ask(&around.expect("the node listens"), "/200", "");
        // It is the sidecar's own.
        for at in [dst(ENDPOINT, 15006), dst("10.0.0.2", 15001)] {
            let refused = node.run(|| TcpStream::connect(at));
            let _ = refused.and_then(|mut stream| stream.read(&mut [0]));
        }
        let probed = node.run(|| TcpStream::connect(dst(ENDPOINT, 15020)));
        let probe = "/probe/app/liveness";
        let _ = application::ask(&probed.expect("it listens"), probe, "Connection: close\r\n");
        self.strange_sidecar();
        node.run(|| self.control_plane.admit());
    }

    /// One that asks the catalog for what is no address, and goes.
    fn strange_sidecar(&self) {
        let hello = v1::Hello {
            namespace: "shop".to_owned(),
            pod: "strange-1".to_owned(),
            ..v1::Hello::default()
        };
        let nowhere = v1::Subscribe {
            subscriptions: vec![v1::Subscription::default()],
        };
        let kinds = [
            stream_request::Kind::Hello(hello),
            stream_request::Kind::Subscribe(nowhere),
        ];
        let requests = kinds.map(|kind| v1::StreamRequest { kind: Some(kind) });
        stream(&self.pods.node, "127.0.0.1:15010", requests.into());
    }
}

/// Prometheus on the node, which scrapes all four, and a stranger, and has the alerts.
fn prometheus() -> Prometheus {
    let directory = directory();
    let alerts = documentation("telemetry/alerts.yaml");
    fs::write(directory.path().join("alerts.yaml"), alerts).expect("it can be written");
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [alerts.yaml]\n\
         scrape_configs:\n- job_name: scraped\n  static_configs: [{{targets: {TARGETS:?}}}]\n\
         - job_name: others\n  static_configs: [{{targets: [\"{NODE}:{STRANGER}\"]}}]\n"
    );
    Prometheus::configured(directory, &config)
}

fn of_here(expression: &str) -> String {
    let replace = |text: String, (from, to): (&str, &str)| text.replace(from, to);
    VARIABLES.into_iter().fold(expression.to_owned(), replace)
}

fn of_workloads(expression: &str) -> Vec<String> {
    let query = of_here(expression);
    let of = |workload: &&str| query.replace("$workload", workload);
    WORKLOADS.iter().map(of).collect()
}

fn has_data(port: u16, asked: &Asked) -> bool {
    of_workloads(&asked.expression).iter().any(|query| {
        let value = promql(port, query);
        value.is_some_and(f64::is_finite)
    })
}

/// The alerts by their names, with what is wrong about how they are evaluated.
fn evaluated(port: u16) -> Vec<(String, Value)> {
    let rules = answer(port, "/api/v1/rules", &[]).unwrap_or_default();
    let groups = all(&rules["data"], "groups");
    let rules = groups.iter().flat_map(|group| all(group, "rules"));
    rules
        .filter(|rule| rule["health"] != "unknown")
        .map(|rule| (text(rule, "name").to_owned(), rule["lastError"].clone()))
        .collect()
}

#[test]
fn every_query_of_the_dashboards_has_data_of_real_processes() {
    let mut mesh = Mesh::start();
    let prometheus = mesh.pods.node.run(prometheus);
    let _statsd = mesh
        .pods
        .node
        .run(|| std::net::UdpSocket::bind((NODE, 8125)));
    let at = dst(NODE, COLLECTOR);
    let collected = mesh.pods.node.run(|| {
        collector::serve(at, &TARGETS);
        collector::scraped(at)
    });
    let all = BOARDS.into_iter().flat_map(of_board);
    let (of_no_api, asked): (Vec<_>, Vec<_>) =
        all.partition(|asked| asked.expression.contains(OF_NO_API));
    assert_eq!(of_no_api.len(), 1);
    let ports = [prometheus.port, collected.port];
    let mut without: Vec<_> = ports
        .iter()
        .flat_map(|port| asked.iter().map(move |asked| (*port, asked)))
        .collect();
    let said = |(port, asked): &(u16, &Asked)| {
        let query = of_here(&asked.expression);
        let by = if *port == collected.port {
            " by a Collector"
        } else {
            ""
        };
        format!("{} ({}){by}: {query}", asked.whose, asked.legend)
    };
    until_eq("queries without data", Vec::<String>::new(), || {
        mesh.goes_on();
        mesh.changes();
        let node = &mesh.pods.node;
        node.run(|| without.retain(|(port, asked)| !has_data(*port, asked)));
        without.iter().map(said).collect()
    });
    mesh.pods
        .node
        .run(|| strangers::are_counted_by_no_query(prometheus.port, of_workloads));
    mesh.pods
        .node
        .run(|| every_variable_has_its_value(prometheus.port));
    mesh.pods
        .node
        .run(|| every_alert_is_evaluated(prometheus.port));
    mesh.control_plane.api_ends();
    until_eq(OF_NO_API, true, || {
        mesh.pods
            .node
            .run(|| has_data(prometheus.port, &of_no_api[0]))
    });
}

fn every_alert_is_evaluated(port: u16) {
    let alerts = documentation("telemetry/alerts.yaml");
    let count = alerts.matches("\n  - alert: ").count();
    until_eq("alerts that are evaluated", count, || {
        let evaluated = evaluated(port);
        for (name, error) in &evaluated {
            assert_eq!(error, &Value::Null, "{name}");
        }
        evaluated.len()
    });
}

fn every_variable_has_its_value(port: u16) {
    for name in BOARDS {
        for variable in &all(&board(name)["templating"], "list")[1..] {
            let query = of_here(text(&variable["query"], "query"));
            let inner = query
                .trim_start_matches("label_values(")
                .trim_end_matches(')');
            let (selector, label) = inner.rsplit_once(", ").expect("a selector and a label");
            let query = format!("group by ({label}) ({selector})");
            let answer = answer(port, "/api/v1/query", &[("query", &query)]);
            let answer = answer.expect("Prometheus answers in JSON");
            let values: Vec<_> = all(&answer["data"], "result")
                .iter()
                .map(|series| text(&series["metric"], label))
                .collect();
            let expected = match text(variable, "name") {
                "workload" => WORKLOADS.to_vec(),
                variable => VARIABLES
                    .iter()
                    .filter(|(name, _)| name[1..] == *variable)
                    .map(|(_, value)| *value)
                    .collect(),
            };
            let has = |value: &&str| values.contains(value);
            assert!(expected.iter().all(has), "{name}: {query}: {values:?}");
        }
    }
}
