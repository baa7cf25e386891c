//! Which lines of an exposition a scraper can read. One that it can't read costs it all
//! others of the scrape.
//!
//! Prometheus' text format:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-format-details>.
//! OpenMetrics, in which every space counts:
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/#abnf>.

use super::Format;

const TEXT_TYPES: [&str; 5] = ["counter", "gauge", "histogram", "summary", "untyped"];
const OPENMETRICS_TYPES: [&str; 8] = [
    "counter",
    "gauge",
    "gaugehistogram",
    "histogram",
    "info",
    "stateset",
    "summary",
    "unknown",
];

/// Whether a line, without its end, is one of the format's. (In the text format it has no
/// spaces around it.)
pub(super) fn is_readable(line: &[u8], format: Format) -> bool {
    let Ok(line) = str::from_utf8(line) else {
        return false;
    };
    let reader = Reader { format };
    match line.strip_prefix('#') {
        Some(comment) => reader.comment(comment).is_some(),
        None => reader.sample(line).is_some(),
    }
}

#[derive(Clone, Copy)]
struct Reader {
    format: Format,
}

impl Reader {
    /// What may be between two words.
    fn spaces(self) -> &'static [char] {
        match self.format {
            Format::Text => &[' ', '\t'],
            Format::OpenMetrics => &[],
        }
    }

    fn past_spaces(self, text: &str) -> &str {
        text.trim_start_matches(self.spaces())
    }

    /// What follows the space that has to be there.
    fn past_space(self, text: &str) -> Option<&str> {
        match self.format {
            Format::Text => text
                .starts_with(self.spaces())
                .then(|| self.past_spaces(text)),
            Format::OpenMetrics => text.strip_prefix(' '),
        }
    }

    /// ` TYPE name type` and the like. In the text format any other comment will do.
    fn comment(self, comment: &str) -> Option<()> {
        let rest = self.past_space(comment);
        let known = rest.and_then(|rest| {
            let words = ["TYPE", "HELP", "UNIT"].into_iter();
            words
                .filter_map(|word| Some((word, self.past_space(rest.strip_prefix(word)?)?)))
                .next()
        });
        let (word, rest) = match (known, self.format) {
            (Some(known), Format::OpenMetrics) => known,
            (Some(known @ ("TYPE" | "HELP", _)), Format::Text) => known,
            (_, Format::Text) => return Some(()),
            (None, Format::OpenMetrics) => return None,
        };
        let after = past_name(rest, true)?;
        let name = &rest[..rest.len() - after.len()];
        let says_nothing = after.is_empty() && self.format == Format::Text;
        let said = self.past_space(after).or(says_nothing.then_some(""))?;
        let is_good = match (word, self.format) {
            ("TYPE", Format::Text) => TEXT_TYPES.contains(&said),
            ("TYPE", Format::OpenMetrics) => OPENMETRICS_TYPES.contains(&said),
            ("UNIT", _) => said.is_empty() || name.ends_with(&format!("_{said}")),
            _ => true,
        };
        is_good.then_some(())
    }

    /// `name{label="value"} 1.5 timestamp`, and in OpenMetrics perhaps an exemplar.
    fn sample(self, line: &str) -> Option<()> {
        // Newer expositions may have the name between quotation marks, among the labels.
        let after = match line.starts_with('{') {
            true => line,
            false => past_name(line, true)?,
        };
        let after = match self.past_spaces(after).strip_prefix('{') {
            Some(labels) => self.past_labels(labels)?,
            None => after,
        };
        let (point, exemplar) = match (self.format, after.split_once(" # {")) {
            (Format::OpenMetrics, Some((point, exemplar))) => (point, Some(exemplar)),
            _ => (after, None),
        };
        self.point(point)?;
        exemplar.map_or(Some(()), |labels| self.point(self.past_labels(labels)?))
    }

    /// A value and perhaps a timestamp, in milliseconds or, in OpenMetrics, seconds.
    fn point(self, point: &str) -> Option<()> {
        let point = self.past_space(point)?;
        let (value, rest) = point.split_once(self.separators()).unwrap_or((point, ""));
        value.parse::<f64>().ok()?;
        let is_timestamp = match self.format {
            Format::Text => {
                let timestamp = self.past_spaces(rest);
                timestamp.is_empty() || timestamp.parse::<u64>().is_ok()
            }
            Format::OpenMetrics => value.len() == point.len() || rest.parse::<f64>().is_ok(),
        };
        is_timestamp.then_some(())
    }

    fn separators(self) -> &'static [char] {
        match self.format {
            Format::Text => &[' ', '\t'],
            Format::OpenMetrics => &[' '],
        }
    }

    /// What follows labels and the brace that closes them.
    fn past_labels(self, mut rest: &str) -> Option<&str> {
        loop {
            rest = self.past_spaces(rest);
            if let Some(after) = rest.strip_prefix('}') {
                return Some(after);
            }
            let is_quoted = rest.starts_with('"');
            let after = match is_quoted {
                true => past_quoted(rest)?,
                false => past_name(rest, false)?,
            };
            let after = self.past_spaces(after);
            rest = match after.strip_prefix('=') {
                Some(value) => past_quoted(self.past_spaces(value))?,
                // The name of the metric.
                None => is_quoted.then_some(after)?,
            };
            rest = self.past_spaces(rest);
            rest = match rest.strip_prefix(',') {
                Some(next) if next.starts_with('}') && self.format == Format::OpenMetrics => {
                    return None;
                }
                Some(next) => next,
                None => rest.starts_with('}').then_some(rest)?,
            };
        }
    }
}

/// What follows a name, which in those of metrics may have colons.
fn past_name(text: &str, is_metric: bool) -> Option<&str> {
    let is_in_name =
        |char: char| char.is_ascii_alphanumeric() || char == '_' || (is_metric && char == ':');
    let after = text.trim_start_matches(is_in_name);
    let is_name =
        after.len() < text.len() && !text.starts_with(|first: char| first.is_ascii_digit());
    is_name.then_some(after)
}

/// What follows a text between quotation marks.
fn past_quoted(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('"')?;
    let mut escaped = false;
    let end = inner.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })?;
    Some(&inner[end + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readable_in(line: &str) -> Vec<Format> {
        let formats = [Format::Text, Format::OpenMetrics];
        let readable = |format: &Format| is_readable(line.as_bytes(), *format);
        formats.into_iter().filter(readable).collect()
    }

    #[test]
    fn what_is_no_exposition_is_unreadable() {
        for line in [
            "{",
            "{}",
            "}",
            "{\"status\":\"UP\"}",
            "{\"status\": {\"a\": 1}}",
            "\"a\": 1,",
            "[1, 2]",
            "<!doctype html>",
            "<title>Shop</title>",
            "Loading",
            "Not found, sorry",
            "window.a = 1",
            "a",
            "a{b=\"c\"}",
            "a{b=\"c\" 1",
            "a{b=\"c} 1",
            "a{b=c} 1",
            "a{b} 1",
            "a{b=\"c\"d=\"e\"} 1",
            "a{0b=\"c\"} 1",
            "a{b:c=\"d\"} 1",
            "a one",
            "a 1 soon",
            "a 1 2 3",
            "0a 1",
            "a-b 1",
            "# TYPE a thing",
            "# TYPE a",
            "# TYPE a-b gauge",
            "# HELP",
        ] {
            // A comment that says nothing is one still.
            let expected: &[Format] = match line {
                "# HELP" => &[Format::Text],
                _ => &[],
            };
            assert_eq!(readable_in(line), expected, "{line}");
        }
        assert!(!is_readable(b"a{b=\"\xff\"} 1", Format::Text));
    }

    #[test]
    fn what_either_format_has_is_readable_in_both() {
        for line in [
            "a 1",
            "a:b_c 1.5e-3",
            "a{} -Inf",
            "a NaN",
            "a{b=\"c\"} +Inf",
            "a{b=\"}\\\"\\\\\",c=\"d, e=\"} 1",
            "a{b=\"Grüße\"} 1 1700000000",
            "{\"a.b\"} 1",
            "{\"a.b\",c=\"d\",\"e.f\"=\"g\"} 1",
            "# HELP a ",
            "# HELP a What it is, \"quoted\"",
            "# TYPE a counter",
            "# TYPE a histogram",
            "# UNIT a_seconds seconds",
        ] {
            assert_eq!(readable_in(line).len(), 2, "{line}");
        }
    }

    #[test]
    fn what_one_format_alone_has_is_readable_there_alone() {
        for (line, format) in [
            ("a  1", Format::Text),
            ("a\t1 1700000000000", Format::Text),
            ("a {b=\"c\"} 1", Format::Text),
            ("a{ b = \"c\" , } 1", Format::Text),
            ("a{b=\"c\",} 1", Format::Text),
            ("# HELP a", Format::Text),
            ("# a comment", Format::Text),
            ("#a comment", Format::Text),
            ("# TYPE a untyped", Format::Text),
            ("# TYPE a unknown", Format::OpenMetrics),
            ("# TYPE a info", Format::OpenMetrics),
            ("a 1 1700000000.5", Format::OpenMetrics),
            (
                "a_bucket{le=\"1.0\"} 1 # {trace_id=\"b\"} 0.5",
                Format::OpenMetrics,
            ),
            ("a_total 1 1.5 # {} 0.5 1700000000.5", Format::OpenMetrics),
        ] {
            assert_eq!(readable_in(line), [format], "{line}");
        }
        // To the text format it is a comment.
        assert_eq!(readable_in("# UNIT a_seconds bytes"), [Format::Text]);
    }
}
