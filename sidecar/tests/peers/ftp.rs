//! vsftpd, which speaks first: on each control connection, and on the data connections of
//! downloads and lists.

use std::{
    fs::{self, Permissions},
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::PermissionsExt as _,
    process::ExitCode,
};

use clap::Parser as _;

use crate::{
    harness::namespace::Namespace,
    pods::{Pods, SERVICE},
    process::{Ended, Server, directory, run},
};

/// In passive mode data goes to another port of the Service. It is always the same one, for
/// a Service has no ranges.
const CONFIGURATION: &str = "
listen=YES
background=NO
seccomp_sandbox=NO
isolate=NO
isolate_network=NO
secure_chroot_dir=DIRECTORY/empty
anonymous_enable=YES
no_anon_password=YES
anon_root=DIRECTORY/root
anon_umask=022
write_enable=YES
anon_upload_enable=YES
anon_other_write_enable=YES
pasv_min_port=2121
pasv_max_port=2121
";

/// Of ten bytes each.
const FILE_LINES: usize = 300_000;

/// vsftpd in the server's pod, with a large file and a directory for what is sent to it.
fn start(pods: &Pods) -> Server {
    let directory = directory();
    let path = |name: &str| directory.path().join(name);
    let here = directory.path().to_str().expect("its name is text");
    for name in ["empty", "root", "root/incoming"] {
        fs::create_dir(path(name)).expect("it can be made");
    }
    let everybody = Permissions::from_mode(0o777);
    fs::set_permissions(path("root/incoming"), everybody).expect("it is ours");
    let large: String = (0..FILE_LINES).map(|at| format!("{at:09}\n")).collect();
    fs::write(path("root/large"), large).expect("it can be written");
    fs::write(path("root/empty"), "").expect("it can be written");
    let configuration = CONFIGURATION.replace("DIRECTORY", here);
    fs::write(path("vsftpd.conf"), configuration).expect("it can be written");
    let mut command = pods.server.command(&[], "vsftpd");
    command.arg(path("vsftpd.conf"));
    Server::start(&pods.server, 21, directory, &mut command)
}

/// curl, and what it and the server said to each other on the control connection.
fn curl(pods: &Pods, call: &str) -> (Ended, Vec<String>) {
    let line = format!("curl --silent --verbose --max-time 20 {call}");
    let line = line.replace("ftp://", &format!("ftp://{SERVICE}/"));
    let said = run(pods.client_command("sh").args(["-c", &line]));
    let control = said.stderr.lines().filter(|line| {
        // Where passive mode says it listens is where it was connected to itself, which
        // is the pod in a mesh.
        line.starts_with(['<', '>']) && !line.starts_with("< 227 ")
    });
    let control = control.map(str::to_owned).collect();
    (
        Ended {
            stderr: String::new(),
            ..said
        },
        control,
    )
}

#[test]
fn files_go_both_ways_by_ftp() {
    let pods = Pods::new();
    let server = start(&pods);
    let sent = server.directory().join("root/large").display().to_string();
    let calls = [
        "ftp://".to_owned(),
        "--list-only ftp://".to_owned(),
        "ftp://large".to_owned(),
        "--disable-epsv ftp://large".to_owned(),
        "ftp://empty".to_owned(),
        "--range 2999000- ftp://large".to_owned(),
        "--head ftp://large".to_owned(),
        "--use-ascii ftp://large".to_owned(),
        "ftp://large ftp://empty ftp://incoming/".to_owned(),
        "ftp://missing".to_owned(),
        "--user who:wrong ftp://large".to_owned(),
        format!("--upload-file {sent} ftp://incoming/sent"),
        "ftp://incoming/sent".to_owned(),
        "--quote 'DELE incoming/sent' --list-only ftp://incoming/".to_owned(),
    ];
    let ended = pods.same(&calls, |pods, call| curl(pods, call));
    let (list, control) = &ended[0];
    assert!(list.stdout.contains(" 3000000 "), "{list:?}");
    assert!(control[0].starts_with("< 220 "), "{control:?}");
    for at in [2, 3, 12] {
        let (large, control) = &ended[at];
        assert!(large.stdout.starts_with("3000"), "{large:?}, {control:?}");
    }
    let codes: Vec<_> = ended.iter().map(|(ended, _)| ended.code).collect();
    // 78: there is no such file; 67: who is not let in.
    let mut expected = [Some(0); 14];
    (expected[9], expected[10]) = (Some(78), Some(67));
    assert_eq!(codes, expected);
}

/// Puts the rules there once more, with exceptions. They were proven before the sidecar was
/// there to answer.
fn leave_alone(pod: &Namespace, exceptions: &[&str]) {
    let args = ["netting-iptables-init", "--no-verify"];
    let args = netting_iptables_init::Args::parse_from(args.iter().chain(exceptions));
    let code = pod.run(|| netting_iptables_init::run(&args));
    assert_eq!(code, ExitCode::SUCCESS);
}

/// In active mode the server compares the address that it is to connect to with that of
/// its client, which is its own sidecar for it. And who takes a data connection before its
/// client does lets the control connection overtake what goes over it.
#[test]
fn active_mode_needs_its_ports_left_alone() {
    let mut pods = Pods::new();
    let server = start(&pods);
    let sent = server.directory().join("root/large").display().to_string();
    let calls = [
        "--list-only ftp://".to_owned(),
        "ftp://large".to_owned(),
        format!("--upload-file {sent} ftp://incoming/sent"),
        "ftp://incoming/sent".to_owned(),
        "--quote 'DELE incoming/sent' --list-only ftp://incoming/".to_owned(),
    ];
    let active = |pods: &Pods| {
        let call = |call: &String| curl(pods, &format!("--ftp-port - {call}"));
        calls.iter().map(call).collect::<Vec<_>>()
    };
    let outcomes = |said: &[(Ended, Vec<String>)]| {
        let outcome = |(ended, _): &(Ended, _)| (ended.code, ended.stdout.clone());
        said.iter().map(outcome).collect::<Vec<_>>()
    };
    let direct = active(&pods);
    let all_went_well = direct.iter().all(|(ended, _)| ended.code == Some(0));
    assert!(all_went_well, "{direct:?}");
    pods.mesh();
    let (refused, control) = &active(&pods)[0];
    // 30: PORT failed.
    assert_eq!(refused.code, Some(30), "{control:?}");
    assert!(
        control
            .iter()
            .any(|line| line == "< 500 Illegal PORT command.")
    );
    leave_alone(
        &pods.server,
        &[
            "--skip-inbound-ports=21",
            "--skip-outbound-ports=1024-65535",
        ],
    );
    leave_alone(&pods.client, &["--skip-inbound-ports=32768-60999"]);
    let meshed = active(&pods);
    assert_eq!(
        outcomes(&meshed),
        outcomes(&direct),
        "{meshed:?}, {direct:?}"
    );
}

#[test]
fn the_server_of_ftp_is_not_kept_waiting_for_its_client() {
    let pods = Pods::new();
    let _server = start(&pods);
    // The second one goes to a destination that is known to speak first.
    let said = pods.same(&["first", "second"], |pods, _| {
        let mut stream = pods.connect(21);
        let mut lines = BufReader::new(stream.try_clone().expect("a socket can be cloned"));
        let mut said = String::new();
        lines.read_line(&mut said).expect("it speaks first");
        for command in ["USER anonymous", "PASS a", "NOOP", "QUIT"] {
            write!(stream, "{command}\r\n").expect("it reads");
            lines.read_line(&mut said).expect("it answers each command");
        }
        said
    });
    assert!(said[0].starts_with("220 "), "{said:?}");
    assert!(said[0].ends_with("221 Goodbye.\r\n"), "{said:?}");
}
