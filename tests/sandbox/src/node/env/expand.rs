//! `$(NAME)` in values and arguments.

/// Replaces `$(NAME)` by what `value` has for the name; `$$` is a plain `$`. A reference to nothing
/// stays as it is, as Kubernetes has it.
pub(super) fn expand(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = rest
            .strip_prefix('(')
            .and_then(|reference| reference.split_once(')'))
        {
            match value(name) {
                Some(value) => expanded.push_str(&value),
                None => expanded.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            expanded.push('$');
        }
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_closed_references_to_known_names_are_replaced() {
        let value = |name: &str| (name == "A").then(|| "1".to_owned());
        for (text, expanded) in [
            ("", ""),
            ("$", "$"),
            ("$(", "$("),
            ("$(A", "$(A"),
            ("$A ${A}", "$A ${A}"),
            ("$(B)", "$(B)"),
            ("$()", "$()"),
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("ü$(A)é$", "ü1é$"),
        ] {
            assert_eq!(expand(text, value), expanded, "{text}");
        }
    }
}
