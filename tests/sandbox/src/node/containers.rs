//! One run of one container: its process, its output, its end.

mod exec;

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(crate) use exec::Exec;

use super::launcher::{ContainerSpec, KILL_REQUEST};

/// What is to become of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Run,
    /// SIGTERM now, SIGKILL after this time.
    Terminate(Duration),
}

/// All that is needed to start a container.
#[derive(Debug)]
pub(crate) struct Launch {
    /// This program.
    pub(crate) launcher: PathBuf,
    pub(crate) spec: ContainerSpec,
    /// Where the specification is written.
    pub(crate) spec_file: PathBuf,
    pub(crate) log: PathBuf,
}

/// A container's process, which is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    monitor: Child,
    /// The container's first process.
    pub(crate) pid: u32,
    output: JoinSet<()>,
    log: PathBuf,
}

impl Launch {
    /// Returns when the container's command has been executed.
    ///
    /// # Errors
    /// Why it couldn't be, as the pod's status says it.
    pub(crate) async fn start(&self) -> anyhow::Result<Running> {
        self.spec.write(&self.spec_file)?;
        let (report, theirs) = UnixStream::pair().context("make the report socket")?;
        let mut monitor = Command::new(&self.launcher)
            .args(["run-container", "container"])
            .arg(&self.spec_file)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", self.launcher.display()))?;
        let log = || {
            let opened = File::options().create(true).append(true).open(&self.log);
            opened.with_context(|| format!("create {}", self.log.display()))
        };
        let mut output = JoinSet::new();
        if let (Some(stdout), Some(stderr)) = (monitor.stdout.take(), monitor.stderr.take()) {
            output.spawn(copy(stdout, log()?));
            output.spawn(copy(stderr, log()?));
        }
        let mut running = Running {
            monitor,
            pid: 0,
            output,
            log: self.log.clone(),
        };
        match executed(report).await {
            Ok(pid) => running.pid = pid,
            Err(error) => {
                // It has ended, or does so now that it is told.
                let _ = running.monitor.kill().await;
                running.finish_output().await;
                return Err(error);
            }
        }
        Ok(running)
    }

    /// How to run more commands in the container, once its first process is `pid`.
    pub(crate) fn exec(&self, pid: u32) -> Exec {
        Exec {
            launcher: self.launcher.clone(),
            dir: self.spec_file.with_extension("exec"),
            pid,
            process: self.spec.process.clone(),
        }
    }
}

/// Copies a container's stream to its log, line by line, until the stream ends. A full disk loses
/// lines, but ends no container.
async fn copy(pipe: impl AsyncRead + Unpin, mut log: File) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    while reader
        .read_until(b'\n', &mut line)
        .await
        .is_ok_and(|length| length > 0)
    {
        if let Err(error) = std::io::Write::write_all(&mut log, &line) {
            tracing::warn!(%error, "could not write a log");
        }
        line.clear();
    }
}

/// The file that is there once nothing more comes to the log.
pub(crate) fn end_mark(log: &Path) -> PathBuf {
    log.with_extension("end")
}

/// Reads the report until its end, which is when the command has been executed.
async fn executed(report: UnixStream) -> anyhow::Result<u32> {
    report
        .set_nonblocking(true)
        .context("set up the report socket")?;
    let report = tokio::net::UnixStream::from_std(report).context("set up the report socket")?;
    let mut lines = BufReader::new(report).lines();
    let mut pid = None;
    while let Some(line) = lines
        .next_line()
        .await
        .context("read the launcher's report")?
    {
        match line.split_once(' ') {
            Some(("pid", number)) => pid = number.parse().ok(),
            Some(("error", why)) => return Err(anyhow!("{why}")),
            _ => return Err(anyhow!("the launcher said {line:?}")),
        }
    }
    pid.context("the launcher ended without a word; its output is in the container's log")
}

impl Running {
    /// Waits for the end, bringing it about as `orders` say, and returns the exit code.
    pub(crate) async fn wait(mut self, mut orders: watch::Receiver<Order>) -> i32 {
        let mut deadline = None;
        let mut open = true;
        loop {
            let order = *orders.borrow_and_update();
            if let Order::Terminate(grace) = order {
                let own = Instant::now() + grace;
                if deadline.is_none() {
                    self.signal(Signal::SIGTERM);
                }
                // A later order may leave less time, never more.
                deadline = Some(deadline.map_or(own, |before: Instant| before.min(own)));
            }
            tokio::select! {
                status = self.monitor.wait() => {
                    let code = status.ok().and_then(|status| status.code());
                    self.finish_output().await;
                    // Only a killed monitor has no code, and its container was killed with it.
                    return code.unwrap_or(137);
                }
                () = until(deadline) => {
                    self.signal(KILL_REQUEST);
                    deadline = Some(Instant::now() + Duration::from_secs(1));
                }
                changed = orders.changed(), if open => open = changed.is_ok(),
            }
        }
    }

    /// All writers are gone with the container's process namespace.
    async fn finish_output(&mut self) {
        while self.output.join_next().await.is_some() {}
        if let Err(error) = File::create(end_mark(&self.log))
            && error.kind() != ErrorKind::NotFound
        {
            tracing::debug!(%error, "could not mark the end of a log");
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.monitor.id().and_then(|id| i32::try_from(id).ok()) {
            // It may have ended; nobody has collected it, so the number is still its own.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
