//! Reads what `/instruments` answers: OpenMetrics text, and Prometheus' own format, which
//! differ in nothing that matters here.
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>

use std::borrow::Cow;

/// One series with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    /// Its name, with the suffix (`_total`, `_bucket`).
    pub name: &'a str,
    /// Its labels in the order in which they are written.
    pub labels: Vec<(&'a str, Cow<'a, str>)>,
    /// Its value.
    pub value: f64,
}

impl Sample<'_> {
    /// The value of a label.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        let found = self.labels.iter().find(|(own, _)| *own == name);
        found.map(|(_, value)| &**value)
    }
}

/// A line that is none of the format's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the metrics is no sample: {text}")]
pub struct NotASample {
    /// Its number, from 1.
    pub line: usize,
    /// What it says, at most 100 characters of it.
    pub text: String,
}

/// All samples, in the order in which they are written.
///
/// # Errors
/// The first line that is neither a sample nor a comment.
pub fn samples(text: &str) -> Result<Vec<Sample<'_>>, NotASample> {
    let lines = (1..).zip(text.lines().map(str::trim));
    let said = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    said.map(|(number, line)| {
        sample(line).ok_or_else(|| NotASample {
            line: number,
            text: line.chars().take(100).collect(),
        })
    })
    .collect()
}

/// `name{label="value"} 1.5 timestamp # exemplar`, of which the last two are left out.
fn sample(line: &str) -> Option<Sample<'_>> {
    let end = line.find(|c: char| c == '{' || c.is_ascii_whitespace())?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    (!name.is_empty()).then_some(Sample {
        name,
        labels,
        value,
    })
}

type Labels<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// The labels after an opening brace, and what follows the closing one.
fn labels(mut rest: &str) -> Option<(Labels<'_>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let end = closing_quote(quoted)?;
        labels.push((name.trim(), unescaped(&quoted[..end])));
        rest = &quoted[end + 1..];
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return text.into();
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some(other) => other,
                None => '\\',
            },
            c => c,
        });
    }
    plain.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_sample_and_says_where() {
        for line in [
            "nothing",
            "name{label=\"open} 1",
            "name{label} 1",
            "name{} ",
            "name many",
            "{a=\"b\"} 1",
        ] {
            let text = format!("# TYPE a counter\na_total 1\n{line}\n");
            let refused = samples(&text).expect_err(line);
            assert_eq!((refused.line, refused.text.as_str()), (3, line.trim()));
        }
    }

    #[test]
    fn reads_labels_values_and_leaves_the_rest_out() {
        let text = "# HELP a What it is\n\
                    a_total 3\n\
                    a_bucket{le=\"+Inf\",path=\"/a \\\"b\\\"\\\\\\n}\", x=\"\"} 1.5e3 1700000000 # {id=\"7\"} 1\n\
                    # EOF\n";
        let read = samples(text).expect("it is well-formed");
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].name, read[0].value), ("a_total", 3.0));
        let bucket = &read[1];
        assert_eq!(bucket.label("le"), Some("+Inf"));
        assert_eq!(bucket.label("path"), Some("/a \"b\"\\\n}"));
        assert_eq!(bucket.label("x"), Some(""));
        assert_eq!(bucket.label("y"), None);
        assert!((bucket.value - 1500.0).abs() < f64::EPSILON);
    }
}
