//! What is put on a series beside its own labels, for protocols that have no resource.

use crate::snapshot::{Label, Labels};

/// What tells the same series of two pods apart.
const IDENTITY: [&str; 3] = ["service.name", "k8s.namespace.name", "k8s.pod.name"];

/// Tags of every series, by the configuration and the process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tags {
    configured: Vec<(String, String)>,
    /// Whether the process's identity is among them.
    identity: bool,
    /// `OTEL_RESOURCE_ATTRIBUTES`, as far as they say who the process is.
    overrides: Vec<(String, String)>,
}

impl Tags {
    /// The configured ones, and those of the process's identity.
    pub(crate) fn with_identity(
        configured: &[(String, String)],
        overrides: &[(String, String)],
    ) -> Self {
        Self {
            configured: configured.to_vec(),
            identity: true,
            overrides: overrides.to_vec(),
        }
    }

    /// The configured ones alone.
    pub(crate) fn configured(configured: &[(String, String)]) -> Self {
        Self {
            configured: configured.to_vec(),
            ..Self::default()
        }
    }

    /// All of a series, each key once: the configuration goes over the labels, and
    /// they over the identity. None without value, which most protocols cannot write.
    pub(crate) fn of<'a>(
        &'a self,
        labels: &'a Labels,
        resource: &'a [Label],
    ) -> Vec<(&'a str, &'a str)> {
        let mut all: Vec<(&str, &str)> = Vec::with_capacity(labels.len() + 4);
        let mut add = |key: &'a str, value: &'a str| {
            if !value.is_empty() && !all.iter().any(|(other, _)| *other == key) {
                all.push((key, value));
            }
        };
        for (key, value) in &self.configured {
            add(key, value);
        }
        for label in labels.iter() {
            add(label.key, &label.value);
        }
        if self.identity {
            let is_identity = |key: &str| IDENTITY.contains(&key);
            for (key, value) in self.overrides.iter().filter(|(key, _)| is_identity(key)) {
                add(key, value);
            }
            for label in resource.iter().filter(|label| is_identity(label.key)) {
                add(label.key, &label.value);
            }
        }
        all.sort_unstable();
        all
    }
}

/// A text with `_` in place of what a protocol has other uses for.
pub(crate) fn plain(text: &str, is_taken: impl Fn(char) -> bool) -> String {
    let replaced = |c: char| {
        if c.is_control() || is_taken(c) {
            '_'
        } else {
            c
        }
    };
    text.chars().map(replaced).collect()
}

/// `.key.value` for each, in which nothing else is a dot.
pub(crate) fn path(tags: &[(&str, &str)]) -> String {
    let segment = |text: &str| plain(text, |c| !(c.is_ascii_alphanumeric() || "-_".contains(c)));
    let both = |(key, value): &(&str, &str)| format!(".{}.{}", segment(key), segment(value));
    tags.iter().map(both).collect()
}

/// `;key=value` for each, <https://graphite.readthedocs.io/en/latest/tags.html>.
pub(crate) fn graphite(tags: &[(&str, &str)]) -> String {
    let one = |(key, value): &(&str, &str)| {
        let is_taken = |c: char| c.is_whitespace() || ";:|@".contains(c);
        let key = plain(key, |c| is_taken(c) || "!^=".contains(c));
        let value = plain(value, is_taken);
        // A ~ in front would make a pattern of it.
        let value = value.strip_prefix('~').unwrap_or(&value);
        format!(";{key}={value}")
    };
    tags.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&'static str, &str)]) -> Labels {
        let label = |(key, value): &(&'static str, &str)| Label {
            key,
            value: (*value).into(),
        };
        pairs.iter().map(label).collect()
    }

    #[test]
    fn each_key_is_there_once_and_the_configuration_goes_first() {
        let resource = labels(&[("k8s.pod.name", "web-1"), ("host.name", "node-1")]);
        let own = labels(&[("a", "own"), ("b", "own"), ("empty", "")]);
        let configured = [("a".to_owned(), "mine".to_owned())];
        let tags = Tags::with_identity(&configured, &[]);
        assert_eq!(
            tags.of(&own, &resource),
            [("a", "mine"), ("b", "own"), ("k8s.pod.name", "web-1")]
        );
        let tags = Tags::configured(&[]);
        assert_eq!(tags.of(&own, &resource), [("a", "own"), ("b", "own")]);
    }

    #[test]
    fn paths_have_no_other_dots() {
        assert_eq!(path(&[("url.path", "/a.b c")]), ".url_path._a_b_c");
    }

    #[test]
    fn graphite_has_no_patterns_and_no_ends() {
        assert_eq!(graphite(&[("a=b", "~x y;z")]), ";a_b=x_y_z");
    }
}
