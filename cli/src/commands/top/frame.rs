//! One screenful, as text with escape sequences (ECMA-48).

use std::fmt::Write as _;

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Workloads,
    Edges,
}

pub(super) struct Frame<'a> {
    pub(super) view: View,
    pub(super) namespace: &'a str,
    /// Why the table is not as new as it should be, or why there is none yet.
    pub(super) trouble: Option<&'a str>,
    /// A table, if there is one yet.
    pub(super) table: Option<&'a str>,
}

const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
const REVERSE: &str = "\x1b[7m";
const RESET: &str = "\x1b[0m";
const LOOKING: &str = "looking…\n";
/// The title, and the line that says what is left out.
const OTHER_ROWS: usize = 3;

impl Frame<'_> {
    /// For a terminal of so many rows: what doesn't fit is left out, and said so.
    pub(super) fn render(&self, rows: usize) -> String {
        let view = match self.view {
            View::Workloads => "workloads",
            View::Edges => "edges",
        };
        let mut text = format!(
            "{HOME}{REVERSE}netting top: {view} of {} (w workloads, e edges, q quit){RESET}{CLEAR_LINE}\n",
            self.namespace
        );
        let mut fit = rows.saturating_sub(OTHER_ROWS).max(1);
        if let Some(trouble) = self.trouble {
            let shown = self.table.map_or("", |_| "as it was before: ");
            let _ = writeln!(text, "{shown}{trouble}{CLEAR_LINE}");
            fit = fit.saturating_sub(1).max(1);
        }
        let lines = self.table.unwrap_or(LOOKING);
        for line in lines.lines().take(fit) {
            let _ = writeln!(text, "{line}{CLEAR_LINE}");
        }
        let left_out = lines.lines().count().saturating_sub(fit);
        if left_out > 0 {
            let _ = write!(text, "… and {left_out} more{CLEAR_LINE}");
        }
        text + CLEAR_BELOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_said_to_be_left_out() {
        let frame = Frame {
            view: View::Edges,
            namespace: "shop",
            trouble: None,
            table: Some("HEAD\na\nb\nc\n"),
        };
        let whole = frame.render(24);
        assert!(
            whole.contains("edges of shop") && whole.contains("c\x1b[K\n"),
            "{whole:?}"
        );
        assert!(!whole.contains("more"), "{whole:?}");
        let small = frame.render(5);
        assert!(
            small.ends_with("a\x1b[K\n… and 2 more\x1b[K\x1b[J"),
            "{small:?}"
        );
    }
}
