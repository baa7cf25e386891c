//! What the dashboards ask for.

use std::{fs, path::Path};

use serde_json::Value;

/// File names of the dashboards, without `.json`.
pub(crate) const BOARDS: [&str; 4] = ["service", "workload", "mesh", "control-plane"];

/// A query of a panel.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Of which dashboard, panel and query, for whoever reads a failure.
    pub(crate) whose: String,
    pub(crate) expression: String,
    pub(crate) legend: String,
}

/// A file in `docs/`.
pub(crate) fn documentation(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn board(name: &str) -> Value {
    let text = documentation(&format!("telemetry/{name}.json"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The members of an array, or nothing where there is none.
pub(crate) fn all<'v>(of: &'v Value, key: &str) -> &'v [Value] {
    of[key].as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn text<'v>(of: &'v Value, key: &str) -> &'v str {
    of[key].as_str().unwrap_or_default()
}

/// Every query of a dashboard's panels.
pub(crate) fn of_board(name: &str) -> Vec<Asked> {
    let board = board(name);
    let mut asked = Vec::new();
    for panel in all(&board, "panels") {
        for target in all(panel, "targets") {
            asked.push(Asked {
                whose: format!("{name}, {}, {}", panel["title"], target["refId"]),
                expression: text(target, "expr").to_owned(),
                legend: text(target, "legendFormat").to_owned(),
            });
        }
    }
    asked
}
