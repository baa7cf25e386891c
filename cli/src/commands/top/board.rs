//! What is shown, from one look to the next. Nothing here asks anybody.

use tokio::time::Instant;

use crate::{
    edges::{self, Held},
    stat::{self, Look},
};

use super::frame::{Frame, View};

/// What one look has seen.
pub(super) enum Seen {
    Workloads(Look),
    /// When, and what.
    Edges(Instant, Held),
}

pub(super) struct Board {
    namespace: String,
    colours: bool,
    view: View,
    /// Whether any look has seen anything, of this view or the other.
    has_seen: bool,
    /// Of the same view, to compare the next look with.
    earlier: Option<Seen>,
    table: Option<String>,
    /// Why the last look saw nothing.
    trouble: Option<String>,
}

impl Board {
    pub(super) fn new(namespace: Option<&str>, colours: bool) -> Self {
        Self {
            namespace: namespace.unwrap_or("all namespaces").to_owned(),
            colours,
            view: View::Workloads,
            has_seen: false,
            earlier: None,
            table: None,
            trouble: None,
        }
    }

    pub(super) fn view(&self) -> View {
        self.view
    }

    /// Two looks are needed anew: what the last one saw of the other view may be old.
    pub(super) fn switch(&mut self, view: View) {
        if self.view != view {
            self.view = view;
            (self.earlier, self.table, self.trouble) = (None, None, None);
        }
    }

    /// # Errors
    /// If no look has ever seen anything. What goes wrong later may pass, and is shown.
    pub(super) fn see(&mut self, seen: anyhow::Result<Seen>) -> anyhow::Result<()> {
        let seen = match seen {
            Ok(seen) => seen,
            Err(error) if !self.has_seen => return Err(error),
            Err(error) => {
                self.trouble = Some(format!("{error:#}"));
                return Ok(());
            }
        };
        (self.has_seen, self.trouble) = (true, None);
        let table = match (&self.earlier, &seen) {
            (Some(Seen::Workloads(before)), Seen::Workloads(now)) => {
                let mut rows = stat::rows(before, now);
                rows.sort_by(|a, b| b.requests_per_second.total_cmp(&a.requests_per_second));
                Some(stat::table(&rows))
            }
            (Some(Seen::Edges(then, before)), Seen::Edges(at, now)) => {
                let mut edges = edges::edges(before, now, at.duration_since(*then));
                edges.sort_by(|a, b| b.requests_per_second.total_cmp(&a.requests_per_second));
                Some(edges::table(&edges))
            }
            _ => None,
        };
        self.earlier = Some(seen);
        self.table = table.map(|table| table.render(false, self.colours));
        Ok(())
    }

    /// A screenful, for a terminal of so many rows.
    pub(super) fn frame(&self, rows: usize) -> String {
        let frame = Frame {
            view: self.view,
            namespace: &self.namespace,
            trouble: self.trouble.as_deref(),
            table: self.table.as_deref(),
        };
        frame.render(rows)
    }
}
