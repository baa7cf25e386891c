//! `kind=target;option=value, kind`: a comma list, taken apart.

/// One item of the list, nothing of it judged yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// As it was written, for whoever has to mend it.
    pub(super) text: String,
    /// What is before the first `=`.
    pub(super) kind: String,
    /// What is after it.
    pub(super) target: Option<String>,
    /// The options in their order; one without `=` has no value.
    pub(super) options: Vec<(String, Option<String>)>,
    /// Whether a quotation mark has no second one.
    pub(super) unclosed: bool,
}

/// The items of a list. Empty ones are left out, as after a last comma. Commas and
/// semicolons between quotation marks are text.
pub(super) fn items(list: &str) -> Vec<Item> {
    let items = split(list, ',').into_iter().map(str::trim);
    items.filter(|text| !text.is_empty()).map(item).collect()
}

fn item(text: &str) -> Item {
    let mut parts = split(text, ';').into_iter().map(|part| {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name, Some(unquoted(value.trim()))),
            None => (part, None),
        };
        (name.trim().to_owned(), value)
    });
    let (kind, target) = parts.next().unwrap_or_default();
    Item {
        text: text.to_owned(),
        kind,
        target,
        options: parts
            .filter(|part| *part != (String::new(), None))
            .collect(),
        unclosed: text.matches('"').count() % 2 == 1,
    }
}

fn unquoted(value: &str) -> String {
    value.replace('"', "")
}

/// Splits at what is not between quotation marks.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut quoted = false;
    text.split(|c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_and_semicolons_in_quotation_marks_are_text() {
        let items = items(r#"a="x,y;z";tag.q="1;2", b"#);
        assert_eq!(items.len(), 2);
        assert_eq!(items[0].target.as_deref(), Some("x,y;z"));
        assert_eq!(items[0].options, [("tag.q".into(), Some("1;2".into()))]);
    }

    #[test]
    fn a_quotation_mark_without_its_second_is_noticed() {
        assert!(items(r#"a="x"#)[0].unclosed);
        assert!(!items(r#"a="x""#)[0].unclosed);
    }

    #[test]
    fn empty_items_and_options_are_nothing() {
        assert!(items(" , ,").is_empty());
        let items = items("prometheus, otlp=http://a:4317/?x=y ; interval = 5s;,");
        assert_eq!(items.len(), 2);
        assert_eq!(items[0].target, None);
        assert_eq!(items[1].target.as_deref(), Some("http://a:4317/?x=y"));
        assert_eq!(items[1].options, [("interval".into(), Some("5s".into()))]);
    }
}
