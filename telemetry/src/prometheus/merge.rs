//! The application's exposition, passed on line by line beside the sidecar's own.

use std::collections::{BTreeMap, HashSet};

use super::target;

/// What no line of an honest exposition is as long as.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// What series have behind the name of their metric.
const SUFFIXES: [&str; 6] = ["_total", "_bucket", "_sum", "_count", "_created", "_info"];

/// Passes on whole lines, so that what is passed on is sound wherever it ends.
#[derive(Debug)]
pub(super) struct Lines {
    /// Metrics that the sidecar has too, without the suffixes of their series.
    ours: HashSet<String>,
    theirs: HashSet<String>,
    /// What the sidecar's `target_info` would say.
    target: BTreeMap<String, String>,
    begun: Vec<u8>,
    ended: bool,
}

/// The application's exposition has a line that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LineTooLong;

impl Lines {
    /// `ours` are the names of the sidecar's own metrics, and `target` what it says of the
    /// process.
    pub(super) fn new(ours: HashSet<String>, target: BTreeMap<String, String>) -> Self {
        Self {
            ours,
            theirs: HashSet::new(),
            target,
            begun: Vec::new(),
            ended: false,
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

    /// Of the sidecar's own metrics, those that the application has too.
    pub(super) fn theirs(self) -> HashSet<String> {
        self.theirs
    }

    fn line(&mut self, out: &mut Vec<u8>) {
        let line = self.begun.trim_ascii();
        // OpenMetrics ends here, and has no empty lines; the sidecar's own follows.
        self.ended |= line == b"# EOF";
        if !self.ended && !line.is_empty() {
            if let Some(name) = name(line).and_then(|name| std::str::from_utf8(name).ok()) {
                let bare = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
                let known = [Some(name), bare].into_iter().flatten();
                let ours = known.filter(|name| self.ours.contains(*name));
                self.theirs.extend(ours.map(str::to_owned));
            }
            match target::with(line, &self.target) {
                Some(both) => out.extend_from_slice(&both),
                None => out.extend_from_slice(line),
            }
            out.push(b'\n');
        }
        self.begun.clear();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(pieces: &[&str]) -> (String, Vec<String>) {
        let ours = ["target", "up", "netting_tcp_sent_bytes", "http_seconds"];
        let mut lines = Lines::new(ours.map(str::to_owned).into(), BTreeMap::new());
        let mut out = Vec::new();
        for piece in pieces {
            lines.take(piece.as_bytes(), &mut out).expect("short lines");
        }
        let mut theirs: Vec<_> = lines.theirs().into_iter().collect();
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
        let mut lines = Lines::new(HashSet::new(), BTreeMap::new());
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
            ("http_seconds_bucket{le=\"1\"} 1\n", "http_seconds"),
            ("{\"quoted.name\"} 1\n", ""),
        ] {
            let expected: Vec<String> = theirs.split_terminator(',').map(str::to_owned).collect();
            assert_eq!(passed(&[line]).1, expected, "{line}");
        }
    }

    #[test]
    fn refuses_a_line_that_does_not_end() {
        let mut lines = Lines::new(HashSet::new(), BTreeMap::new());
        let (long, mut out) = (vec![b'x'; LINE_BYTES_MAX], Vec::new());
        assert_eq!(lines.take(&long, &mut out), Ok(()));
        assert_eq!(lines.take(b"y", &mut out), Err(LineTooLong));
        assert!(out.is_empty());
    }
}
