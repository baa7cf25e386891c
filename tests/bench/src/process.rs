//! A process that runs in the background, and what it costs.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use nix::{
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};

use crate::network::Pod;

/// Between two looks at something that has no event to wait for.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How long a process may take to be ready.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A background process, killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    child: Child,
    log: PathBuf,
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) resident: u64,
    /// Resident at most, ever.
    pub(crate) peak: u64,
}

impl Process {
    /// Starts it; what it prints goes to a file in `logs`.
    pub(crate) fn start(name: &str, command: &mut Command, logs: &Path) -> anyhow::Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("could not write {log:?}"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("could not start {name}: {command:?}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// User and system time of all its threads, also those that have ended.
    pub(crate) fn cpu_time(&self) -> anyhow::Result<Duration> {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        let clock = clock_getcpuclockid(pid).with_context(|| self.has_ended())?;
        Ok(Duration::from(clock_gettime(clock)?))
    }

    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))
            .with_context(|| self.has_ended())?;
        let bytes = |field| memory_of(&status, field).with_context(|| self.has_ended());
        Ok(Memory {
            resident: bytes("VmRSS:")?,
            peak: bytes("VmHWM:")?,
        })
    }

    /// Waits until something is there.
    pub(crate) fn wait_until<R>(
        &mut self,
        what: &str,
        mut look: impl FnMut() -> anyhow::Result<Option<R>>,
    ) -> anyhow::Result<R> {
        let begun = Instant::now();
        loop {
            let seen = look();
            if let Ok(Some(found)) = seen {
                return Ok(found);
            }
            if self.child.try_wait()?.is_some() {
                bail!(self.has_ended());
            }
            if begun.elapsed() > START_TIMEOUT {
                let why = seen.err().map(|error| format!(": {error:#}"));
                let why = why.unwrap_or_default();
                bail!("{}: waited in vain for {what}{why}", self.name);
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Waits until it accepts connections at `addr`, seen from within `pod`.
    pub(crate) fn wait_for_listener(&mut self, pod: &Pod, addr: SocketAddr) -> anyhow::Result<()> {
        let what = format!("a listener on {addr}");
        let connect = || Ok(Some(TcpStream::connect(addr)?));
        self.wait_until(&what, || pod.enter(connect)).map(drop)
    }

    /// Waits for its end, whatever it ends with.
    pub(crate) fn wait(mut self) -> anyhow::Result<()> {
        self.child.wait()?;
        Ok(())
    }

    fn has_ended(&self) -> String {
        format!("{} has ended; see {}", self.name, self.log.display())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A field of `/proc/PID/status`, which the kernel gives in KiB.
fn memory_of(status: &str, field: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes_and_a_zombie_has_none() {
        let status = "Name:\tsidecar\nVmHWM:\t    9216 kB\nVmRSS:\t    7168 kB\n";
        assert_eq!(memory_of(status, "VmHWM:"), Some(9 << 20));
        assert_eq!(memory_of(status, "VmRSS:"), Some(7 << 20));
        assert_eq!(memory_of("Name:\tsidecar\n", "VmRSS:"), None);
    }

    #[test]
    fn a_process_that_ends_is_told_by_its_name() {
        let dir = std::env::temp_dir();
        let mut ended = Process::start("true-for-a-test", &mut Command::new("true"), &dir)
            .expect("it can be started");
        let waited = ended.wait_until("nothing", || Ok(None::<()>));
        let why = waited.expect_err("it ended").to_string();
        assert!(why.starts_with("true-for-a-test has ended"), "{why}");
    }
}
