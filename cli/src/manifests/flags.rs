//! The flags of `netting-catalog`, which this command doesn't link: its `--help`, as
//! recorded beside its tests, which hold it to the code.

use crate::exit::Usage;

const HELP: &str = include_str!("../../../catalog/tests/golden/help.txt");

/// Has a look at flags (`streams-max=20000`), before a pod fails of them.
///
/// # Errors
/// If there is no such flag, or it takes a value and has none, or the reverse.
pub(super) fn known_to_the_catalog(given: &[String]) -> Result<(), Usage> {
    for flag in given {
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (flag.as_str(), None),
        };
        let Some((_, takes_value)) = catalog().find(|(known, _)| *known == name) else {
            let all: Vec<&str> = catalog().map(|(known, _)| known).collect();
            return Err(Usage(format!(
                "--catalog-set: netting-catalog has no flag {name}; it has {}",
                all.join(", ")
            )));
        };
        if takes_value && value.is_none_or(str::is_empty) {
            let why = format!("--catalog-set: {name} takes a value: write {name}=VALUE");
            return Err(Usage(why));
        }
        if !takes_value && value.is_some() {
            let why = format!("--catalog-set: {name} takes no value: write {name} alone");
            return Err(Usage(why));
        }
    }
    Ok(())
}

/// Each flag, and whether it takes a value: those lines of the help that begin with one.
pub(super) fn catalog() -> impl Iterator<Item = (&'static str, bool)> {
    // What only prints and ends has a short name before it, and is none for a container.
    HELP.lines().filter_map(|line| {
        let flag = line.trim_start().strip_prefix("--")?;
        Some(match flag.split_once(' ') {
            Some((name, _)) => (name, true),
            None => (flag, false),
        })
    })
}
