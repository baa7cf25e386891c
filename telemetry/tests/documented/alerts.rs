//! The alert rules, as far as they can be read without a parser of YAML: each field in a
//! line of its own, or in the lines after it that are indented further.

use std::collections::BTreeSet;

use crate::asked::documentation;

pub(crate) struct Alert {
    pub(crate) name: String,
    block: String,
}

impl Alert {
    pub(crate) fn field(&self, key: &str) -> String {
        let indent = |line: &str| line.len() - line.trim_start().len();
        let key = format!("{key}: ");
        let mut lines = self.block.lines();
        let line = lines
            .by_ref()
            .find(|line| line.trim_start().starts_with(&key))
            .unwrap_or_else(|| panic!("{} has no {key}", self.name));
        let value = &line.trim_start()[key.len()..];
        if value != "|" && value != ">-" {
            return value.trim_matches('"').to_owned();
        }
        let within: Vec<_> = lines
            .take_while(|next| indent(next) > indent(line))
            .map(str::trim)
            .collect();
        within.join("\n")
    }
}

pub(crate) fn alerts() -> Vec<Alert> {
    let text = documentation("telemetry/alerts.yaml");
    let blocks = text.split("\n  - alert: ").skip(1);
    let alerts = blocks.map(|block| Alert {
        name: block.lines().next().unwrap_or_default().to_owned(),
        block: block.to_owned(),
    });
    alerts.collect()
}

/// What links to the headings of a page can end with, as GitHub makes them.
pub(crate) fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter_map(|line| line.strip_prefix("## "));
    let anchor = |heading: &str| {
        let lower = heading.to_lowercase().replace(' ', "-");
        let kept = |char: &char| char.is_alphanumeric() || *char == '-';
        lower.chars().filter(kept).collect()
    };
    headings.map(anchor).collect()
}
