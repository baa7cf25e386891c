//! Commands in a container that runs, for probes and hooks.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

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

/// Why a command has no exit code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecError {
    /// It was killed.
    #[error("command timed out after {0:?}")]
    TimedOut(Duration),
    /// It could not be run.
    #[error("command could not be run: {0}")]
    NotRun(String),
}

impl Exec {
    /// Runs a command and returns its exit code and the beginning of its output.
    ///
    /// # Errors
    /// When it can't be run or takes longer than `timeout`.
    pub(crate) async fn run(
        &self,
        argv: &[String],
        timeout: Duration,
    ) -> Result<(i32, String), ExecError> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let file = self.dir.join(format!("exec-{number}.json"));
        let mut process = self.process.clone();
        process.argv = argv.to_vec();
        let result = match (ExecSpec {
            pid: self.pid,
            process,
        })
        .write(&file)
        {
            Ok(()) => self.run_spec(&file, timeout).await,
            Err(error) => Err(ExecError::NotRun(format!("{error:#}"))),
        };
        // Its name is never used again, and it goes with the pod at the latest.
        let _ = std::fs::remove_file(&file);
        result
    }

    async fn run_spec(
        &self,
        file: &std::path::Path,
        timeout: Duration,
    ) -> Result<(i32, String), ExecError> {
        let failed = |error: anyhow::Error| ExecError::NotRun(format!("{error:#}"));
        let (report, theirs) = UnixStream::pair()
            .context("make the report socket")
            .map_err(failed)?;
        let mut child = Command::new(&self.launcher)
            .args(["run-container", "exec"])
            .arg(file)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start the launcher")
            .map_err(failed)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let finished = async {
            let (stdout, stderr) = tokio::join!(beginning(stdout), beginning(stderr));
            (child.wait().await, stdout + &stderr)
        };
        let ended = tokio::time::timeout(timeout, finished).await;
        let Ok((status, output)) = ended else {
            if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
                let _ = kill(Pid::from_raw(pid), KILL_REQUEST);
            }
            let _ = tokio::time::timeout(Duration::from_secs(1), child.wait()).await;
            return Err(ExecError::TimedOut(timeout));
        };
        let said = read_report(report).await;
        if let Some(error) = said.trim().strip_prefix("error ") {
            return Err(ExecError::NotRun(error.to_owned()));
        }
        let status = status.map_err(|error| failed(error.into()))?;
        Ok((
            status.code().unwrap_or(128 + Signal::SIGKILL as i32),
            output,
        ))
    }
}

async fn read_report(report: UnixStream) -> String {
    let mut said = String::new();
    if report.set_nonblocking(true).is_ok()
        && let Ok(mut report) = tokio::net::UnixStream::from_std(report)
    {
        // What is no text is no error either.
        let _ = report.read_to_string(&mut said).await;
    }
    said
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
    let mut rest = limited.into_inner();
    let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&output).into_owned()
}
