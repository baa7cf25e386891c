//! Where the documents of a file begin and end.

use serde_json::Value;

use super::Outcome;

/// A document with all that belongs to it: the separator and the comments before
/// it, and the space after it. All segments of a file together are the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment<'a> {
    pub(super) text: &'a str,
    /// The line that it begins at, from 1.
    line: usize,
}

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    Yaml,
    /// On several lines, or on one.
    Json {
        pretty: bool,
    },
}

/// A line that begins with `---` or `...` and a space, or ends there, is never
/// content (YAML 1.2, 9.1.2). JSON values may also follow each other as they are.
pub(super) fn split(text: &str) -> Vec<Segment<'_>> {
    let mut segments = Vec::new();
    let mut begin = 0;
    let mut begin_line = 1;
    let mut at = 0;
    for (line, number) in text.split_inclusive('\n').zip(1..) {
        let (cut_at, next_line) = if is_marker(line, "---") {
            (at, number)
        } else if is_marker(line, "...") {
            (at + line.len(), number + 1)
        } else {
            (begin, begin_line)
        };
        // Directives and comments before a separator belong to what follows it.
        let piece = &text[begin..cut_at.max(begin)];
        if cut_at > begin && !(is_marker(line, "---") && is_prologue(piece)) {
            push(&mut segments, piece, begin_line);
            (begin, begin_line) = (cut_at, next_line);
        }
        at += line.len();
    }
    push(&mut segments, &text[begin..], begin_line);
    segments
}

fn push<'a>(segments: &mut Vec<Segment<'a>>, text: &'a str, mut line: usize) {
    let mut begin = 0;
    for end in json_ends(text) {
        let text = &text[begin..end];
        segments.push(Segment { text, line });
        line += text.matches('\n').count();
        begin = end;
    }
}

/// Where JSON values end that follow each other; the last of them, and anything else,
/// ends with the text. What is wrong with the text is found when it is parsed.
fn json_ends(text: &str) -> Vec<usize> {
    let mut ends = Vec::new();
    if text.trim_start().starts_with('{') {
        let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        while let Some(Ok(_)) = stream.next() {
            ends.push(stream.byte_offset());
        }
        if !text[ends.last().copied().unwrap_or(0)..].trim().is_empty() {
            ends.clear();
        }
    }
    ends.pop();
    ends.push(text.len());
    ends
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Nothing but directives, comments and space.
fn is_prologue(text: &str) -> bool {
    text.lines().all(|line| {
        let line = line.trim_start_matches('\u{feff}').trim();
        line.is_empty() || line.starts_with(['#', '%'])
    })
}

impl<'a> Segment<'a> {
    /// Whether there is no document in it.
    pub(super) fn is_blank(&self) -> bool {
        let (_, body) = self.parts();
        let content = |line: &str| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with('#') && !is_marker(line, "...")
        };
        !body.lines().any(content)
    }

    /// The line at which its content begins.
    pub(super) fn line_of_content(&self) -> usize {
        let (head, body) = self.parts();
        let space = &body[..body.len() - body.trim_start().len()];
        self.line + head.matches('\n').count() + space.matches('\n').count()
    }

    /// What stands before the content and stays if that is written anew: separator
    /// and comments, and before a JSON value the space.
    pub(super) fn head(&self, syntax: Syntax) -> &'a str {
        let (head, body) = self.parts();
        match syntax {
            Syntax::Yaml => head,
            Syntax::Json { .. } => &self.text[..self.text.len() - body.trim_start().len()],
        }
    }

    /// What stands behind the content and stays: the space after a JSON value, or the
    /// end marker of a YAML document, without which the next one would run into it.
    pub(super) fn tail(&self, syntax: Syntax) -> &'a str {
        match syntax {
            Syntax::Json { .. } => &self.text[self.text.trim_end().len()..],
            Syntax::Yaml => self
                .text
                .split_inclusive('\n')
                .next_back()
                .filter(|line| is_marker(line, "..."))
                .unwrap_or_default(),
        }
    }

    /// The lines before the first one with content, and the rest. A separator with
    /// content on its own line has that content in the rest.
    fn parts(&self) -> (&'a str, &'a str) {
        let mut at = 0;
        for line in self.text.split_inclusive('\n') {
            let behind = line
                .strip_prefix("---")
                .filter(|_| is_marker(line, "---"))
                .unwrap_or(line);
            let is_separator = behind.len() < line.len();
            if !is_prologue(behind) {
                let marker = if is_separator { "---".len() } else { 0 };
                return self.text.split_at(at + marker);
            }
            at += line.len();
        }
        (self.text, "")
    }

    /// # Errors
    /// [`Outcome::Malformed`].
    pub(super) fn parse(&self) -> Result<(Value, Syntax), Outcome> {
        let (_, body) = self.parts();
        if body.trim_start().starts_with('{')
            && let Ok(value) = serde_json::from_str(body)
        {
            let pretty = body.trim().contains('\n');
            return Ok((value, Syntax::Json { pretty }));
        }
        serde_saphyr::from_str_with_options(self.text, yaml_options())
            .map(|value| (value, Syntax::Yaml))
            .map_err(|error| self.malformed(&error))
    }

    fn malformed(&self, error: &serde_saphyr::Error) -> Outcome {
        let line = error.location().map(|location| location.line());
        let line = line.and_then(|line| usize::try_from(line).ok());
        Outcome::Malformed {
            line: line.map(|line| self.line + line.saturating_sub(1)),
            error: error.without_snippet().to_string(),
        }
    }
}

/// As kubectl reads YAML, which is 1.1: `0644` is octal, and `yes` is true.
fn yaml_options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        legacy_octal_numbers: true,
        strict_booleans: false,
    }
}
