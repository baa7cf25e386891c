//! The dashboards and alerts ask for what there is.

use std::collections::{BTreeMap, BTreeSet};

use netting_telemetry::{
    prometheus::label_name,
    resource::{Pod, of_container},
};

use crate::{
    alerts::{alerts, anchors},
    asked::{BOARDS, all, board, documentation, of_board, text},
    promql::parse,
};

type Series = BTreeMap<String, BTreeSet<String>>;

/// What every series gets from whoever asks for it, or from remote write.
const TARGET: [&str; 3] = ["job", "instance", SCOPE];

/// By which a series of ours is told from an application's of the same name.
const SCOPE: &str = "otel_scope_name";

/// Series of others, each of which the alert that asks for it says that it needs.
const OF_OTHERS: [(&str, &[&str]); 4] = [
    ("apiserver_admission_webhook_fail_open_count", &["name"]),
    (
        "kube_pod_container_status_ready",
        &["namespace", "pod", "container"],
    ),
    (
        "kube_pod_init_container_status_ready",
        &["namespace", "pod", "container"],
    ),
    ("kube_pod_status_phase", &["namespace", "pod", "phase"]),
];

/// What stands between backticks.
fn names(cell: &str) -> impl Iterator<Item = String> {
    cell.split('`').skip(1).step_by(2).map(label_name)
}

/// Every series in the tables of the documentation, with its labels.
fn documented() -> Series {
    let mut series = Series::new();
    for row in documentation("telemetry.md").lines() {
        let cells: Vec<_> = row.split(" | ").collect();
        if let [name, kind, _unit, labels, _meaning] = cells[..] {
            let Some(name) = names(name).nth(1) else {
                continue;
            };
            let labels: BTreeSet<_> = names(labels).collect();
            if kind == "histogram" {
                for suffix in ["_count", "_sum"] {
                    series.insert(format!("{name}{suffix}"), labels.clone());
                }
                let buckets = labels.into_iter().chain(["le".to_owned()]).collect();
                series.insert(format!("{name}_bucket"), buckets);
            } else {
                series.insert(name, labels);
            }
        }
    }
    series.insert("target_info".to_owned(), resource());
    for (name, labels) in OF_OTHERS {
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        series.insert(name.to_owned(), labels);
    }
    series
}

/// Labels of `target_info` that any sidecar has.
fn resource() -> BTreeSet<String> {
    let pod = Pod {
        name: "a",
        namespace: "b",
        node: "c",
        workload_kind: "",
        workload: "d",
    };
    let resource = of_container(pod, "netting-sidecar", "0");
    resource.iter().map(|label| label_name(label.key)).collect()
}

/// The label that tells ours from applications', where these may have the name as well: the
/// conventions give it.
fn told_apart_by(name: &str) -> Option<&'static str> {
    let is_others = OF_OTHERS.iter().any(|(other, _)| *other == name);
    match name {
        "target_info" => Some("netting_version"),
        _ if name.starts_with("netting_") || is_others => None,
        _ => Some(SCOPE),
    }
}

/// What an expression names that there isn't, and what its legend names that the result
/// does not have.
fn wrong(expression: &str, legend: &str, series: &Series) -> Vec<String> {
    let parsed = parse(expression);
    let mut wrong = Vec::new();
    let mut known: BTreeSet<_> = TARGET.map(str::to_owned).into();
    if parsed.selectors.is_empty() {
        wrong.push("asks for nothing".to_owned());
    }
    for selector in &parsed.selectors {
        for name in &selector.names {
            let Some(labels) = series.get(name) else {
                wrong.push(format!("no metric {name}"));
                continue;
            };
            known.extend(labels.iter().cloned());
            if let Some(needed) = told_apart_by(name)
                && !selector.labels.iter().any(|label| label == needed)
            {
                wrong.push(format!("{name} may be an application's without {needed}"));
            }
            for label in &selector.labels {
                if !labels.contains(label) && !TARGET.contains(&label.as_str()) {
                    wrong.push(format!("{name} has no label {label}"));
                }
            }
        }
    }
    let unknown = parsed.grouping.difference(&known);
    wrong.extend(unknown.map(|label| format!("nothing has the label {label}")));
    let legend = legend.split("{{").skip(1);
    for label in legend.filter_map(|rest| rest.split("}}").next()) {
        if !parsed.grouping.contains(label) && !TARGET.contains(&label) {
            wrong.push(format!("the legend has {label}, the result hasn't"));
        }
    }
    wrong
}

#[test]
fn what_is_not_there_is_noticed() {
    let series = documented();
    for (expression, legend, expected) in [
        (
            "sum(netting_no_such_total)",
            "",
            "no metric netting_no_such_total",
        ),
        ("rate(netting_probes[5m])", "", "no metric netting_probes"),
        (
            "netting_probes_total{reason=\"a\"}",
            "",
            "netting_probes_total has no label reason",
        ),
        (
            "sum by (kind) (netting_probes_total)",
            "",
            "nothing has the label kind",
        ),
        (
            "sum(netting_probes_total)",
            "{{probe}}",
            "the legend has probe, the result hasn't",
        ),
        (
            "target_info{netting_version=\"0\",pod=\"a\"}",
            "",
            "target_info has no label pod",
        ),
        (
            "group by (job) (target_info)",
            "",
            "target_info may be an application's without netting_version",
        ),
        ("vector(1)", "", "asks for nothing"),
        (
            "sum(process_memory_usage_bytes)",
            "",
            "process_memory_usage_bytes may be an application's without otel_scope_name",
        ),
    ] {
        assert_eq!(
            wrong(expression, legend, &series),
            [expected],
            "{expression}"
        );
    }
}

#[test]
fn panels_ask_for_metrics_and_labels_that_there_are() {
    let series = documented();
    for name in BOARDS {
        let asked = of_board(name);
        assert!(asked.len() > 20, "{name} has {} queries", asked.len());
        for asked in asked {
            let wrong = wrong(&asked.expression, &asked.legend, &series);
            assert_eq!(
                wrong,
                Vec::<String>::new(),
                "{}: {}",
                asked.whose,
                asked.expression
            );
        }
    }
}

#[test]
fn variables_have_values_of_labels_that_there_are() {
    let series = documented();
    for name in BOARDS {
        let board = board(name);
        let [source, variables @ ..] = all(&board["templating"], "list") else {
            panic!("{name} lets nobody choose the data source");
        };
        assert_eq!(
            (text(source, "name"), text(source, "query")),
            ("datasource", "prometheus")
        );
        let mut declared: BTreeSet<_> = ["datasource", "__rate_interval"].into();
        for variable in variables {
            let query = text(&variable["query"], "query");
            let inner = query
                .strip_prefix("label_values(")
                .and_then(|it| it.strip_suffix(')'));
            let (selector, label) = inner
                .and_then(|inner| inner.rsplit_once(", "))
                .unwrap_or_else(|| panic!("{name}: {query}"));
            let grouped = format!("sum by ({label}) ({selector})");
            assert_eq!(
                wrong(&grouped, "", &series),
                Vec::<String>::new(),
                "{name}: {query}"
            );
            declared.insert(text(variable, "name"));
        }
        let whole = board.to_string();
        for used in whole.split('$').skip(1) {
            let used = used.trim_start_matches('{');
            let end = used.find(|char: char| char != '_' && !char.is_ascii_alphanumeric());
            let used = &used[..end.unwrap_or(used.len())];
            assert!(declared.contains(used), "{name} has no variable {used}");
        }
    }
}

#[test]
fn dashboards_are_such_as_grafana_takes() {
    let mut uids = BTreeSet::new();
    for name in BOARDS {
        let board = board(name);
        assert!(
            uids.insert(text(&board, "uid").to_owned()),
            "{name}'s uid is taken"
        );
        assert_eq!(
            board["schemaVersion"], 39,
            "{name}: of Grafana 10.4, which newer ones read"
        );
        let (mut ids, mut squares) = (BTreeSet::new(), BTreeSet::new());
        for panel in all(&board, "panels") {
            let title = format!("{name}, {}", panel["title"]);
            assert!(ids.insert(panel["id"].as_u64()), "{title}: its id is taken");
            let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place in the grid");
            for x in at("x")..at("x") + at("w") {
                assert!(x < 24, "{title} is beyond the edge");
                for y in at("y")..at("y") + at("h") {
                    assert!(squares.insert((x, y)), "{title} covers another");
                }
            }
            if panel["type"] != "row" {
                assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
                assert!(
                    !all(panel, "targets").is_empty(),
                    "{title} asks for nothing"
                );
            }
        }
    }
}

#[test]
fn alerts_ask_for_what_there_is_and_say_what_to_do() {
    let series = documented();
    let alerts = alerts();
    assert!(alerts.len() >= 16, "{} alerts", alerts.len());
    let anchors = anchors(&documentation("troubleshooting.md"));
    let page = "https://github.com/netting-dev/netting/blob/main/docs/troubleshooting.md#";
    for alert in alerts {
        let (name, expression) = (&alert.name, alert.field("expr"));
        assert_eq!(
            wrong(&expression, "", &series),
            Vec::<String>::new(),
            "{name}: {expression}"
        );
        for field in ["severity", "summary", "description"] {
            assert!(!alert.field(field).is_empty(), "{name} has no {field}");
        }
        let runbook = alert.field("runbook_url");
        let anchor = runbook
            .strip_prefix(page)
            .unwrap_or_else(|| panic!("{name}: {runbook}"));
        assert!(anchors.contains(anchor), "{name}: the page has no {anchor}");
        let names = parse(&expression)
            .selectors
            .into_iter()
            .flat_map(|it| it.names);
        for name in names {
            let source = match name.split('_').next() {
                Some("kube") => "needs kube-state-metrics",
                Some("apiserver") => "needs the API server's own metrics",
                _ => continue,
            };
            let description = alert.field("description").replace('\n', " ");
            assert!(description.contains(source), "{name}: {description}");
        }
    }
}
