//! Who answers: the pod's name and the version it plays.

use std::env;
use std::fs;

use serde::Serialize;

/// Names the server in every answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pod {
    /// `POD_NAME` (set it by the downward API), else the host name, which Kubernetes sets to the
    /// pod's name unless the pod is on the host network.
    pub pod: String,
    /// `NETTING_APP_VERSION`, else this program's version: two Deployments of one image can play
    /// `v1` and `v2`.
    pub version: String,
}

impl Pod {
    /// Reads the environment and the host name.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::from_values(
            env::var("POD_NAME").ok(),
            fs::read_to_string("/proc/sys/kernel/hostname").ok(),
            env::var("NETTING_APP_VERSION").ok(),
        )
    }

    fn from_values(
        pod_name: Option<String>,
        hostname: Option<String>,
        version: Option<String>,
    ) -> Self {
        let stated = |value: Option<String>| {
            value
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty())
        };
        Self {
            pod: stated(pod_name)
                .or_else(|| stated(hostname))
                .unwrap_or_else(|| "unknown".to_owned()),
            version: stated(version).unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Option<String> {
        Some(value.to_owned())
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let pod = Pod::from_values(text(""), text("echo-1\n"), text(" "));
        assert_eq!(pod.pod, "echo-1");
        assert_eq!(pod.version, env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn the_downward_api_wins_over_the_host_name() {
        let pod = Pod::from_values(text("echo-1"), text("node-a\n"), text("v2"));
        assert_eq!((pod.pod.as_str(), pod.version.as_str()), ("echo-1", "v2"));
    }

    #[test]
    fn nameless_machines_still_get_an_answer() {
        assert_eq!(Pod::from_values(None, None, None).pod, "unknown");
    }
}
