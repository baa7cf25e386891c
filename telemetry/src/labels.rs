//! Makes what tells series apart.

use std::sync::Arc;

use crate::snapshot::{Label, Labels};

/// Labels, sorted by key.
#[must_use]
pub fn labels(pairs: &[(&'static str, &str)]) -> Labels {
    with(&none(), pairs)
}

/// The same labels and these; they have other keys.
#[must_use]
pub fn with(base: &Labels, pairs: &[(&'static str, &str)]) -> Labels {
    let more = pairs.iter().map(|(key, value)| Label {
        key,
        value: Arc::from(*value),
    });
    let mut all: Vec<Label> = base.iter().cloned().chain(more).collect();
    all.sort_by_key(|label| label.key);
    all.into()
}

/// No label.
#[must_use]
pub fn none() -> Labels {
    Arc::from([])
}

/// The value of a label.
#[must_use]
pub fn value<'l>(labels: &'l [Label], key: &str) -> Option<&'l str> {
    let label = labels.iter().find(|label| label.key == key)?;
    Some(&label.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_sorted_wherever_they_come_from() {
        let base = labels(&[("m", "1")]);
        let all = with(&base, &[("z", "2"), ("a", "3")]);
        let keys: Vec<_> = all.iter().map(|label| label.key).collect();
        assert_eq!(keys, ["a", "m", "z"]);
        assert_eq!(value(&all, "z"), Some("2"));
        assert_eq!(value(&all, "b"), None);
    }
}
