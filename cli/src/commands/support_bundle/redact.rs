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
            for list in ["containers", "initContainers", "ephemeralContainers"] {
                let items = fields.get_mut(list).and_then(Value::as_array_mut);
                items.into_iter().flatten().for_each(container);
            }
            fields.values_mut().for_each(object);
        }
        Value::Array(items) => items.iter_mut().for_each(object),
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

/// What is assigned to these is nobody's business.
const ASSIGNED: [&str; 4] = ["token=", "password=", "authorization=", "key="];

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
    let mut after_scheme = false;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let token = word.rsplit('=').next().unwrap_or_default();
        let is_jwt = token.starts_with("eyJ") && token.matches('.').count() >= 2;
        if is_jwt || (after_scheme && !word.is_empty()) {
            clean += REDACTED;
        } else if let Some(name) = assignment(word) {
            clean += name;
            clean += REDACTED;
        } else {
            clean += word;
        }
        if !word.is_empty() {
            let word = word.to_ascii_lowercase();
            after_scheme = ["bearer", "basic"]
                .iter()
                .any(|scheme| word.ends_with(scheme));
        }
        let gap = after.find(is_word).unwrap_or(after.len());
        clean += &after[..gap];
        rest = &after[gap..];
    }
    clean
}

/// The name and the sign of a word that assigns something telling to it. A reference
/// (`token=$(secret:NAME/KEY)`) tells nothing.
fn assignment(word: &str) -> Option<&str> {
    let lower = word.to_ascii_lowercase();
    let ends = ASSIGNED
        .iter()
        .filter_map(|name| Some(lower.find(name)? + name.len()));
    let end = ends.min()?;
    (end < word.len()).then(|| &word[..end])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_applications_only_the_shape_is_left() {
        let mut pod = json!({
            "kind": "Pod",
            "metadata": {
                "managedFields": [{"manager": "me"}],
                "annotations": {"netting.dev/log-level": "debug", "netting.dev/telemetry": "otlp=http://c;token=hunter2",
                                "vault/token": "hunter2"},
            },
            "spec": {"containers": [
                {"name": "app", "command": ["run", "hunter2"], "args": ["hunter2"],
                 "env": [{"name": "NETTING_LOG", "value": "hunter2"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s"}}}],
                 "livenessProbe": {"httpGet": {"port": 80, "httpHeaders": [{"name": "a", "value": "hunter2"}]}},
                 "lifecycle": {"preStop": {"exec": {"command": ["hunter2"]}}}},
                {"name": "netting-sidecar", "command": ["/bin/sh", "hunter2"]},
                {"name": "netting-sidecar", "command": ["/netting/netting-sidecar"], "args": ["--admin-port=15020"],
                 "env": [{"name": "NETTING_LOG", "value": "info"}, {"name": "NETTING_OTLP_HEADERS", "value": "hunter2"},
                         {"name": "OTEL_EXPORTER_OTLP_HEADERS", "value": "hunter2"}]},
            ]},
        });
        object(&mut pod);
        let text = pod.to_string();
        assert!(
            !text.contains("hunter2") && !text.contains("managedFields"),
            "{text}"
        );
        for kept in [
            "debug",
            "--admin-port=15020",
            "\"info\"",
            "secretKeyRef",
            "vault/token",
        ] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
        let mut list = json!({"items": [{"kind": "Secret", "data": {"a": "aHVudGVyMg=="}, "stringData": {"b": "hunter2"}}]});
        object(&mut list);
        let text = list.to_string();
        assert!(
            !text.contains("hunter2") && !text.contains("aHVudGVyMg"),
            "{text}"
        );
    }

    #[test]
    fn tokens_and_keys_are_cut_out_of_logs() {
        let log = "got token=eyJhbGciOi.eyJzdWIi.c2ln from 10.0.0.1:80, not eyJ.x\n\
                   authorization: Bearer abc-123.DEF next\n\
                   otlp=http://c:4317;token=abc;header.authorization=Basic YWJj,prometheus\n\
                   otlp=http://c:4317;token=$(secret:otel/token)\n\
                   -----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n\
                   plain line, version 1.2.3\n";
        let expected = "got <redacted> from 10.0.0.1:80, not eyJ.x\n\
                        authorization: Bearer <redacted> next\n\
                        otlp=http://c:4317;token=<redacted>;header.authorization=<redacted> <redacted>,prometheus\n\
                        otlp=http://c:4317;token=$(secret:otel/token)\n\
                        <redacted>\n\
                        plain line, version 1.2.3\n";
        assert_eq!(text(log), expected);
    }
}
