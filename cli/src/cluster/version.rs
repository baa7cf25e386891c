//! The API server's version, and what depends on it.

use std::fmt;

use k8s_openapi::apimachinery::pkg::version::Info;
use netting_webhook::api_version::Release;

/// A version of Kubernetes. Distributions add to it (`v1.29.3-gke.1282000`), which
/// says nothing about what it can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// `1.29`; `None` if the server doesn't say it in a way that can be read.
    pub release: Option<Release>,
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
        Self {
            release: Release::read(info),
            text: info.git_version.clone(),
        }
    }

    /// From `1.27`, `v1.27` or `v1.27.3`, as people write it.
    ///
    /// # Errors
    /// If it is none of these.
    pub fn parse(text: &str) -> Result<Self, String> {
        let release = Release::of_version(text);
        if release.is_none() {
            return Err("expected a version such as 1.29".to_owned());
        }
        let text = text.to_owned();
        Ok(Self { release, text })
    }

    /// Whether it is known to be older than `major.minor`.
    #[must_use]
    pub fn is_before(&self, major: u32, minor: u32) -> bool {
        self.release
            .is_some_and(|own| own < Release { major, minor })
    }
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
    fn a_version_is_told_as_the_server_says_it() {
        let info = Info {
            major: "1".to_owned(),
            minor: "29+".to_owned(),
            git_version: "v1.29.3-gke.1282000".to_owned(),
            ..Info::default()
        };
        let version = Version::read(&info);
        assert!(version.is_before(1, 30) && !version.is_before(1, 29));
        assert_eq!(version.to_string(), "v1.29.3-gke.1282000");
        assert!(Version::parse("1.24").is_ok_and(|version| version.is_before(1, 25)));
        assert!(Version::parse("latest").is_err());
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
