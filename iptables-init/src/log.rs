use std::fmt::Display;
use std::io::{self, Write};

/// Writes one line of `key=value` pairs (logfmt) to standard error.
///
/// The message is constant and the rest are fields, as everywhere in Netting; a logging library
/// would cost more than all the rest of this program.
pub(crate) fn log(level: Level, message: &'static str, fields: &[(&str, &dyn Display)]) {
    let line = line(level, message, fields);
    // There is nowhere to report to if standard error is gone; the exit code still tells.
    let _ = io::stderr().write_all(line.as_bytes());
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Level {
    Info,
    Error,
}

fn line(level: Level, message: &'static str, fields: &[(&str, &dyn Display)]) -> String {
    let level = match level {
        Level::Info => "info",
        Level::Error => "error",
    };
    let mut line = format!("level={level} message={}", value(message));
    for (name, field) in fields {
        line.push_str(&format!(" {name}={}", value(&field.to_string())));
    }
    line.push('\n');
    line
}

/// The value as it is if it is one word, otherwise in quotes with everything escaped that would
/// end the quotes or the line.
fn value(text: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\');
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => quoted.extend(c.escape_unicode()),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_field_ends_the_line_or_the_quotes() {
        let nasty = "a \"b\"\nlevel=info\u{1b}[2J\\";
        let line = line(Level::Error, "rules not applied", &[("error", &nasty)]);
        assert_eq!(
            line,
            "level=error message=\"rules not applied\" \
             error=\"a \\\"b\\\"\\nlevel=info\\u{1b}[2J\\\\\"\n"
        );
    }

    #[test]
    fn single_words_stay_bare() {
        let fields: [(&str, &dyn Display); 3] = [("ms", &7), ("none", &""), ("addr", &"[::1]:9")];
        let line = line(Level::Info, "done", &fields);
        assert_eq!(
            line,
            "level=info message=done ms=7 none=\"\" addr=[::1]:9\n"
        );
    }
}
