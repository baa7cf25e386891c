//! The table of metrics in the documentation, against what the instruments say.

use std::{
    collections::BTreeMap, fmt::Write as _, fs, path::Path, time::Duration, time::SystemTime,
};

use netting_telemetry::{
    Metrics,
    admission::{AdmissionMetrics, CertificateMetrics, EventMetrics},
    catalog::CatalogMetrics,
    connections::{ConnectionMetrics, Direction},
    discovery::DiscoveryMetrics,
    peer::Peer,
    probes::ProbeMetrics,
    prometheus::{label_name, metric_name},
    requests::{Call, Ended, Method, Version},
    snapshot::{Data, Labels, Metric},
    traffic::TrafficMetrics,
};

const BEGIN: &str = "<!-- metrics: renewed with NETTING_UPDATE_GOLDEN=1 -->\n";
const END: &str = "<!-- end of metrics -->\n";

/// Every kind of thing that a sidecar counts, once.
fn sidecar(metrics: &Metrics) {
    let connections = ConnectionMetrics::register(metrics).of(Direction::Outbound);
    connections.carries("http1");
    connections.passed_through("unknown_address");
    connections.refused("own_port");
    connections.reached("pool_full");
    let traffic = TrafficMetrics::register(metrics);
    let peer = Peer {
        name: "reviews",
        namespace: "shop",
        port: 9080,
    };
    for traffic in [traffic.of(Direction::Inbound), traffic.to(peer)] {
        traffic.closed("finished");
        traffic.ejected("failures_in_a_row");
        traffic.connected(Duration::ZERO, Some("connect_refused"));
        traffic.requests.retried("upstream_closed");
        drop(traffic.requests.begin(Method::Get));
        traffic.requests.ended(&Ended {
            method: Method::Post,
            version: Version::Http2,
            status: Some(503),
            error: Some("connect_refused"),
            call: Some(Call {
                path: "/shop.Reviews/List",
                status: Some(14),
            }),
            took: Duration::ZERO,
            sent: 0,
            received: 0,
            trace: None,
        });
    }
    let discovery = DiscoveryMetrics::register(metrics);
    discovery.message("snapshot");
    discovery.propagated(Duration::ZERO);
    ProbeMetrics::register(metrics).asked("liveness", "passed");
    let application = "9080/metrics".parse().expect("a port and a path");
    drop(metrics.router_with(application));
}

fn webhook(metrics: &Metrics) {
    let admission = AdmissionMetrics::register(metrics);
    admission.answered("skip", "host_network", Duration::ZERO);
    admission.decided(Duration::ZERO);
    CertificateMetrics::register(metrics).serves_until(SystemTime::UNIX_EPOCH);
    EventMetrics::register(metrics).wrote();
}

fn catalog(metrics: &Metrics) {
    let catalog = CatalogMetrics::register(metrics);
    catalog.stream_closed("silent");
    catalog.message("snapshot");
    catalog.ignored_request("bad_address");
    catalog.holds("services", 1);
    catalog.event("services", SystemTime::UNIX_EPOCH);
    catalog.refused_item("services", "bad_annotation");
    catalog.watch_error("services", "forbidden");
}

fn keys<'m>(points: impl Iterator<Item = &'m Labels>) -> Vec<&'static str> {
    let mut keys: Vec<_> = points
        .flat_map(|labels| labels.iter().map(|label| label.key))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn row(metric: &Metric) -> String {
    let (kind, suffix, keys) = match &metric.data {
        Data::Counter(points) => (
            "counter",
            "_total",
            keys(points.iter().map(|it| &it.labels)),
        ),
        Data::Gauge(points) => ("gauge", "", keys(points.iter().map(|it| &it.labels))),
        Data::Histogram(points) => ("histogram", "", keys(points.iter().map(|it| &it.labels))),
    };
    let prometheus = metric_name(metric).family + suffix;
    let labels: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
    let about = metric.descriptor;
    let unit = if about.unit.is_empty() {
        String::new()
    } else {
        format!("`{}`", about.unit)
    };
    format!(
        "| `{}`<br>`{prometheus}` | {kind} | {unit} | {} | {} |\n",
        about.name,
        labels.join(", "),
        about.description,
    )
}

fn table(metrics: &Metrics, left_out: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let snapshot = metrics.snapshot();
    let rows = snapshot
        .metrics
        .iter()
        .map(|metric| (metric.descriptor.name.to_owned(), row(metric)));
    rows.filter(|(name, _)| !left_out.contains_key(name))
        .collect()
}

fn tables() -> String {
    let new = || Metrics::new("documentation", "0");
    let common = table(&new(), &BTreeMap::new());
    let mut text = String::new();
    let mut write = |title: &str, rows: &BTreeMap<String, String>| {
        let head = "| metric, and its name in Prometheus | kind | unit | labels | meaning |\n\
                    | --- | --- | --- | --- | --- |\n";
        let rows: String = rows.values().map(String::as_str).collect();
        let _ = write!(text, "\n### {title}\n\n{head}{rows}");
    };
    for (title, fill) in [
        ("Of the sidecar", sidecar as fn(&Metrics)),
        ("Of the webhook", webhook),
        ("Of the catalog", catalog),
    ] {
        let metrics = new();
        fill(&metrics);
        write(title, &table(&metrics, &common));
    }
    write("Of each of them", &common);
    text.push('\n');
    text
}

#[test]
fn the_documentation_has_each_metric_with_its_labels() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/telemetry.md");
    let page = fs::read_to_string(&path).expect("the documentation is there");
    let (before, rest) = page
        .split_once(BEGIN)
        .expect("the page has a place for the table");
    let (now, after) = rest.split_once(END).expect("the place has an end");
    let expected = tables();
    if std::env::var_os("NETTING_UPDATE_GOLDEN").is_some() {
        let page = format!("{before}{BEGIN}{expected}{END}{after}");
        return fs::write(&path, page).expect("the page can be written");
    }
    assert_eq!(now, expected, "renew it with NETTING_UPDATE_GOLDEN=1");
}

#[test]
fn names_are_such_as_prometheus_allows() {
    let metrics = Metrics::new("documentation", "0");
    sidecar(&metrics);
    catalog(&metrics);
    webhook(&metrics);
    for metric in metrics.snapshot().metrics {
        let name = metric_name(&metric).family;
        let allowed =
            |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_';
        assert!(name.chars().all(allowed), "{name}");
        for reserved in ["_total", "_count", "_sum", "_bucket", "_created"] {
            assert!(!name.ends_with(reserved), "{name}");
        }
        let about = metric.descriptor;
        assert!(!about.description.ends_with('.'), "{name}");
        assert_eq!(
            label_name(about.name),
            about.name.replace('.', "_"),
            "{name}"
        );
    }
}
