//! What the sidecar knows of its pod, in the application's `target_info`.
//!
//! There can be one in a scrape that says what Netting says of it: two, with different
//! labels, would match each series twice wherever it is joined with them. An application
//! that tells of others, as a Collector does, has one for each of them. None of those is the
//! pod's, which then has its own beside them.

use std::{collections::BTreeMap, mem};

const NAME: &[u8] = b"target_info";

/// The application's `target_info`, and what becomes of it.
#[derive(Debug)]
pub(super) struct Target {
    /// What the sidecar's would say.
    ours: BTreeMap<String, String>,
    theirs: Theirs,
}

/// What the application has said so far.
#[derive(Debug)]
enum Theirs {
    Nothing,
    /// One line, which is held back until it is known to be the only one, and what it
    /// becomes if it is.
    One {
        line: Vec<u8>,
        both: Vec<u8>,
    },
    Several,
    /// Whatever else comes has nothing to do with the sidecar's.
    Said,
}

impl Target {
    pub(super) fn new(ours: BTreeMap<String, String>) -> Self {
        Self {
            ours,
            theirs: Theirs::Nothing,
        }
    }

    /// Takes a line, if it is such a sample, and appends to `out` what is sure by now.
    pub(super) fn takes(&mut self, line: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(both) = with(line, &self.ours) else {
            return false;
        };
        match mem::replace(&mut self.theirs, Theirs::Several) {
            Theirs::Nothing => {
                let line = line.to_owned();
                self.theirs = Theirs::One { line, both };
                return true;
            }
            Theirs::One { line: first, .. } => append(out, &first),
            Theirs::Several => {}
            Theirs::Said => self.theirs = Theirs::Said,
        }
        append(out, line);
        true
    }

    /// Behind the last line of the metric, or its head alone: appends what the sidecar says.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        let line = match mem::replace(&mut self.theirs, Theirs::Said) {
            Theirs::One { both, .. } => Some(both),
            Theirs::Said => None,
            Theirs::Nothing | Theirs::Several if self.ours.is_empty() => None,
            Theirs::Nothing | Theirs::Several => with(b"target_info 1", &self.ours),
        };
        if let Some(line) = line {
            append(out, &line);
        }
    }
}

fn append(out: &mut Vec<u8>, line: &[u8]) {
    out.extend_from_slice(line);
    out.push(b'\n');
}

/// The application's sample with those of the sidecar's labels that it has not. Nothing,
/// if the line is another one, or none that could be understood.
fn with(line: &[u8], ours: &BTreeMap<String, String>) -> Option<Vec<u8>> {
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

    fn ours() -> BTreeMap<String, String> {
        let ours = [("k8s_pod_name", "web-1"), ("service_name", "web")];
        let ours = ours.map(|(name, value)| (name.to_owned(), value.to_owned()));
        ours.into()
    }

    fn both(line: &str) -> Option<String> {
        let both = with(line.as_bytes(), &ours())?;
        Some(String::from_utf8(both).expect("it was text"))
    }

    /// What becomes of these, each of which ends all that are told of together.
    fn told(ours: BTreeMap<String, String>, families: &[&[&str]]) -> String {
        let mut target = Target::new(ours);
        let mut out = Vec::new();
        for family in families {
            for line in *family {
                assert!(target.takes(line.as_bytes(), &mut out), "{line}");
            }
            target.end(&mut out);
        }
        String::from_utf8(out).expect("it was text")
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
    #[test]
    fn several_stay_as_they_are_beside_the_pods_own() {
        let [a, b, c] = ["a", "b", "c"].map(|name| format!("target_info{{job=\"{name}\"}} 1"));
        let own = "target_info{k8s_pod_name=\"web-1\",service_name=\"web\"} 1";
        let one = "target_info{job=\"a\",k8s_pod_name=\"web-1\",service_name=\"web\"} 1\n";
        let several = format!("{a}\n{b}\n{c}\n");
        for (families, expected) in [
            (&[][..], String::new()),
            (&[&[][..]], format!("{own}\n")),
            (&[&[&*a][..]], one.to_owned()),
            (&[&[&*a, &b, &c]], format!("{several}{own}\n")),
            // A family's lines should be together.
            (&[&[&*a], &[&b, &c]], format!("{one}{b}\n{c}\n")),
            (&[&[&*a, &b], &[&c]], format!("{a}\n{b}\n{own}\n{c}\n")),
        ] {
            assert_eq!(told(ours(), families), expected, "{families:?}");
        }
        assert_eq!(told(BTreeMap::new(), &[&[&a, &b, &c]]), several);
    }
}
