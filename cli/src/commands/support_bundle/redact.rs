//! Cuts out what is nobody else's business. What is not known to be harmless goes.

use netting_webhook::names::{DOMAIN, INIT_CONTAINER, SIDECAR_CONTAINER};
use serde_json::{Map, Value};

/// What stands in its place.
const REDACTED: &str = "<redacted>";
/// The containers of Netting's own pods, and of its Deployments.
const OURS: [&str; 4] = [INIT_CONTAINER, SIDECAR_CONTAINER, "catalog", "webhook"];
/// What a variable of ours that holds a credential would be called.
const TELLTALE: [&str; 5] = ["TOKEN", "SECRET", "PASSWORD", "HEADERS", "KEY"];

/// An object of Kubernetes, wherever in it there are containers and annotations.
pub(super) fn object(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if fields.get("kind").is_some_and(|kind| kind == "Secret") {
                for field in ["data", "stringData"] {
                    if let Some(Value::Object(entries)) = fields.get_mut(field) {
                        entries.values_mut().for_each(redact);
                    }
                }
            }
            fields.remove("managedFields");
            annotations(fields);
            for field in ["volumeAttributes", "options"] {
                if let Some(Value::Object(entries)) = fields.get_mut(field) {
                    entries.values_mut().for_each(redact);
                }
            }
            for list in ["containers", "initContainers", "ephemeralContainers"] {
                let items = fields.get_mut(list).and_then(Value::as_array_mut);
                items.into_iter().flatten().for_each(container);
            }
            fields.values_mut().for_each(object);
        }
        Value::Array(items) => items.iter_mut().for_each(object),
        // A message may repeat what it was about.
        Value::String(_) => clean(value),
        _ => {}
    }
}

fn redact(value: &mut Value) {
    *value = REDACTED.into();
}

/// Anybody may write anything into an annotation; what is Netting's own is known.
fn annotations(fields: &mut Map<String, Value>) {
    let Some(Value::Object(annotations)) = fields.get_mut("annotations") else {
        return;
    };
    for (key, value) in annotations {
        if key.starts_with(DOMAIN) {
            clean(value);
        } else {
            redact(value);
        }
    }
}

/// What is ours is kept, but for credentials that somebody wrote into it: exporters'
/// belong into Secrets, and are refused where they are not.
fn clean(value: &mut Value) {
    if let Value::String(said) = value {
        *said = words(said);
    }
}

fn container(container: &mut Value) {
    let ours = OURS.iter().any(|name| container["name"] == *name)
        && container["command"][0]
            .as_str()
            .is_some_and(|command| command.starts_with("/netting/"));
    if let Some(variables) = container.get_mut("env").and_then(Value::as_array_mut) {
        for variable in variables {
            let name = variable["name"].as_str().unwrap_or_default();
            let harmless = ours
                && name.starts_with("NETTING_")
                && !TELLTALE.iter().any(|tale| name.contains(tale));
            match variable.get_mut("value") {
                Some(value) if harmless => clean(value),
                Some(value) => redact(value),
                None => {}
            }
        }
    }
    if ours {
        return;
    }
    let Value::Object(fields) = container else {
        return;
    };
    for field in ["command", "args"] {
        if let Some(value) = fields.get_mut(field) {
            redact(value);
        }
    }
    for field in [
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "lifecycle",
    ] {
        if let Some(value) = fields.get_mut(field) {
            commands(value);
        }
    }
}

/// Of a probe or a hook: what it runs, and the headers that it sends.
fn commands(value: &mut Value) {
    let Value::Object(fields) = value else {
        return;
    };
    for (key, value) in fields {
        match key.as_str() {
            "command" | "httpHeaders" => redact(value),
            _ => commands(value),
        }
    }
}

/// What is assigned to these is nobody's business, by `=` or by `:`.
const ASSIGNED: [&str; 9] = [
    "token",
    "password",
    "passwd",
    "pwd",
    "secret",
    "authorization",
    "key",
    "signature",
    "sig",
];
/// What goes before a credential.
const SCHEMES: [&str; 2] = ["bearer", "basic"];

/// A log: tokens (JWTs, `Bearer …`, `token=…`) and private keys.
pub(super) fn text(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut in_key = false;
    for line in text.lines() {
        let key_line = line.contains("PRIVATE KEY-----");
        if key_line && line.contains("-----BEGIN") {
            in_key = !line.contains("-----END");
            clean += REDACTED;
        } else if in_key {
            in_key = !(key_line && line.contains("-----END"));
            continue;
        } else {
            clean += &words(line);
        }
        clean.push('\n');
    }
    clean
}

fn words(line: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "._-+/=~".contains(c);
    let mut clean = String::with_capacity(line.len());
    let mut rest = line;
    let (mut before, mut gap) = ("", "");
    // Between `$(` and `)` is the name of a Secret, and not what is in it.
    let mut is_reference = false;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let end = after.find(is_word).unwrap_or(after.len());
        let (behind, after) = after.split_at(end);
        if is_reference {
            clean += word;
        } else if !word.is_empty() && is_telling(before, gap, word, behind) {
            clean += REDACTED;
        } else if let Some(name) = assignment(word) {
            clean += name;
            clean += REDACTED;
        } else {
            clean += word;
        }
        clean += behind;
        is_reference = behind.ends_with("$(") || (is_reference && !behind.contains(')'));
        rest = after;
        if word == "=" {
            gap = word;
        } else {
            (before, gap) = (word, behind);
        }
    }
    clean
}

/// Whether a word tells something, by itself or by what stands around it.
fn is_telling(before: &str, gap: &str, word: &str, behind: &str) -> bool {
    let token = word.rsplit('=').next().unwrap_or_default();
    if token.starts_with("eyJ") && token.matches('.').count() >= 2 {
        return true;
    }
    // http://user:password@host
    if before.starts_with("//") && gap == ":" && behind.starts_with('@') {
        return true;
    }
    let before = before.to_ascii_lowercase();
    let is_scheme = |word: &str| SCHEMES.iter().any(|scheme| word.ends_with(scheme));
    if is_scheme(&before) {
        return true;
    }
    // "password": "…", and password = …
    let name = before.trim_end_matches('=');
    let is_named = ASSIGNED
        .iter()
        .any(|known| *known != "key" && name.ends_with(known));
    let assigns = gap.contains(':') || gap == "=" || before.ends_with('=');
    is_named && assigns && !is_scheme(&word.to_ascii_lowercase())
}

/// The name and the sign of a word that assigns something telling to it. A reference
/// (`token=$(secret:NAME/KEY)`) tells nothing.
fn assignment(word: &str) -> Option<&str> {
    let lower = word.to_ascii_lowercase();
    let ends = ASSIGNED.iter().filter_map(|name| {
        let sign = format!("{name}=");
        Some(lower.find(&sign)? + sign.len())
    });
    let end = ends.min()?;
    (end < word.len()).then(|| &word[..end])
}

#[cfg(test)]
mod tests;
