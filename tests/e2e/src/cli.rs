//! The `netting` command, run as a user runs it.

use std::{
    path::Path,
    process::{Output, Stdio},
};

use anyhow::{Context as _, ensure};
use tokio::process::Command;

use crate::cluster::{Cluster, binary};

/// What the command said.
#[derive(Debug)]
pub struct Said {
    /// Its exit code.
    pub code: Option<i32>,
    /// For programs, or to look at.
    pub stdout: String,
    /// What was done, and what went wrong.
    pub stderr: String,
}

impl Said {
    /// # Errors
    /// If it did not end well; with what it said.
    pub fn well(self) -> anyhow::Result<Self> {
        ensure!(self.code == Some(0), "{self:#?}");
        Ok(self)
    }

    /// # Errors
    /// If it did not end with this code, or said nothing like it on stderr.
    pub fn refused(self, code: i32, because: &str) -> anyhow::Result<Self> {
        ensure!(self.code == Some(code), "{self:#?}");
        ensure!(self.stderr.contains(because), "{because:?}: {self:#?}");
        Ok(self)
    }
}

/// Runs `netting` with all rights.
///
/// # Errors
/// If it can't be started.
pub async fn netting(cluster: &Cluster, args: &[&str]) -> anyhow::Result<Said> {
    netting_by(cluster.kubeconfig(), args).await
}

/// Runs `netting` with the rights of a kubeconfig.
///
/// # Errors
/// If it can't be started.
pub async fn netting_by(kubeconfig: &Path, args: &[&str]) -> anyhow::Result<Said> {
    let mut command = Command::new(binary("netting")?);
    command
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(args)
        .env_remove("NETTING_IMAGE")
        .env_remove("NETTING_SYSTEM_NAMESPACE")
        .stdin(Stdio::null());
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().await.context("could not run netting")?;
    Ok(Said {
        code: status.code(),
        stdout: String::from_utf8(stdout)?,
        stderr: String::from_utf8(stderr)?,
    })
}
