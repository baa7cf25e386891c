//! Waits for a container's process and passes signals on to it.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus};

use anyhow::Context as _;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

/// Tells the monitor to kill the container; it stays to collect the exit code.
pub(crate) const KILL_REQUEST: Signal = Signal::SIGUSR1;

/// Waits until `child` has ended and returns its exit code, 128 + n if signal n killed it.
///
/// Calls `ready` with its pid as soon as signals are passed on. SIGTERM reaches the child as it is,
/// [`KILL_REQUEST`] as SIGKILL.
///
/// # Errors
/// When the kernel refuses to say how the child is.
pub(crate) fn supervise(mut child: Child, ready: impl FnOnce(u32)) -> anyhow::Result<i32> {
    let pid = Pid::from_raw(i32::try_from(child.id()).context("a pid is an i32")?);
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, KILL_REQUEST] {
        signals.add(signal);
    }
    // Only now, or the child would inherit the blocked signals. Its end before this line is seen
    // by the first try_wait.
    signals.thread_block().context("block signals")?;
    ready(child.id());
    loop {
        if let Some(status) = child
            .try_wait()
            .context("wait for the container's process")?
        {
            return Ok(exit_code(status));
        }
        let forward = match signals.wait().context("wait for a signal")? {
            Signal::SIGTERM => Signal::SIGTERM,
            KILL_REQUEST => Signal::SIGKILL,
            _ => continue,
        };
        // It may have ended at this very moment; then there is nothing left to signal.
        let _ = kill(pid, forward);
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(-1)
}
