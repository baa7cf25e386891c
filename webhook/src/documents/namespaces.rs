//! What the Namespaces of a file say.

use std::collections::BTreeMap;

use serde_json::Value;

use super::segments;

/// The labels of an object.
pub type Labels = BTreeMap<String, String>;

/// The labels of each Namespace in a file, by its name. What can't be read is passed
/// over: whoever edits the file is told of it.
#[must_use]
pub fn namespace_labels(text: &str) -> BTreeMap<String, Labels> {
    let mut found = BTreeMap::new();
    for segment in segments::split(text) {
        if let Ok((document, _)) = segment.parse() {
            add(&document, &mut found);
        }
    }
    found
}

fn add(document: &Value, found: &mut BTreeMap<String, Labels>) {
    if document["apiVersion"] != "v1" {
        return;
    }
    match document["kind"].as_str() {
        Some("List") => {
            for item in document["items"].as_array().into_iter().flatten() {
                add(item, found);
            }
        }
        Some("Namespace") => {
            let labels = document["metadata"]["labels"].as_object();
            let labels = labels.into_iter().flatten().filter_map(|(key, value)| {
                let value = value.as_str()?;
                Some((key.clone(), value.to_owned()))
            });
            if let Some(name) = document["metadata"]["name"].as_str() {
                found.insert(name.to_owned(), labels.collect());
            }
        }
        _ => {}
    }
}
