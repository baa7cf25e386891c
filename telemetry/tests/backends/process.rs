//! Backends as processes.

use std::{
    fs::{File, Permissions},
    iter,
    net::{TcpListener, TcpStream, UdpSocket},
    ops::Range,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// How long anything may take on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Where `hack/test.sh telemetry` installs what is not Debian's.
const INSTALLED: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/../backends");

/// A process that is killed when it is dropped. If the test fails, what it said is
/// shown.
pub(crate) struct Server {
    name: &'static str,
    process: Child,
    directory: TempDir,
}

/// A file of this folder.
pub(crate) fn file(name: &str) -> PathBuf {
    // The sidecar's tests start the same.
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../telemetry/tests/backends")
        .join(name)
}

/// What `hack/test.sh telemetry` has installed.
pub(crate) fn installed(name: &str) -> PathBuf {
    let path = Path::new(INSTALLED).join(name);
    assert!(
        path.exists(),
        "{} is missing; `hack/test.sh telemetry` installs it",
        path.display()
    );
    path
}

/// A script of ours for Python.
pub(crate) fn python(script: &str) -> Command {
    let mut command = Command::new(installed("venv/bin/python3"));
    command.arg(file("python").join(script));
    command
}

/// Of ports, those below what the kernel gives to connections and to who asks for any: until
/// a backend listens there, nobody else is likely to.
const PORTS: Range<u16> = 20_000..32_768;

/// A port that nobody listens at.
pub(crate) fn free_port() -> u16 {
    free(|port| TcpListener::bind(("127.0.0.1", port)).is_ok())
}

/// The same for datagrams.
pub(crate) fn free_udp_port() -> u16 {
    free(|port| UdpSocket::bind(("127.0.0.1", port)).is_ok())
}

fn free(is_free: impl Fn(u16) -> bool) -> u16 {
    let some = iter::repeat_with(|| fastrand::u16(PORTS)).take(PORTS.len());
    let mut free = some.filter(|port| is_free(*port));
    free.next().expect("there are free ports")
}

/// One that processes of other users find sockets in.
pub(crate) fn directory() -> TempDir {
    tempfile::Builder::new()
        .prefix("netting-backends-")
        .permissions(Permissions::from_mode(0o755))
        .tempdir()
        .expect("a directory can be made")
}

impl Server {
    /// Starts it, with its files in `directory`.
    pub(crate) fn start(name: &'static str, directory: TempDir, command: &mut Command) -> Self {
        let said = File::create(directory.path().join("said")).expect("it can be written");
        let process = command
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(said.try_clone().expect("a file can be cloned"))
            .stderr(said)
            .spawn();
        let process = process.unwrap_or_else(|error| {
            panic!("{name}: {error}; `hack/test.sh telemetry` installs it")
        });
        Self {
            name,
            process,
            directory,
        }
    }

    /// Waits until something listens at the port.
    pub(crate) fn listening(mut self, port: u16) -> Self {
        self.until("it listens", || {
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        self
    }

    /// Waits for something of it.
    pub(crate) fn until<T>(&mut self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(seen) = look() {
                return seen;
            }
            let ended = self.process.try_wait().expect("it is our child");
            assert_eq!(ended, None, "{} ended before {what}", self.name);
            assert!(begun.elapsed() < PATIENCE, "{}: not yet: {what}", self.name);
            thread::sleep(LOOK_AGAIN);
        }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            let said = std::fs::read_to_string(self.directory.path().join("said"));
            let said = said.unwrap_or_default();
            let begin = said.len().saturating_sub(3000);
            let tail: String = said.chars().skip(begin).collect();
            eprintln!("{} said at last:\n{tail}", self.name);
        }
    }
}

/// Looks until it is there.
#[allow(dead_code, reason = "not all test programs look for something")]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begun.elapsed() < PATIENCE, "not yet: {what}");
        thread::sleep(LOOK_AGAIN);
    }
}

/// Looks until it is so.
pub(crate) fn until_eq<T: PartialEq + std::fmt::Debug>(
    what: &str,
    expected: T,
    mut look: impl FnMut() -> T,
) {
    let begun = Instant::now();
    loop {
        let seen = look();
        if seen == expected {
            return;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{what}: expected {expected:?}, there is {seen:?}"
        );
        thread::sleep(LOOK_AGAIN);
    }
}
