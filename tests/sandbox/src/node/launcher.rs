//! The processes between the agent and a container's own process.
//!
//! `container` is the monitor: it enters the pod's network namespace, makes the namespaces of its
//! own that a container has (mount, pid, hostname, ipc), starts `init` as the first process in
//! them, passes signals on and ends with its exit code. `init` builds the root file system, gives
//! up the privileges that the pod doesn't grant, and becomes the container's command. `exec` runs
//! one more command in a running container, for probes and hooks.
//!
//! The monitor's standard input is a socket to the agent, on which it says `pid <n>` and then either
//! closes (the command runs) or `error <why>`.

mod child;
mod credentials;
mod rootfs;
mod spec;

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;

pub(crate) use child::KILL_REQUEST;
pub(crate) use credentials::Credentials;
pub(crate) use spec::{ContainerSpec, ExecSpec, Mount, Process};

/// As many open files as a container may have, which is far below what a node has.
const OPEN_FILES_MAX: u64 = 65_536;

/// What a process says with when it couldn't become the container's command, as runc does.
pub(crate) const START_ERROR_CODE: i32 = 128;

/// Options of the hidden `netting-sandbox run-container`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The part that this process plays.
    #[arg(value_enum)]
    stage: Stage,
    /// The file with the description of the container or command, as JSON.
    spec: PathBuf,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Stage {
    Container,
    Init,
    Exec,
}

/// Plays one of the parts, and ends the process with the exit code of the container's command, or
/// with 128 if there was none.
///
/// # Errors
/// When the specification can't be read; everything later is said on the report socket.
pub fn run(args: Args) -> anyhow::Result<()> {
    let code = match args.stage {
        Stage::Container => {
            let spec = ContainerSpec::read(&args.spec)?;
            reported(|report| monitor(&spec, &args.spec, report))
        }
        Stage::Init => {
            let spec = ContainerSpec::read(&args.spec)?;
            reported(|_| become_container(&spec))
        }
        Stage::Exec => {
            let spec = ExecSpec::read(&args.spec)?;
            reported(|_| exec_in_container(&spec))
        }
    };
    std::process::exit(code)
}

/// Runs `part` with the report socket, on which its error goes.
fn reported(part: impl FnOnce(&mut Report) -> anyhow::Result<i32>) -> i32 {
    let mut report = match Report::take_stdin() {
        Ok(report) => report,
        Err(error) => {
            eprintln!("netting-sandbox: {error:#}");
            return START_ERROR_CODE;
        }
    };
    part(&mut report).unwrap_or_else(|error| {
        report.say(&format!("error {error:#}"));
        START_ERROR_CODE
    })
}

/// The agent's end of this is closed without an error when the command has been executed: the
/// descriptor closes on exec.
struct Report(Option<File>);

impl Report {
    /// Takes the socket off standard input, where nothing is to be read from then on.
    fn take_stdin() -> anyhow::Result<Self> {
        let report = std::io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .context("take the report socket from standard input")?;
        let nothing = File::open("/dev/null").context("open /dev/null")?;
        nix::unistd::dup2_stdin(&nothing).context("point standard input at /dev/null")?;
        Ok(Self(Some(File::from(report))))
    }

    /// The agent may be gone, and then nobody is left to tell.
    fn say(&mut self, line: &str) {
        if let Some(socket) = &mut self.0 {
            let _ = socket.write_all(format!("{line}\n").as_bytes());
        }
    }

    fn duplicate(&self) -> anyhow::Result<Stdio> {
        let socket = self.0.as_ref().context("the report socket is closed")?;
        let copy: OwnedFd = socket
            .as_fd()
            .try_clone_to_owned()
            .context("copy the report socket")?;
        Ok(Stdio::from(copy))
    }

    fn close(&mut self) {
        self.0 = None;
    }
}

fn monitor(spec: &ContainerSpec, path: &Path, report: &mut Report) -> anyhow::Result<i32> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("tie the monitor to the agent's life")?;
    if let Some(netns) = &spec.netns {
        let namespace = File::open(netns)
            .with_context(|| format!("open the pod's network namespace {}", netns.display()))?;
        setns(namespace, CloneFlags::CLONE_NEWNET).context("enter the pod's network namespace")?;
        for (name, value) in &spec.sysctls {
            let file = Path::new("/proc/sys").join(name.replace('.', "/"));
            std::fs::write(&file, value).with_context(|| format!("set the sysctl {name}"))?;
        }
    }
    unshare(
        CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC,
    )
    .context("make the container's namespaces")?;
    let init = Command::new("/proc/self/exe")
        .args(["run-container", "init"])
        .arg(path)
        .stdin(report.duplicate()?)
        .spawn()
        .context("start the container's first process")?;
    child::supervise(init, |pid| {
        report.say(&format!("pid {pid}"));
        report.close();
    })
}

/// Only returns if it failed: otherwise the process is the container's command.
fn become_container(spec: &ContainerSpec) -> anyhow::Result<i32> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("tie the container to its monitor's life")?;
    rootfs::enter(spec)?;
    let process = &spec.process;
    std::fs::create_dir_all(&process.cwd)
        .and_then(|()| std::env::set_current_dir(&process.cwd))
        .with_context(|| format!("change to the working directory {}", process.cwd.display()))?;
    own_output(&process.credentials)?;
    process.credentials.assume()?;
    let error = command(process)?.exec();
    Err(anyhow::Error::new(error).context(format!("exec {:?}", process.argv[0])))
}

fn exec_in_container(spec: &ExecSpec) -> anyhow::Result<i32> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("tie the command to the agent's life")?;
    let open = |kind: &str| {
        File::open(format!("/proc/{}/ns/{kind}", spec.pid))
            .with_context(|| format!("open the container's {kind} namespace"))
    };
    let namespaces = [
        (open("net")?, CloneFlags::CLONE_NEWNET),
        (open("uts")?, CloneFlags::CLONE_NEWUTS),
        (open("ipc")?, CloneFlags::CLONE_NEWIPC),
        (open("pid")?, CloneFlags::CLONE_NEWPID),
        // Last, because the others are found in this one's /proc.
        (open("mnt")?, CloneFlags::CLONE_NEWNS),
    ];
    for (namespace, kind) in namespaces {
        setns(namespace, kind).with_context(|| format!("enter the container's {kind:?}"))?;
    }
    let process = &spec.process;
    std::env::set_current_dir(&process.cwd)
        .with_context(|| format!("change to the working directory {}", process.cwd.display()))?;
    own_output(&process.credentials)?;
    process.credentials.assume()?;
    let started = command(process)?
        .spawn()
        .with_context(|| format!("exec {:?}", process.argv[0]))?;
    child::supervise(started, |_| ())
}

/// `/dev/stdout` opens the pipe anew, which only its owner may.
fn own_output(credentials: &Credentials) -> anyhow::Result<()> {
    let owner = Some(nix::unistd::Uid::from_raw(credentials.uid));
    nix::unistd::fchown(std::io::stdout(), owner, None).context("own standard output")?;
    nix::unistd::fchown(std::io::stderr(), owner, None).context("own standard error")
}

fn command(process: &Process) -> anyhow::Result<Command> {
    let [program, args @ ..] = process.argv.as_slice() else {
        anyhow::bail!("no command is given; set the container's `command`");
    };
    setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES_MAX, OPEN_FILES_MAX)
        .or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, 1024, 1024))
        .context("limit the number of open files")?;
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .envs(process.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null());
    Ok(command)
}
