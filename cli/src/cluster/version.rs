//! The API server's version, and what depends on it.

use std::fmt;

use k8s_openapi::apimachinery::pkg::version::Info;

/// A version of Kubernetes. Distributions add to it (`v1.29.3-gke.1282000`), which
/// says nothing about what it can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// `1.29`; `None` if the server doesn't say it in a way that can be read.
    pub minor: Option<(u32, u32)>,
    /// As the server says it: `v1.29.3-gke.1282000`.
    pub text: String,
}

impl Version {
    /// What Netting asks of Kubernetes: the APIs of its manifests and of what it watches
    /// (EndpointSlices), server-side apply, and the label of a namespace's name.
    pub const OLDEST: (u32, u32) = (1, 22);

    /// From what `/version` answers.
    #[must_use]
    pub fn read(info: &Info) -> Self {
        let text = info.git_version.clone();
        let (major, minor) = (number(&info.major), number(&info.minor));
        let mut parts = text.trim_start_matches('v').split('.');
        let minor = major.zip(minor).or_else(|| {
            let first = parts.next().and_then(number);
            first.zip(parts.next().and_then(number))
        });
        Self { minor, text }
    }

    /// From `1.27`, `v1.27` or `v1.27.3`, as people write it.
    ///
    /// # Errors
    /// If it is none of these.
    pub fn parse(text: &str) -> Result<Self, String> {
        let read = Self::read(&Info {
            git_version: text.to_owned(),
            ..Info::default()
        });
        match read.minor {
            Some(_) => Ok(read),
            None => Err("expected a version such as 1.29".to_owned()),
        }
    }

    /// Whether it is known to be older than `major.minor`.
    #[must_use]
    pub fn is_before(&self, major: u32, minor: u32) -> bool {
        self.minor.is_some_and(|own| own < (major, minor))
    }
}

/// The number that a text begins with: `29+` is 29.
fn number(text: impl AsRef<str>) -> Option<u32> {
    let text = text.as_ref();
    let end = text.find(|c: char| !c.is_ascii_digit());
    text[..end.unwrap_or(text.len())].parse().ok()
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_distributions_are_read() {
        for (major, minor, text, expected) in [
            ("1", "29", "v1.29.0", Some((1, 29))),
            ("1", "29+", "v1.29.3-gke.1282000", Some((1, 29))),
            ("1", "19+", "v1.19.8-eks-96780e", Some((1, 19))),
            ("", "", "1.28+k3s1", Some((1, 28))),
            ("", "", "latest", None),
            ("", "", "", None),
        ] {
            let info = Info {
                major: major.to_owned(),
                minor: minor.to_owned(),
                git_version: text.to_owned(),
                ..Info::default()
            };
            let version = Version::read(&info);
            assert_eq!(version.minor, expected, "{text}");
            assert_eq!(version.to_string(), text);
        }
    }

    #[test]
    fn a_version_that_cannot_be_read_is_not_called_old() {
        let info = Info {
            git_version: "latest".to_owned(),
            ..Info::default()
        };
        assert!(!Version::read(&info).is_before(1, 22));
    }
}
