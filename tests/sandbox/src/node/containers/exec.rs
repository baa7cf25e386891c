//! Commands in a container that runs, for probes and hooks.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use crate::node::launcher::{ExecSpec, KILL_REQUEST, Process};

/// Of a command's output; the kubelet keeps as much of a probe's.
const OUTPUT_BYTES_MAX: u64 = 10 * 1024;

/// Tells the specifications of commands apart.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// How to run commands in a container.
#[derive(Clone, Debug)]
pub(crate) struct Exec {
    pub(crate) launcher: PathBuf,
    /// Where specifications are written.
    pub(crate) dir: PathBuf,
    pub(crate) pid: u32,
    /// The container's own process; its environment and rights are the command's.
    pub(crate) process: Process,
}

impl Exec {
    /// Runs a command that is to exit with code 0.
    ///
    /// # Errors
    /// Another code, with the beginning of the output; that it can't be run; or that it took longer
    /// than `timeout`, and was killed.
    pub(crate) async fn run(&self, argv: &[String], timeout: Duration) -> Result<(), String> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let file = self.dir.join(format!("{number}.json"));
        let result = self.run_spec(argv, &file, timeout).await;
        // Its name is never used again, and it goes with the pod at the latest.
        let _ = std::fs::remove_file(&file);
        result.unwrap_or_else(|error| Err(format!("command could not be run: {error:#}")))
    }

    async fn run_spec(
        &self,
        argv: &[String],
        file: &Path,
        timeout: Duration,
    ) -> anyhow::Result<Result<(), String>> {
        std::fs::create_dir_all(&self.dir).context("create a directory for commands")?;
        let process = Process {
            argv: argv.to_vec(),
            ..self.process.clone()
        };
        ExecSpec {
            pid: self.pid,
            process,
        }
        .write(file)?;
        let (report, theirs) = UnixStream::pair().context("make the report socket")?;
        let mut child = Command::new(&self.launcher)
            .args(["run-container", "exec"])
            .arg(file)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start the launcher")?;
        let Ok(finished) = tokio::time::timeout(timeout, finish(&mut child)).await else {
            if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
                let _ = kill(Pid::from_raw(pid), KILL_REQUEST);
            }
            let _ = tokio::time::timeout(Duration::from_secs(1), child.wait()).await;
            return Ok(Err(format!("command timed out after {timeout:?}")));
        };
        let (code, output) = finished?;
        report.set_nonblocking(true).context("read the report")?;
        let mut said = String::new();
        let mut report = tokio::net::UnixStream::from_std(report).context("read the report")?;
        report
            .read_to_string(&mut said)
            .await
            .context("read the report")?;
        if let Some(error) = said.trim().strip_prefix("error ") {
            anyhow::bail!("{error}");
        }
        Ok(match code {
            Some(0) => Ok(()),
            Some(code) => Err(format!("exit code {code}: {}", output.trim())),
            None => Err("the command was killed".to_owned()),
        })
    }
}

/// The exit code, and the beginning of what was said.
async fn finish(child: &mut Child) -> anyhow::Result<(Option<i32>, String)> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = tokio::join!(beginning(stdout), beginning(stderr));
    let status = child.wait().await.context("wait for the command")?;
    Ok((status.code(), stdout + &stderr))
}

/// The rest is read as well, so that the command doesn't wait for room in the pipe.
async fn beginning(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let Some(pipe) = pipe else {
        return String::new();
    };
    let mut output = Vec::new();
    let mut limited = pipe.take(OUTPUT_BYTES_MAX);
    // A pipe that breaks has said what it will.
    let _ = limited.read_to_end(&mut output).await;
    let _ = tokio::io::copy(&mut limited.into_inner(), &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&output).into_owned()
}
