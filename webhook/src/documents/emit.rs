//! Values as YAML that every version of it reads alike.

use serde_json::Value;

/// A document of block style, ending with a line break. Strings that some reader
/// could take for something else (`yes`, `0644`, `1e3`, `~`) are quoted.
#[must_use]
pub fn yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(object) if !object.is_empty() => mapping(&mut out, object, 0),
        Value::Array(list) if !list.is_empty() => sequence(&mut out, list, 0),
        other => {
            out.push_str(&scalar(other, 0));
            out.push('\n');
        }
    }
    out
}

/// At the column of its first key, where the cursor is.
fn mapping(out: &mut String, object: &serde_json::Map<String, Value>, column: usize) {
    for (nth, (key, value)) in object.iter().enumerate() {
        if nth > 0 {
            indent(out, column);
        }
        out.push_str(&single_line(key));
        out.push(':');
        match value {
            Value::Object(object) if !object.is_empty() => {
                out.push('\n');
                indent(out, column + 2);
                mapping(out, object, column + 2);
            }
            // Dashes at the key's own column, as kubectl writes them.
            Value::Array(list) if !list.is_empty() => {
                out.push('\n');
                indent(out, column);
                sequence(out, list, column);
            }
            other => {
                out.push(' ');
                out.push_str(&scalar(other, column + 2));
                out.push('\n');
            }
        }
    }
}

fn sequence(out: &mut String, list: &[Value], column: usize) {
    for (nth, value) in list.iter().enumerate() {
        if nth > 0 {
            indent(out, column);
        }
        out.push_str("- ");
        match value {
            Value::Object(object) if !object.is_empty() => mapping(out, object, column + 2),
            Value::Array(list) if !list.is_empty() => sequence(out, list, column + 2),
            other => {
                out.push_str(&scalar(other, column + 2));
                out.push('\n');
            }
        }
    }
}

fn indent(out: &mut String, column: usize) {
    out.extend(std::iter::repeat_n(' ', column));
}

/// Empty collections, numbers, booleans and `null` are in YAML as in JSON.
fn scalar(value: &Value, column: usize) -> String {
    match value {
        Value::String(text) => block(text, column).unwrap_or_else(|| single_line(text)),
        other => other.to_string(),
    }
}

/// Text of several lines as a literal block, if nothing in it needs an escape.
fn block(text: &str, column: usize) -> Option<String> {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let chomping = if body.len() < text.len() { "" } else { "-" };
    let plain_line = |line: &str| {
        !line.is_empty()
            && !line.starts_with([' ', '\t'])
            && !line.ends_with([' ', '\t'])
            && !line.contains(needs_escape)
    };
    let starts = |line: &str| !line.trim_start().is_empty() && !line.contains(needs_escape);
    let mut lines = body.split('\n');
    // The first line sets the indentation; others may be indented further.
    if !body.contains('\n') || !lines.next().is_some_and(plain_line) || !lines.all(starts) {
        return None;
    }
    let mut out = format!("|{chomping}");
    for line in body.split('\n') {
        out.push('\n');
        indent(&mut out, column);
        out.push_str(line);
    }
    Some(out)
}

/// Plain where that is safe, and otherwise a JSON string, which is YAML too.
fn single_line(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    let json = serde_json::to_string(text).expect("text is JSON");
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if needs_escape(c) {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// What YAML has no place for as it is. (All are of four digits in UTF-16.)
fn needs_escape(c: char) -> bool {
    matches!(c, '\u{0}'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let lowercase = text.to_ascii_lowercase();
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && !text.ends_with(':')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_./:@+=,-".contains(c))
        && !WORDS.contains(&lowercase.as_str())
}
