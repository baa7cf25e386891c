//! The dashboards and alerts, against Prometheus and its promtool: every query has data,
//! and the alerts fire when they should.

use std::{
    process::Command,
    sync::Arc,
    time::{Duration, SystemTime},
};

use netting_runtime::Drain;
use netting_telemetry::{
    Metrics,
    admission::CertificateMetrics,
    config::{Rehearsal, Telemetry},
    export::Exporters,
    registry::Settings,
    resource::{Pod, of_container},
};
use tokio::runtime::Runtime;

use crate::{
    asked::{Asked, BOARDS, all, board, of_board, text},
    backends::Prometheus,
    everything::serve,
    instruments,
    process::{file, free_udp_port, until_eq},
    query::{json, promql},
};

/// What the variables of the dashboards stand for here.
const VARIABLES: [(&str, &str); 4] = [
    ("$__rate_interval", "30s"),
    ("$namespace", "shop"),
    ("$service", "reviews"),
    ("$workload", "web"),
];

fn of_here(expression: &str) -> String {
    let replace = |text: String, (from, to): (&str, &str)| text.replace(from, to);
    VARIABLES.into_iter().fold(expression.to_owned(), replace)
}

/// A mesh of one sidecar, one webhook and one catalog.
struct Mesh {
    sidecar: Metrics,
    webhook: Metrics,
    catalog: Metrics,
}

impl Mesh {
    fn new() -> Self {
        let process = |namespace, workload, container, part| {
            let pod = Pod {
                name: &format!("{workload}-1"),
                namespace,
                node: "n1",
                workload_kind: "Deployment",
                workload,
            };
            let resource = of_container(pod, container, "0.0.0");
            Metrics::of(Arc::clone(&resource), Settings::default(), part, "0.0.0")
        };
        Self {
            sidecar: process("shop", "web", "netting-sidecar", "sidecar"),
            webhook: process("netting", "netting-webhook", "netting-webhook", "webhook"),
            catalog: process("netting", "netting-catalog", "netting-catalog", "catalog"),
        }
    }

    /// Does once more all that is counted.
    fn goes_on(&self) {
        instruments::sidecar(&self.sidecar);
        instruments::webhook(&self.webhook);
        let tomorrow = SystemTime::now() + Duration::from_secs(24 * 60 * 60);
        CertificateMetrics::register(&self.webhook).serves_until(tomorrow);
        instruments::catalog(&self.catalog);
    }
}

#[test]
fn every_query_of_the_dashboards_has_data() {
    let runtime = Runtime::new().expect("a runtime");
    let mesh = Mesh::new();
    let all_of_them = [&mesh.sidecar, &mesh.webhook, &mesh.catalog];
    let targets = all_of_them.map(|metrics| runtime.block_on(serve(metrics)));
    let prometheus = Prometheus::start(&targets.join("\", \""));
    // One of which loses everything.
    let list = format!(
        "statsd=udp://127.0.0.1:{};interval=1s, dogstatsd=unix:///nowhere;interval=1s",
        free_udp_port()
    );
    let telemetry = Telemetry::parse(&list, &Rehearsal);
    assert_eq!(telemetry.wrong, []);
    let drain = Drain::new();
    let _exporters = all_of_them.map(|metrics| {
        runtime.block_on(async { Exporters::start(&telemetry, metrics, "/nowhere".into(), &drain) })
    });
    let mut without: Vec<_> = BOARDS.into_iter().flat_map(of_board).collect();
    until_eq("queries without data", Vec::<String>::new(), || {
        mesh.goes_on();
        without.retain(|asked| {
            let value = promql(prometheus.port, &of_here(&asked.expression));
            !value.is_some_and(f64::is_finite)
        });
        let said = |asked: &Asked| {
            let query = of_here(&asked.expression);
            format!("{} ({}): {query}", asked.whose, asked.legend)
        };
        without.iter().map(said).collect()
    });
    every_variable_has_its_value(prometheus.port);
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
            let answer = json(port, "/api/v1/query", &[("query", &query)]);
            let answer = answer.expect("Prometheus answers in JSON");
            let values: Vec<_> = all(&answer["data"], "result")
                .iter()
                .map(|series| text(&series["metric"], label))
                .collect();
            let value = of_here(&format!("${}", text(variable, "name")));
            assert!(
                values.contains(&value.as_str()),
                "{name}: {query}: {values:?}"
            );
        }
    }
}

fn promtool(arguments: [&str; 2], file: std::path::PathBuf) {
    let output = Command::new("promtool")
        .args(arguments)
        .arg(&file)
        .output()
        .expect("promtool is installed by `hack/test.sh telemetry`");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{}: {said}", file.display());
}

#[test]
fn promtool_has_nothing_to_say_about_the_alerts() {
    let rules = file("../../../docs/telemetry/alerts.yaml");
    promtool(["check", "rules"], rules);
}

#[test]
fn alerts_fire_when_something_is_wrong_and_only_then() {
    promtool(["test", "rules"], file("alerts.test.yaml"));
}
