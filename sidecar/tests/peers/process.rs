//! Servers as processes, and what clients said when they ended.

use std::{
    fs::{File, Permissions},
    hash::{DefaultHasher, Hasher as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Instant,
};

use tempfile::TempDir;

use crate::harness::{
    LOOK_AGAIN, PATIENCE,
    namespace::{Namespace, dst},
};

/// Who servers run as that refuse to be root.
pub(crate) const NOBODY: [&str; 3] = ["--reuid=nobody", "--regid=nogroup", "--clear-groups"];

/// A server, killed when dropped. If the test fails, what it said is shown.
pub(crate) struct Server {
    process: Child,
    directory: TempDir,
}

/// How a client ended.
#[derive(Debug, PartialEq)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A directory that every user may write to.
pub(crate) fn directory() -> TempDir {
    let directory = tempfile::Builder::new()
        .prefix("netting-peers-")
        .tempdir()
        .expect("a directory can be made");
    let everybody = Permissions::from_mode(0o777);
    std::fs::set_permissions(directory.path(), everybody).expect("it is ours");
    directory
}

impl Server {
    /// Starts it, with its files in `directory`, and waits until it listens in the
    /// pod at the port.
    pub(crate) fn start(
        pod: &Namespace,
        port: u16,
        directory: TempDir,
        command: &mut Command,
    ) -> Self {
        let said = File::create(directory.path().join("said")).expect("it can be written");
        let process = command
            .stdin(Stdio::null())
            .stdout(said.try_clone().expect("a file can be cloned"))
            .stderr(said)
            .spawn()
            .expect("iproute2 and util-linux are installed");
        let mut server = Self { process, directory };
        server.wait_until_it_listens(pod, port);
        server
    }

    /// Where its files are.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn wait_until_it_listens(&mut self, pod: &Namespace, port: u16) {
        let begun = Instant::now();
        let at = dst("127.0.0.1", port);
        while pod.run(|| TcpStream::connect(at)).is_err() {
            let ended = self.process.try_wait().expect("it is our child");
            assert_eq!(ended, None, "the server ended before it listened");
            assert!(begun.elapsed() < PATIENCE, "nothing listens at {at}");
            thread::sleep(LOOK_AGAIN);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            let said = std::fs::read_to_string(self.directory.path().join("said"));
            eprintln!("the server said:\n{}", said.unwrap_or_default());
        }
    }
}

/// Runs a client to its end.
pub(crate) fn run(command: &mut Command) -> Ended {
    run_without(&[], command)
}

/// Runs a client to its end, and leaves out the lines that begin so, in whatever
/// case.
pub(crate) fn run_without(beginnings: &[&str], command: &mut Command) -> Ended {
    let output = command
        .output()
        .expect("iproute2 and util-linux are installed");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let lines = stdout.split_inclusive('\n').filter(|line| {
        let line = line.as_bytes();
        !beginnings.iter().any(|beginning| {
            let line = line.get(..beginning.len());
            line.is_some_and(|line| line.eq_ignore_ascii_case(beginning.as_bytes()))
        })
    });
    Ended {
        code: output.status.code(),
        stdout: shortened(lines.collect()),
        stderr: shortened(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// What is too long to be shown is compared by its hash.
pub(crate) fn shortened(text: String) -> String {
    const SHOWN_BYTES_MAX: usize = 20_000;
    if text.len() <= SHOWN_BYTES_MAX {
        return text;
    }
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    format!("{} bytes with hash {:x}", text.len(), hasher.finish())
}
