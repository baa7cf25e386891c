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
    config::Signal,
    export::{Counts, Reason},
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

/// What every process counts of its exporters.
fn exporter(metrics: &Metrics) {
    let counts = Counts::new(metrics, "otlp", Signal::Metrics);
    counts.sent(1);
    counts.failed(Reason::Connect, "nobody is there");
    counts.dropped(1, Reason::QueueFull);
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
    let of_each = new();
    exporter(&of_each);
    let common = table(&of_each, &BTreeMap::new());
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

/// The names that follow `Descriptor {` in the code of this crate, which has all of them,
/// but for its tests.
fn described(folder: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("the code is there") {
        let path = entry.expect("it can be listed").path();
        let is_code = path.extension().is_some_and(|it| it == "rs");
        if path.is_dir() {
            described(&path, names);
        } else if is_code && !path.ends_with("tests.rs") && !path.ends_with("sample.rs") {
            let code = fs::read_to_string(&path).expect("it is text");
            let code = code.split("#[cfg(test)]\nmod tests {").next();
            let after = code.unwrap_or_default().split("Descriptor {\n").skip(1);
            let named = after.filter_map(|rest| {
                let rest = rest.trim_start().strip_prefix("name: \"")?;
                rest.split('"').next()
            });
            names.extend(named.map(str::to_owned));
        }
    }
}

#[test]
fn no_metric_of_the_code_is_left_out_of_the_documentation() {
    let mut names = Vec::new();
    described(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut names,
    );
    assert!(names.len() > 50, "{names:?}");
    let tables = tables();
    names.retain(|name| !tables.contains(&format!("\n| `{name}`<br>")));
    assert_eq!(
        names,
        Vec::<String>::new(),
        "instruments.rs has to use them"
    );
}

#[test]
fn names_are_such_as_prometheus_allows() {
    let metrics = Metrics::new("documentation", "0");
    sidecar(&metrics);
    catalog(&metrics);
    webhook(&metrics);
    exporter(&metrics);
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
