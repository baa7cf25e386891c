//! The `netting` command, run as a user runs it.

use std::{
    path::Path,
    process::{Output, Stdio},
};

use anyhow::{Context as _, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

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
    let mut command = command(kubeconfig, args)?;
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

/// Runs `netting` with all rights, and does something once it has said so on stderr.
///
/// # Errors
/// If it ends without saying so, or that can't be done.
pub async fn netting_meanwhile(
    cluster: &Cluster,
    args: &[&str],
    says: &str,
    then: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<Said> {
    let mut process = command(cluster.kubeconfig(), args)?
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("could not run netting")?;
    let stderr = process.stderr.take().context("it is piped")?;
    let mut lines = BufReader::new(stderr).lines();
    let mut said = String::new();
    while !said.contains(says) {
        let line = lines.next_line().await?;
        let line = line.with_context(|| format!("it ended without \"{says}\": {said}"))?;
        said += &format!("{line}\n");
    }
    then.await?;
    while let Some(line) = lines.next_line().await? {
        said += &format!("{line}\n");
    }
    let ended = process.wait_with_output().await?;
    Ok(Said {
        code: ended.status.code(),
        stdout: String::from_utf8(ended.stdout)?,
        stderr: said,
    })
}

fn command(kubeconfig: &Path, args: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(binary("netting")?);
    command
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(args)
        .env_remove("NETTING_IMAGE")
        .env_remove("NETTING_SYSTEM_NAMESPACE")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    Ok(command)
}
