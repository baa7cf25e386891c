//! What the documentation says of metrics, against what the instruments say: the table
//! of them, and the dashboards and alerts that ask for them.

mod alerts;
mod asked;
mod boards;
mod instruments;
mod promql;

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use netting_telemetry::{
    Metrics,
    prometheus::{label_name, metric_name},
    snapshot::{Data, Labels, Metric},
};

use crate::instruments::{catalog, sidecar, webhook};

const BEGIN: &str = "<!-- metrics: renewed with NETTING_UPDATE_GOLDEN=1 -->\n";
const END: &str = "<!-- end of metrics -->\n";

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
