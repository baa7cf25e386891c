//! Lines for a person at a terminal.

use std::time::Instant;

/// Says what is being done, and how long it took so far.
pub(crate) struct Progress {
    begun: Instant,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
        }
    }

    pub(crate) fn step(&self, what: &str) {
        println!("[{:5.1} s] {what}", self.begun.elapsed().as_secs_f64());
    }
}

pub(crate) fn headline(text: &str) {
    println!("\n{text}");
}

/// Prints columns, each as wide as its widest cell.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    let header = header.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&header).chain(rows) {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        println!("  {}", cells.collect::<Vec<_>>().join("   ").trim_end());
    }
}

/// One measured number beside its target.
pub(crate) fn measured(what: &str, value: f64, unit: &str, target: f64) {
    let verdict = if value <= target { "" } else { "   (missed)" };
    println!("  {what:<46} {value:>8.1} {unit:<3} target: under {target:.0} {unit}{verdict}");
}
