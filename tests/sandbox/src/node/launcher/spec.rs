//! What the agent tells the launcher about a container, as JSON in a file only root can read.

use std::collections::BTreeMap;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Credentials;

/// One container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ContainerSpec {
    /// An empty directory, where the root file system is put together.
    pub(crate) root: PathBuf,
    pub(crate) hostname: String,
    /// The pod's network namespace; none for a pod in the node's.
    pub(crate) netns: Option<PathBuf>,
    /// Set in the pod's network namespace, such as `net.ipv4.ip_unprivileged_port_start`.
    pub(crate) sysctls: Vec<(String, String)>,
    /// The image's files, seen as `/netting` by the container.
    pub(crate) image: PathBuf,
    /// Contents of files in `/etc`, by name.
    pub(crate) etc: BTreeMap<String, String>,
    /// Parents before children.
    pub(crate) mounts: Vec<Mount>,
    pub(crate) read_only_root: bool,
    pub(crate) process: Process,
}

/// A file or directory of the node's that the container sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mount {
    pub(crate) source: PathBuf,
    /// Absolute, in the container.
    pub(crate) target: PathBuf,
    pub(crate) read_only: bool,
}

/// A process in a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) argv: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) cwd: PathBuf,
    pub(crate) credentials: Credentials,
}

/// One more process in a container that runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ExecSpec {
    /// The container's first process, as the agent sees it.
    pub(crate) pid: u32,
    pub(crate) process: Process,
}

impl ContainerSpec {
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        read(path)
    }

    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        write(self, path)
    }
}

impl ExecSpec {
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        read(path)
    }

    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        write(self, path)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let json = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&json).with_context(|| format!("parse {}", path.display()))
}

/// The environment may carry secrets.
fn write<T: Serialize>(value: &T, path: &Path) -> anyhow::Result<()> {
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("create {}", path.display()))?;
    serde_json::to_writer(file, value).with_context(|| format!("write {}", path.display()))
}
