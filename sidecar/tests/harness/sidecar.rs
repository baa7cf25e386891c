//! A sidecar in a pod's namespace, behind the rules.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    thread,
    time::Instant,
};

use clap::Parser as _;

use super::{
    LOOK_AGAIN, PATIENCE, WAITED_FOR,
    namespace::{Namespace, dst},
};

/// The process, killed when dropped. Its namespace is given to whatever has to
/// reach its admin port.
pub(crate) struct Sidecar {
    process: Child,
}

impl Sidecar {
    /// Applies the rules to the namespace, and starts the sidecar as its own user.
    /// Its catalog is 10.0.0.1:15010.
    pub(crate) fn start(namespace: &Namespace) -> Self {
        Self::start_with(namespace, &[])
    }

    /// As `start`, with more in its environment.
    pub(crate) fn start_with(namespace: &Namespace, environment: &[(&str, &str)]) -> Self {
        Self::start_writing(namespace, environment, Stdio::inherit())
    }

    /// The same, with its standard output there.
    pub(crate) fn start_writing(
        namespace: &Namespace,
        environment: &[(&str, &str)],
        stdout: Stdio,
    ) -> Self {
        namespace.run(|| {
            let args = netting_iptables_init::Args::parse_from(["netting-iptables-init"]);
            netting_iptables_init::run(&args);
        });
        let identity = ["--reuid=4150", "--regid=4150", "--clear-groups"];
        let process = namespace
            .command(&identity, &binary())
            .args([
                "--catalog=10.0.0.1:15010",
                "--drain-timeout=8s",
                "--log=info",
            ])
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(stdout)
            .spawn()
            .expect("iproute2 and util-linux are installed");
        let sidecar = Self { process };
        wait_for(namespace, "/live", "live");
        sidecar
    }

    /// What it has in memory now, in kB.
    pub(crate) fn resident_kb(&self) -> u64 {
        let status = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(status).expect("it runs");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|rest| rest.trim().strip_suffix(" kB"));
        let resident = resident.expect("a process has VmRSS, in kB");
        resident.parse().expect("it is a number")
    }

    pub(crate) fn terminate(&self) {
        let pid = self.process.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(killed.expect("util-linux is installed").success());
    }

    /// Waits for it to end.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let begun = Instant::now();
        while begun.elapsed() < WAITED_FOR {
            if let Some(status) = self.process.try_wait().expect("it is our child") {
                return status.code();
            }
            thread::sleep(LOOK_AGAIN);
        }
        panic!("the sidecar did not end within {WAITED_FOR:?}");
    }
}

/// The one that was built with the test, or that of `NETTING_BIN_DIR`.
fn binary() -> String {
    match std::env::var("NETTING_BIN_DIR") {
        Ok(directory) => format!("{directory}/netting-sidecar"),
        Err(_) => env!("CARGO_BIN_EXE_netting-sidecar").to_owned(),
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Asks the admin port, from within the pod.
pub(crate) fn admin(pod: &Namespace, path: &str) -> io::Result<String> {
    let at = dst("127.0.0.1", 15020);
    let mut stream = pod.run(|| TcpStream::connect_timeout(&at, PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Waits until the admin port's answer contains something.
pub(crate) fn wait_for(pod: &Namespace, path: &str, something: &str) {
    let begun = Instant::now();
    loop {
        let answer = admin(pod, path);
        if answer
            .as_ref()
            .is_ok_and(|answer| answer.contains(something))
        {
            return;
        }
        assert!(
            begun.elapsed() < WAITED_FOR,
            "{path} does not say {something}: {answer:?}"
        );
        thread::sleep(LOOK_AGAIN);
    }
}
