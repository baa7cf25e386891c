//! The versions of the API server and of the kubelets, and what depends on them.

use std::time::Duration;

use k8s_openapi::{api::core::v1::Node, apimachinery::pkg::version::Info};
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use tokio::time::{sleep, timeout};

/// The version can change under a webhook that runs: each upgrade of the cluster does.
const LOOK_EVERY: Duration = Duration::from_secs(5 * 60);
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(30);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Nodes are big, and of each only a version is kept.
const NODES_PER_PAGE: u32 = 100;

/// A release of Kubernetes, as far as anything here depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    /// 1, for the time being.
    pub major: u32,
    /// What changes with each release.
    pub minor: u32,
}

impl Release {
    /// The first release in which native sidecars (`restartPolicy` of init
    /// containers) need no feature gate.
    /// <https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/>
    const NATIVE_SIDECARS: Self = Self {
        major: 1,
        minor: 29,
    };

    /// The first release whose API server has no kubelets that are older than that: they may be
    /// three releases behind.
    /// <https://kubernetes.io/releases/version-skew-policy/#kubelet>
    const NO_OLDER_KUBELETS: Self = Self {
        major: 1,
        minor: 32,
    };

    /// Reads what `/version` says. The version that is emulated counts, where the API
    /// server says one: features go by it. Then major and minor, which vendors write
    /// as `29+` or `29-eks-…`, then `gitVersion`.
    #[must_use]
    pub fn read(info: &Info) -> Option<Self> {
        let emulated = info
            .emulation_major
            .as_deref()
            .zip(info.emulation_minor.as_deref());
        let stated = (info.major.as_str(), info.minor.as_str());
        emulated
            .and_then(|(major, minor)| Self::of(major, minor))
            .or_else(|| Self::of(stated.0, stated.1))
            .or_else(|| Self::of_version(&info.git_version))
    }

    /// Reads a version as `v1.30.0-rc.1`.
    #[must_use]
    pub fn of_version(version: &str) -> Option<Self> {
        let mut parts = version.trim_start_matches('v').split('.');
        Self::of(parts.next()?, parts.next()?)
    }

    fn of(major: &str, minor: &str) -> Option<Self> {
        Some(Self {
            major: leading_number(major)?,
            minor: leading_number(minor)?,
        })
    }

    /// Whether its init containers can be sidecars.
    #[must_use]
    pub fn has_native_sidecars(self) -> bool {
        self >= Self::NATIVE_SIDECARS
    }
}

/// Whether pods can have native sidecars: if the API server takes them, and every kubelet
/// knows what to do with them. One that doesn't would wait for their end, and a cluster's API
/// server is upgraded before its nodes are. A version that can't be understood counts as old.
#[must_use]
pub fn native_sidecars(api_server: Option<Release>, nodes: &[Node]) -> bool {
    api_server.is_some_and(Release::has_native_sidecars)
        && (!depends_on_kubelets(api_server) || old_kubelets(nodes).next().is_none())
}

/// Whether the kubelets have a say in that, besides the API server.
#[must_use]
pub fn depends_on_kubelets(api_server: Option<Release>) -> bool {
    api_server.is_some_and(|release| {
        release.has_native_sidecars() && release < Release::NO_OLDER_KUBELETS
    })
}

/// Those nodes whose kubelets know no native sidecars, or can't be understood.
pub fn old_kubelets(nodes: &[Node]) -> impl Iterator<Item = &Node> {
    let is_new = |node: &Node| {
        let status = node.status.as_ref();
        let info = status.and_then(|status| status.node_info.as_ref());
        let release = info.and_then(|info| Release::of_version(&info.kubelet_version));
        release.is_some_and(Release::has_native_sidecars)
    };
    nodes.iter().filter(move |node| !is_new(node))
}

fn leading_number(text: &str) -> Option<u32> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit());
    text[..end.unwrap_or(text.len())].parse().ok()
}

/// Why the cluster's versions are not known.
#[derive(Debug, thiserror::Error)]
enum Unknown {
    #[error("no answer within {ANSWER_TIMEOUT:?}")]
    Late,
    #[error(transparent)]
    Failed(#[from] kube::Error),
    #[error("the API server's version cannot be understood: {0:?}")]
    Version(Box<Info>),
}

/// Asks again and again, for as long as it is polled, whether pods can have native
/// sidecars ([`native_sidecars`]), and says so whenever that has changed. What is known
/// stays so while the API server does not say.
pub async fn follow(client: Client, changed: impl Fn(bool)) {
    let mut known = None;
    let mut retry = FIRST_RETRY;
    loop {
        match ask(&client).await {
            Ok((version, native_sidecars)) => {
                retry = FIRST_RETRY;
                if known != Some(native_sidecars) {
                    tracing::info!(version, native_sidecars, "the API server's version");
                    known = Some(native_sidecars);
                    changed(native_sidecars);
                }
                sleep(LOOK_EVERY).await;
            }
            Err(error) => {
                let native_sidecars = known.unwrap_or_default();
                tracing::warn!(
                    %error,
                    ?retry,
                    native_sidecars,
                    "cannot tell the versions of the API server and the kubelets; \
                     set --sidecar-mode=native if they are all 1.29 or later"
                );
                sleep(retry).await;
                retry = LAST_RETRY.min(retry * 2);
            }
        }
    }
}

/// The API server's version, and whether pods can have native sidecars.
async fn ask(client: &Client) -> Result<(String, bool), Unknown> {
    let info = in_time(client.apiserver_version()).await?;
    let Some(release) = Release::read(&info) else {
        return Err(Unknown::Version(Box::new(info)));
    };
    let old_kubelet = if depends_on_kubelets(Some(release)) {
        old_kubelet(client).await?
    } else {
        None
    };
    if let Some(node) = &old_kubelet {
        tracing::info!(
            node,
            "sidecars are classic until every kubelet is 1.29 or later"
        );
    }
    let native_sidecars = release.has_native_sidecars() && old_kubelet.is_none();
    Ok((info.git_version, native_sidecars))
}

/// The name of a node whose kubelet knows no native sidecars, or can't be understood.
async fn old_kubelet(client: &Client) -> Result<Option<String>, Unknown> {
    let nodes: Api<Node> = Api::all(client.clone());
    let mut page = ListParams::default().limit(NODES_PER_PAGE);
    loop {
        let listed = in_time(nodes.list(&page)).await?;
        if let Some(node) = old_kubelets(&listed.items).next() {
            return Ok(Some(node.name_any()));
        }
        match listed.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(None),
        }
    }
}

async fn in_time<T>(answer: impl Future<Output = kube::Result<T>>) -> Result<T, Unknown> {
    let answer = timeout(ANSWER_TIMEOUT, answer).await;
    Ok(answer.map_err(|_| Unknown::Late)??)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(major: &str, minor: &str, git_version: &str) -> Option<(u32, u32)> {
        let info = Info {
            major: major.to_owned(),
            minor: minor.to_owned(),
            git_version: git_version.to_owned(),
            ..Info::default()
        };
        Release::read(&info).map(|version| (version.major, version.minor))
    }

    #[test]
    fn what_cannot_be_understood_is_unknown() {
        for (major, minor, git_version) in [
            ("", "", ""),
            ("1", "", "v1"),
            ("", "", "garbage"),
            ("one", "two", "v.."),
            ("1", "99999999999", "master"),
        ] {
            assert_eq!(
                read(major, minor, git_version),
                None,
                "{minor} {git_version}"
            );
        }
    }

    #[test]
    fn vendors_and_prereleases_are_understood() {
        for (major, minor, git_version, expected) in [
            ("1", "29", "v1.29.0", (1, 29)),
            ("1", "29+", "v1.29.3-gke.1282000", (1, 29)),
            ("1", "29-eks-a5b1", "v1.29.1-eks-b9c9ed7", (1, 29)),
            ("1", "30+", "v1.30.0-rc.1", (1, 30)),
            ("", "", "v1.30.0-rc.1", (1, 30)),
            ("", "", "1.28+k3s1", (1, 28)),
            ("", "", "v1.27.4+k3s1", (1, 27)),
            ("2", "0", "v2.0.0", (2, 0)),
        ] {
            assert_eq!(
                read(major, minor, git_version),
                Some(expected),
                "{git_version}"
            );
        }
    }

    #[test]
    fn native_sidecars_are_there_from_1_29_on() {
        for (major, minor, expected) in
            [(0, 99, false), (1, 28, false), (1, 29, true), (2, 0, true)]
        {
            let version = Release { major, minor };
            assert_eq!(version.has_native_sidecars(), expected, "{version:?}");
        }
    }

    #[test]
    fn kubelets_count_as_long_as_they_may_be_older_than_native_sidecars() {
        let node = |version: &str| -> Node {
            let mut node = Node::default();
            let status = node.status.get_or_insert_default();
            let info = status.node_info.get_or_insert_default();
            version.clone_into(&mut info.kubelet_version);
            node
        };
        for (api_server, kubelets, expected) in [
            ("", &["v1.33.0"][..], false),
            ("v1.28.0", &["v1.28.0"], false),
            ("v1.29.0", &[], true),
            ("v1.29.0", &["v1.29.0", "v1.28.9-eks-036c24b"], false),
            ("v1.31.0", &["v1.29.0", "v1.31.0"], true),
            ("v1.31.0", &["garbage"], false),
            ("v1.32.0", &["v1.28.9"], true),
        ] {
            let nodes: Vec<Node> = kubelets.iter().copied().map(node).collect();
            let release = Release::of_version(api_server);
            let found = native_sidecars(release, &nodes);
            assert_eq!(found, expected, "{api_server} {kubelets:?}");
        }
    }

    #[test]
    fn the_emulated_version_counts() {
        let info = Info {
            major: "1".to_owned(),
            minor: "31".to_owned(),
            emulation_major: Some("1".to_owned()),
            emulation_minor: Some("28".to_owned()),
            ..Info::default()
        };
        let version = Release::read(&info).expect("it is understood");
        assert!(!version.has_native_sidecars());
    }
}
