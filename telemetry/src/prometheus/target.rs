//! What the sidecar knows of its pod, in the application's `target_info`.
//!
//! There can be one `target_info` in a scrape: two, with different labels, would match
//! each series twice wherever it is joined with them.

use std::collections::BTreeMap;

const NAME: &[u8] = b"target_info";

/// The application's sample with those of the sidecar's labels that it has not. Nothing,
/// if the line is another one, or none that could be understood.
pub(super) fn with(line: &[u8], ours: &BTreeMap<String, String>) -> Option<Vec<u8>> {
    let rest = line.strip_prefix(NAME)?;
    let (labels, value) = match rest.split_first()? {
        (b' ' | b'\t', _) => (&b""[..], rest),
        (b'{', inner) => inner.split_at(end(inner)?),
        _ => return None,
    };
    let value = value.strip_prefix(b"}").unwrap_or(value);
    let theirs = names(labels);
    let mut both = [NAME, b"{", labels.trim_ascii_end()].concat();
    for (name, text) in ours.iter().filter(|(name, _)| !theirs.contains(&&***name)) {
        if !both.ends_with(b"{") && !both.ends_with(b",") {
            both.push(b',');
        }
        both.extend_from_slice(format!("{name}=\"{text}\"").as_bytes());
    }
    both.push(b'}');
    both.extend_from_slice(value);
    Some(both)
}

/// Where the brace is that closes labels.
fn end(labels: &[u8]) -> Option<usize> {
    outside(labels).find_map(|(at, byte)| (byte == b'}').then_some(at))
}

/// The names of labels.
fn names(labels: &[u8]) -> Vec<&str> {
    let mut names = Vec::new();
    let mut begin = 0;
    for (at, byte) in outside(labels) {
        match byte {
            b',' => begin = at + 1,
            b'=' => names.extend(str::from_utf8(labels[begin..at].trim_ascii())),
            _ => {}
        }
    }
    names
}

/// The bytes that are not within quotation marks, and where they are.
fn outside(text: &[u8]) -> impl Iterator<Item = (usize, u8)> {
    let (mut quoted, mut escaped) = (false, false);
    text.iter().copied().enumerate().filter(move |(_, byte)| {
        let is_mark = *byte == b'"' && !escaped;
        escaped = quoted && *byte == b'\\' && !escaped;
        quoted ^= is_mark;
        !quoted && !is_mark
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(line: &str) -> Option<String> {
        let ours = [("k8s_pod_name", "web-1"), ("service_name", "web")];
        let ours = ours.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let both = with(line.as_bytes(), &ours.into())?;
        Some(String::from_utf8(both).expect("it was text"))
    }

    #[test]
    fn other_lines_stay_as_they_are() {
        for line in [
            "",
            "# TYPE target_info gauge",
            "target_info",
            "target_information{} 1",
            "target_info{a=\"b\" 1",
            "target_info{a=\"}\\\"} 1",
            "up 1",
        ] {
            assert_eq!(both(line), None, "{line}");
        }
    }

    #[test]
    fn what_the_application_says_of_itself_goes_over_what_the_sidecar_says() {
        for (theirs, expected) in [
            (
                "target_info 1",
                "target_info{k8s_pod_name=\"web-1\",service_name=\"web\"} 1",
            ),
            (
                "target_info{} 1 1700000000",
                "target_info{k8s_pod_name=\"web-1\",service_name=\"web\"} 1 1700000000",
            ),
            (
                "target_info{ service_name = \"shop\", } 1",
                "target_info{ service_name = \"shop\",k8s_pod_name=\"web-1\"} 1",
            ),
            (
                "target_info{a=\"k8s_pod_name=}\\\\\",b=\",service_name=\\\"\"} 1",
                "target_info{a=\"k8s_pod_name=}\\\\\",b=\",service_name=\\\"\",\
                 k8s_pod_name=\"web-1\",service_name=\"web\"} 1",
            ),
        ] {
            assert_eq!(both(theirs).as_deref(), Some(expected), "{theirs}");
        }
    }
}
