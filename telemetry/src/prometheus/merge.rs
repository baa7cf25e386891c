//! The application's exposition, passed on line by line beside the sidecar's own, but for
//! lines that are none.

use std::{
    collections::{HashMap, HashSet},
    mem,
};

use super::{Format, metric_name, readable::is_readable, target::Target, text};
use crate::snapshot::{Metric, Snapshot};

/// The family that says what the process is.
pub(super) const TARGET: &str = "target";
/// What no line of an honest exposition is as long as.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// What series have behind the name of their metric.
const SUFFIXES: [&str; 6] = ["_total", "_bucket", "_sum", "_count", "_created", "_info"];

/// Passes on whole lines, so that what is passed on is sound wherever it ends.
#[derive(Debug)]
pub(super) struct Lines<'s> {
    format: Format,
    /// The sidecar's own metrics, by their names without the suffixes of their series.
    ours: HashMap<String, Option<&'s Metric>>,
    /// Of those, the ones that the application has too.
    both: Both,
    /// The one that the last line was about, and whether it can have both's series.
    current: Option<(String, bool)>,
    target: Target,
    begun: Vec<u8>,
    ended: bool,
    /// Whether lines were left out that no scraper could read.
    pub(super) is_malformed: bool,
}

/// The sidecar's own metrics that the application has too.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Both {
    /// Written already, beside the application's, or left to it alone.
    pub(super) done: HashSet<String>,
    /// Those that are the application's alone, for its own are of another type.
    pub(super) left_out: HashSet<String>,
}

/// The application's exposition has a line that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LineTooLong;

impl<'s> Lines<'s> {
    /// Beside the sidecar's own, in the application's format.
    pub(super) fn new(snapshot: &'s Snapshot, format: Format) -> Self {
        let named = |metric: &'s Metric| (metric_name(metric).family, Some(metric));
        let ours = snapshot.metrics.iter().map(named);
        Self {
            format,
            ours: ours.chain([(TARGET.to_owned(), None)]).collect(),
            both: Both::default(),
            current: None,
            target: Target::new(text::target_labels(&snapshot.resource)),
            begun: Vec::new(),
            ended: false,
            is_malformed: false,
        }
    }

    /// Appends to `out` the lines that end within `bytes`.
    ///
    /// # Errors
    /// If one is too long.
    pub(super) fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), LineTooLong> {
        let mut pieces = bytes.split_inclusive(|byte| *byte == b'\n');
        pieces.try_for_each(|piece| {
            if self.begun.len() + piece.len() > LINE_BYTES_MAX {
                return Err(LineTooLong);
            }
            self.begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.line(out);
            }
            Ok(())
        })
    }

    /// It has all come: the last line may lack its end.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        self.line(out);
    }

    /// Appends what belongs behind the last line, and says what both have.
    pub(super) fn finish(mut self, out: &mut Vec<u8>) -> Both {
        self.end_family(out);
        self.both
    }

    /// A family's lines have to be together: behind the application's come the sidecar's.
    fn end_family(&mut self, out: &mut Vec<u8>) {
        let Some((family, fits)) = self.current.take() else {
            return;
        };
        if family == TARGET {
            self.target.end(out);
        }
        let metric = self.ours.get(&family).copied().flatten();
        if !self.both.done.insert(family.clone()) {
            return;
        }
        match metric {
            Some(metric) if fits => out.extend(text::series(metric, self.format).bytes()),
            Some(_) => drop(self.both.left_out.insert(family)),
            None => {}
        }
    }

    /// Notes what the next line is about.
    fn begin(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some(name) = name(line).and_then(|name| str::from_utf8(name).ok()) else {
            return;
        };
        let bare = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
        let known = [Some(name), bare].into_iter().flatten();
        let family = known.into_iter().find(|name| self.ours.contains_key(*name));
        if self.current.as_ref().map(|(family, _)| family.as_str()) != family {
            let family = family.map(|family| (family.to_owned(), false));
            self.end_family(out);
            self.current = family;
        }
        let Some((family, fits)) = &mut self.current else {
            return;
        };
        if let (Some(kind), Some(Some(metric))) = (kind(line), self.ours.get(family)) {
            let is_same = kind == text::kind(metric).as_bytes();
            *fits = is_same && name == text::called(metric, self.format);
        }
    }

    fn line(&mut self, out: &mut Vec<u8>) {
        let mut begun = mem::take(&mut self.begun);
        let line = match self.format {
            Format::Text => begun.trim_ascii(),
            Format::OpenMetrics => begun.strip_suffix(b"\n").unwrap_or(&begun),
        };
        // OpenMetrics ends here, and has no empty lines; the sidecar's own follows.
        self.ended |= line == b"# EOF";
        if !self.ended && !line.is_empty() {
            self.pass(line, out);
        }
        begun.clear();
        self.begun = begun;
    }

    fn pass(&mut self, line: &[u8], out: &mut Vec<u8>) {
        if !is_readable(line, self.format) {
            self.is_malformed = true;
            return;
        }
        self.begin(line, out);
        if !self.target.takes(line, out) {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
    }
}

/// The metric that a line is about; nothing, if it is a comment.
fn name(line: &[u8]) -> Option<&[u8]> {
    if !line.starts_with(b"#") {
        return line.split(|byte| b"{ \t".contains(byte)).next();
    }
    let mut words = line.split(|byte| b" \t".contains(byte)).skip(1);
    let about: &[&[u8]] = &[b"TYPE", b"HELP", b"UNIT"];
    words.next().filter(|word| about.contains(word))?;
    words.next()
}

/// The type that a line says its metric is of.
fn kind(line: &[u8]) -> Option<&[u8]> {
    let mut words = line.split(|byte| b" \t".contains(byte));
    let is_type = words.next() == Some(b"#") && words.next() == Some(b"TYPE");
    words.nth(1).filter(|_| is_type)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Metrics, instrument::Unit, labels::labels, snapshot::Descriptor};

    fn descriptor(name: &'static str, unit: &'static str) -> Descriptor {
        Descriptor {
            name,
            unit,
            description: "One",
        }
    }

    fn ours() -> Snapshot {
        let metrics = Metrics::new("test", "0");
        metrics.counters(descriptor("up", "{time}")).only().inc();
        let bytes = metrics.gauges(descriptor("held", "By"));
        bytes.with(&labels(&[("a", "b")])).set(7);
        let seconds = descriptor("http.duration", "s");
        let seconds = metrics.histograms(seconds, Unit::Seconds, &[0.5]);
        seconds.only().record(1_000_000_000);
        metrics.snapshot()
    }

    fn passed(pieces: &[&str]) -> (String, Vec<String>) {
        let ours = ours();
        let mut lines = Lines::new(&ours, Format::Text);
        let mut out = Vec::new();
        for piece in pieces {
            lines.take(piece.as_bytes(), &mut out).expect("short lines");
        }
        let mut theirs: Vec<_> = lines.finish(&mut out).done.into_iter().collect();
        theirs.sort();
        (String::from_utf8(out).expect("it was text"), theirs)
    }

    #[test]
    fn passes_on_whole_lines_up_to_the_end() {
        let (out, theirs) = passed(&["# TYPE a gau", "ge\na 1\r\n\n# EO", "F\nb 2\n", "c"]);
        assert_eq!(out, "# TYPE a gauge\na 1\n");
        assert_eq!(theirs, Vec::<String>::new());
        let (out, _) = passed(&["a 1\nb", " 2"]);
        assert_eq!(out, "a 1\n", "the other may have been cut off");
        let ours = ours();
        let mut lines = Lines::new(&ours, Format::Text);
        let mut out = Vec::new();
        lines.take(b"a 1\nb 2", &mut out).expect("short lines");
        lines.end(&mut out);
        assert_eq!(out, b"a 1\nb 2\n");
    }

    #[test]
    fn notes_what_both_have() {
        for (line, theirs) in [
            ("# a comment about up\n", ""),
            ("upper 1\n", ""),
            ("up_total{a=\"b\"} 1\n", "up"),
            ("up 1\n", "up"),
            ("# HELP up Is it there?\n", "up"),
            ("target_info{a=\"b\"} 1\n", "target"),
            (
                "http_duration_seconds_bucket{le=\"1\"} 1\n",
                "http_duration_seconds",
            ),
            ("{\"quoted.name\"} 1\n", ""),
            ("up is what it is\n", ""),
        ] {
            let expected: Vec<String> = theirs.split_terminator(',').map(str::to_owned).collect();
            assert_eq!(passed(&[line]).1, expected, "{line}");
        }
    }

    #[test]
    fn families_of_one_type_have_both_their_series_and_others_the_applications_alone() {
        let theirs = "# TYPE up_total counter\nup_total 5\n\
                      # HELP a A\na 1\n\
                      # TYPE http_duration_seconds histogram\n\
                      http_duration_seconds_bucket{le=\"+Inf\"} 2\n\
                      http_duration_seconds_sum 1\nhttp_duration_seconds_count 2\n\
                      # TYPE held_bytes counter\nheld_bytes 1\n";
        let ours = ours();
        let mut lines = Lines::new(&ours, Format::Text);
        let mut out = Vec::new();
        lines
            .take(theirs.as_bytes(), &mut out)
            .expect("short lines");
        let both = lines.finish(&mut out);
        let out = String::from_utf8(out).expect("it was text");
        let scope = "otel_scope_name=\"netting\"";
        let expected = theirs.replace(
            "up_total 5\n",
            &format!("up_total 5\nup_total{{{scope}}} 1\n"),
        );
        let own = format!(
            "http_duration_seconds_bucket{{{scope},le=\"0.5\"}} 0\n\
             http_duration_seconds_bucket{{{scope},le=\"+Inf\"}} 1\n\
             http_duration_seconds_sum{{{scope}}} 1\n\
             http_duration_seconds_count{{{scope}}} 1\n"
        );
        let last = "http_duration_seconds_count 2\n";
        assert_eq!(out, expected.replace(last, &format!("{last}{own}")));
        assert_eq!(both.left_out, ["held_bytes".to_owned()].into());
        assert_eq!(both.done.len(), 3, "{both:?}");
    }

    #[test]
    fn what_has_no_type_is_the_applications_alone() {
        let (out, theirs) = passed(&["up_total 5\n"]);
        assert_eq!(
            (out.as_str(), theirs),
            ("up_total 5\n", vec!["up".to_owned()])
        );
    }

    #[test]
    fn lines_that_are_none_are_left_out() {
        let ours = ours();
        for (format, theirs, expected) in [
            (Format::Text, "{\"status\":\"UP\"}\n", ""),
            (Format::Text, "<html>\na 1\n </html>\n", "a 1\n"),
            (Format::OpenMetrics, "# by hand\na  1\na 1\n", "a 1\n"),
        ] {
            let mut lines = Lines::new(&ours, format);
            let mut out = Vec::new();
            let taken = lines.take(theirs.as_bytes(), &mut out);
            assert_eq!((taken, lines.is_malformed), (Ok(()), true), "{theirs}");
            assert_eq!(out, expected.as_bytes(), "{theirs}");
        }
        let mut lines = Lines::new(&ours, Format::OpenMetrics);
        let mut out = Vec::new();
        let theirs = b"# HELP a \n# TYPE a gauge\na 1\n# EOF\n<html>\n";
        assert_eq!(lines.take(theirs, &mut out), Ok(()));
        assert!(!lines.is_malformed);
        assert_eq!(out, b"# HELP a \n# TYPE a gauge\na 1\n");
    }

    #[test]
    fn refuses_a_line_that_does_not_end() {
        let ours = ours();
        let mut lines = Lines::new(&ours, Format::Text);
        let (long, mut out) = (vec![b'x'; LINE_BYTES_MAX], Vec::new());
        assert_eq!(lines.take(&long, &mut out), Ok(()));
        assert_eq!(lines.take(b"y", &mut out), Err(LineTooLong));
        assert!(out.is_empty());
    }
}
