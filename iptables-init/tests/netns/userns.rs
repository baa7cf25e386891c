//! A pod with a user namespace of its own (`hostUsers: false`): the runtime makes the network
//! namespace within it, so that netting-init's root, whom the machine knows as somebody else, has
//! its capabilities there and nowhere else.
//! <https://kubernetes.io/docs/concepts/workloads/pods/user-namespaces/>

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::pod::{Arrival, Namespace, PATH, Pod, Run, arrival};

/// The machine's uid of the pod's root; 65536 of them are the pod's, as the kubelet has it.
const FIRST_UID: u32 = 100_000;
const SIDECAR_UID: u32 = 4150;

struct UserPod {
    pod: Pod,
    /// Its namespaces live as long as this process, which ends when nobody writes to it any more.
    holder: Child,
}

impl UserPod {
    fn new() -> Self {
        let mut holder = Command::new("unshare")
            .args([
                "--user",
                "--net",
                "--",
                "sh",
                "-c",
                "echo there && exec cat",
            ])
            .env_clear()
            .env("PATH", PATH)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("util-linux is installed");
        let mut said = String::new();
        let stdout = holder.stdout.take().expect("it is piped");
        let read = BufReader::new(stdout).read_line(&mut said);
        read.expect("it is text");
        assert_eq!(said, "there\n", "the kernel allows user namespaces");
        let process = holder.id();
        for map in ["uid_map", "gid_map"] {
            let written = fs::write(
                format!("/proc/{process}/{map}"),
                format!("0 {FIRST_UID} 65536\n"),
            );
            written.expect("root maps users as it likes");
        }
        let pod = Pod::of(Namespace::of_process(process));
        Self { pod, holder }
    }

    /// Runs the init container's binary as the runtime would: as the pod's root, with the two
    /// capabilities that netting-init is given, and with a `/run` of its own. It is handed over
    /// open, for the way to it may be closed to that user, such as through a home directory.
    fn init(&self, flags: &[&str]) -> Run {
        let own_run = "mount -t tmpfs tmpfs /run && exec setpriv --no-new-privs \
                       --bounding-set -all,+net_admin,+net_raw \
                       --inh-caps -all,+net_admin,+net_raw \"$@\"";
        let binary = File::open(env!("CARGO_BIN_EXE_netting-iptables-init"));
        let process = self.holder.id().to_string();
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &process, "--user", "--net"])
            .args(["--setuid", "0", "--setgid", "0"])
            .args(["unshare", "--mount", "sh", "-ec", own_run, "sh"])
            .arg("/proc/self/fd/0")
            .args(flags)
            .stdin(binary.expect("it is built"))
            .env_clear()
            .env("PATH", PATH);
        Run::from(command.output().expect("util-linux is installed"))
    }
}

impl Drop for UserPod {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        // It has nothing left to read.
        let _ended = self.holder.wait();
    }
}

with_each_backend! {
    fn a_pod_with_users_of_its_own_is_redirected_and_verified(backend) {
        let user_pod = UserPod::new();
        let pod = &user_pod.pod;
        let backend = format!("--backend={backend}");
        let run = user_pod.init(&[&backend]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        for family in ["ipv4", "ipv6"] {
            let verified = format!("message=\"redirection verified\" family={family}");
            assert!(run.stderr.contains(&verified), "{}", run.stderr);
        }

        // The rules name the sidecar as the pod does, and the kernel the machine's user.
        let peer = pod.peer.listen("10.77.0.1:80");
        let client = pod.ns.connect_as(FIRST_UID + SIDECAR_UID, None, "10.77.0.1:80");
        assert_eq!(arrival(&peer, &client).at, "10.77.0.1:80");
        let sidecar = pod.ns.listen("0.0.0.0:15001");
        for other in [FIRST_UID, FIRST_UID + 1000, SIDECAR_UID] {
            let client = pod.ns.connect_as(other, None, "10.77.0.1:80");
            let redirected = Arrival::new("127.0.0.1:15001", "10.77.0.1:80");
            assert_eq!(arrival(&sidecar, &client), redirected, "{other}");
        }
        let sidecar = pod.ns.listen("[::]:15006");
        let client = pod.peer.connect("[fd77::2]:80");
        let redirected = Arrival::new("[fd77::2]:15006", "[fd77::2]:80");
        assert_eq!(arrival(&sidecar, &client), redirected);

        let run = user_pod.init(&[&backend, "--cleanup"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        let client = pod.ns.connect_as(FIRST_UID + 1000, None, "10.77.0.1:80");
        assert_eq!(arrival(&peer, &client).at, "10.77.0.1:80");
        let tables = pod.tables();
        assert!(!tables.contains("NETTING"), "{tables}");
    }
}
