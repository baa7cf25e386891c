//! Tables as `kubectl` prints them: columns padded to their longest cell.

use std::fmt::Write as _;

/// Between two columns.
const GAP: usize = 3;
const RESET: &str = "\x1b[0m";

/// Rows under headings. Columns that are wide alone come last.
#[derive(Clone, Debug, Default)]
pub struct Table {
    headings: Vec<&'static str>,
    /// How many of them are there without `-o wide`.
    narrow: usize,
    rows: Vec<Vec<Cell>>,
}

/// What stands in one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

/// What a cell says by its colour as well; never by its colour alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// Somebody should look at it.
    Warning,
    /// It does not work.
    Bad,
    /// It matters less than the rest.
    Faint,
}

impl Tone {
    /// The escape sequence (ECMA-48 SGR) that it begins with; empty for plain text.
    #[must_use]
    pub fn escape(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "\x1b[32m",
            Self::Warning => "\x1b[33m",
            Self::Bad => "\x1b[31m",
            Self::Faint => "\x1b[2m",
        }
    }

    /// Text of this tone, with its escape sequences if there are to be colours.
    #[must_use]
    pub fn paint(self, text: &str, colours: bool) -> String {
        match self.escape() {
            escape if colours && !escape.is_empty() => format!("{escape}{text}{RESET}"),
            _ => text.to_owned(),
        }
    }

    /// A cell of this tone.
    #[must_use]
    pub fn cell(self, text: impl Into<String>) -> Cell {
        Cell {
            text: text.into(),
            tone: self,
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Tone::Plain.cell(text)
    }
}

impl Table {
    /// With these columns, all of them there without `-o wide`.
    #[must_use]
    pub fn new(headings: impl IntoIterator<Item = &'static str>) -> Self {
        let headings: Vec<_> = headings.into_iter().collect();
        Self {
            narrow: headings.len(),
            headings,
            rows: Vec::new(),
        }
    }

    /// And with these for `-o wide`.
    #[must_use]
    pub fn wide(mut self, headings: impl IntoIterator<Item = &'static str>) -> Self {
        self.headings.extend(headings);
        self
    }

    /// Adds a row: a cell for each column, those of `-o wide` included. Those left
    /// out at the end are empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<Cell>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Whether it has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as lines, without space at their ends.
    #[must_use]
    pub fn render(&self, wide: bool, colours: bool) -> String {
        let count = if wide {
            self.headings.len()
        } else {
            self.narrow
        };
        let headings = self.headings[..count].iter().copied().map(Cell::from);
        let headings: Vec<Cell> = headings.collect();
        let rows = || std::iter::once(&headings).chain(&self.rows);
        let width = |column: usize| {
            let cells = rows().filter_map(|row| row.get(column));
            cells.map(Cell::width).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..count).map(width).collect();
        let mut out = String::new();
        for row in rows() {
            let mut padding = 0;
            for (cell, width) in row.iter().zip(&widths) {
                if !cell.text.is_empty() {
                    let painted = cell.tone.paint(&cell.text, colours);
                    let _ = write!(out, "{:padding$}{painted}", "");
                    padding = 0;
                }
                padding += width - cell.width() + GAP;
            }
            out.push('\n');
        }
        out
    }
}

impl Cell {
    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["NAME", "STATE"]).wide(["NODE"]);
        table.row([Cell::from("a"), Tone::Bad.cell("broken"), "node-1".into()]);
        table.row(["a-long-name", "", "node-22"]);
        table
    }

    #[test]
    fn columns_are_as_wide_as_their_longest_cell_and_lines_end_without_space() {
        let expected = "NAME          STATE\na             broken\na-long-name\n";
        assert_eq!(table().render(false, false), expected);
    }

    #[test]
    fn wide_tables_have_the_other_columns_too() {
        let expected = "NAME          STATE    NODE\n\
                        a             broken   node-1\n\
                        a-long-name            node-22\n";
        assert_eq!(table().render(true, false), expected);
    }

    #[test]
    fn colours_change_nothing_about_the_columns() {
        let painted = table().render(true, true);
        assert!(
            painted.contains("\x1b[31mbroken\x1b[0m   node-1"),
            "{painted}"
        );
        let plain = painted.replace("\x1b[31m", "").replace(RESET, "");
        assert_eq!(plain, table().render(true, false));
    }

    #[test]
    fn a_table_without_rows_is_its_headings() {
        assert_eq!(Table::new(["A", "B"]).render(false, true), "A   B\n");
    }
}
