//! The box as a process: its first one, which the kernel takes everything else down with.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::{AsFd as _, FromRawFd as _, OwnedFd},
    process,
};

use anyhow::{Context as _, ensure};
use nix::{
    fcntl::OFlag,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, getppid, pipe2, setsid},
};
use tokio::{
    io::{AsyncReadExt as _, unix::AsyncFd},
    net::unix::pipe::Receiver,
};

use super::inside::{self, Plan};

/// What the box says when its API is up.
const UP: &str = "up";

/// A running box. Dropping it ends it.
pub(super) struct Sandbox {
    pid: Pid,
    handle: OwnedFd,
    /// Gets a byte from the box once its API is up.
    signs: Option<OwnedFd>,
    /// The box checks that its parent still holds the other end.
    _lifeline: OwnedFd,
}

/// How a box ended.
pub(super) struct Ended(pub(super) String);

impl Sandbox {
    /// Starts the box's first process in new network, process and mount namespaces. There must be
    /// no threads yet: the new process is a copy of this one.
    pub(super) fn start(plan: Plan) -> anyhow::Result<Self> {
        let (signs, tell) = pipe2(OFlag::O_CLOEXEC).context("make a pipe")?;
        let (watched, lifeline) = pipe2(OFlag::O_CLOEXEC).context("make a pipe")?;
        match fork_into_namespaces().context("make the box's namespaces")? {
            None => {
                drop((signs, lifeline));
                // Never returns: what follows is another process' life.
                process::exit(first_process(&plan, &watched, File::from(tell)));
            }
            Some(pid) => {
                let handle = pidfd(pid).context("watch the box")?;
                Ok(Self {
                    pid,
                    handle,
                    signs: Some(signs),
                    _lifeline: lifeline,
                })
            }
        }
    }

    /// The process id that `nsenter` can use.
    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Returns once the API serves.
    pub(super) fn api_is_up(&mut self) -> impl Future<Output = anyhow::Result<()>> + use<> {
        let signs = self.signs.take();
        async move {
            let signs = signs.context("the box was already waited for")?;
            let mut signs = Receiver::from_owned_fd(signs).context("listen to the box")?;
            let mut said = String::new();
            signs
                .read_to_string(&mut said)
                .await
                .context("listen to the box")?;
            ensure!(said == UP, "the box did not start: {said}");
            Ok(())
        }
    }

    /// Returns when the box is gone.
    pub(super) async fn ended(&self) -> anyhow::Result<Ended> {
        let handle = self.handle.try_clone().context("watch the box")?;
        watched(handle)?
            .readable()
            .await
            .context("watch the box")?
            .retain_ready();
        let how = match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => format!("exit code {code}"),
            Ok(WaitStatus::Signaled(_, signal, _)) => signal.to_string(),
            other => format!("{other:?}"),
        };
        Ok(Ended(how))
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to do.
        if kill(self.pid, Signal::SIGKILL).is_ok()
            && let Err(error) = waitpid(self.pid, None)
        {
            tracing::debug!(%error, "the box was already gone");
        }
    }
}

/// Becomes readable when the process that started this one ends.
pub(super) fn parent() -> anyhow::Result<AsyncFd<OwnedFd>> {
    let handle = pidfd(getppid()).context("open the parent process")?;
    watched(handle)
}

/// The life of the box's first process, which tells the parent once, when the API is up or what
/// was wrong before. Returns its exit code.
fn first_process(plan: &Plan, watched: &OwnedFd, mut tell: File) -> i32 {
    let started = tie_to_parent(watched).and_then(|()| inside::start(plan));
    let said = match &started {
        Ok(_) => UP.to_owned(),
        Err(error) => format!("{error:#}"),
    };
    if let Err(error) = tell.write_all(said.as_bytes()) {
        eprintln!("the box could not tell its parent \"{said}\": {error}");
    }
    drop(tell);
    let Ok(parts) = started else { return 1 };
    let error = inside::reap(parts);
    eprintln!("the box ends: {error:#}");
    1
}

/// Has the kernel kill this process with its parent, and makes sure that it wasn't too late.
fn tie_to_parent(watched: &OwnedFd) -> anyhow::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("ask to end with the parent")?;
    let mut ends = [PollFd::new(watched.as_fd(), PollFlags::POLLIN)];
    poll(&mut ends, PollTimeout::ZERO).context("look after the parent")?;
    let alive = !ends[0]
        .revents()
        .is_some_and(|events| events.contains(PollFlags::POLLHUP));
    ensure!(alive, "the parent process ended first");
    // Ctrl-C is for the parent, which ends the box in order.
    setsid().context("leave the parent's terminal")?;
    Ok(())
}

#[allow(unsafe_code, reason = "there is no safe fork into new namespaces")]
fn fork_into_namespaces() -> io::Result<Option<Pid>> {
    let flags = libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::CLONE_NEWNS | libc::SIGCHLD;
    let nothing: libc::c_long = 0;
    // SAFETY: without CLONE_VM and without a stack this is fork(2) in new namespaces; the process
    // has a single thread, so that the copy may do anything.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone,
            libc::c_long::from(flags),
            nothing,
            nothing,
            nothing,
            nothing,
        )
    };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(Pid::from_raw(
            i32::try_from(pid).expect("process ids fit pid_t"),
        ))),
    }
}

#[allow(
    unsafe_code,
    reason = "tokio can't check that the descriptor stays open"
)]
fn watched(handle: OwnedFd) -> anyhow::Result<AsyncFd<OwnedFd>> {
    // SAFETY: what is returned owns the descriptor, and nothing takes it out.
    unsafe { AsyncFd::register(handle) }.context("wait for a process")
}

#[allow(unsafe_code, reason = "pidfd_open(2) has no safe wrapper here")]
fn pidfd(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two integers and returns a new descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::c_long::from(pid.as_raw()), 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).expect("descriptors fit an int");
    // SAFETY: the kernel just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
