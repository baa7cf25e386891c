//! What is said where it can't work, and that nothing has been changed then.

use std::fs::File;

use crate::commands::Commands;
use crate::pod::{Pod, init_command, unprivileged_init_command};

const EVERYTHING: [&str; 2] = ["net_admin", "net_raw"];

#[test]
fn without_net_admin_it_says_how_to_give_it() {
    let pod = Pod::new();
    for flags in [&[][..], &["--cleanup"], &["--backend=legacy"]] {
        let run = pod
            .ns
            .run(&mut unprivileged_init_command(&EVERYTHING, 0, flags));
        run.fails_saying(&[
            "lacks the capability NET_ADMIN",
            "securityContext.capabilities",
        ]);
    }
    assert!(!pod.tables().contains("NETTING_"));
}

#[test]
fn without_net_raw_legacy_says_that_it_needs_it_and_nft_works() {
    let pod = Pod::new();
    let legacy = &["--backend=legacy"];
    let run = pod
        .ns
        .run(&mut unprivileged_init_command(&["net_raw"], 0, legacy));
    run.fails_saying(&[
        "no iptables backend works for IPv4",
        "NET_ADMIN and NET_RAW",
    ]);
    let run = pod
        .ns
        .run(&mut unprivileged_init_command(&["net_raw"], 0, &[]));
    assert_eq!(run.code, 0, "{}", run.stderr);
}

#[test]
fn a_dry_run_needs_no_privileges_and_no_iptables() {
    let pod = Pod::new();
    let mut command = unprivileged_init_command(&EVERYTHING, 65534, &["--dry-run"]);
    let run = pod.ns.run(&mut command);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(
        run.stdout.matches("-I OUTPUT 1 -p tcp").count(),
        2,
        "{}",
        run.stdout
    );
    let run = Commands::none().init(&pod, &["--dry-run"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(
        run.stdout.matches("-I OUTPUT 1 -p tcp").count(),
        2,
        "{}",
        run.stdout
    );
    assert!(!pod.tables().contains("NETTING_"));
}

#[test]
fn a_dry_run_that_cannot_look_does_not_claim_that_there_is_nothing() {
    let pod = Pod::new();
    let flags = &["--dry-run", "--cleanup"];
    let run = pod
        .ns
        .run(&mut unprivileged_init_command(&EVERYTHING, 0, flags));
    assert!(
        run.stdout
            .contains("IPv4: can't tell what is to be removed"),
        "{}",
        run.stdout
    );
}

#[test]
fn without_the_commands_it_names_the_package() {
    let pod = Pod::new();
    for flags in [&[][..], &["--cleanup"], &["--backend=nft"]] {
        let run = Commands::none().init(&pod, flags);
        run.fails_saying(&[
            "iptables-nft-save: no such command in PATH",
            "iptables package",
        ]);
    }
    let mut command = init_command(&[]);
    command.env("PATH", "");
    pod.ns
        .run(&mut command)
        .fails_saying(&["no such command in PATH"]);
}

#[test]
fn without_a_nat_table_it_names_the_modules() {
    let pod = Pod::new();
    let run = without_nat("iptables").init(&pod, &[]);
    run.fails_saying(&[
        "no iptables backend works for IPv4",
        "modprobe -a nft_chain_nat",
        "modprobe -a iptable_nat",
        "were put back as they were",
    ]);
    let run = without_nat("ip6tables").init(&pod, &[]);
    run.fails_saying(&[
        "no iptables backend works for IPv6, in which the pod has the address fd77::2",
        "modprobe -a ip6table_nat",
        "were put back as they were",
    ]);
    assert!(!pod.tables().contains("NETTING_"));
}

#[test]
fn without_an_extension_it_names_the_module() {
    let words = "Warning: Extension owner revision 0 not supported, missing kernel module?";
    let commands = Commands::real().failing("iptables-nft-restore", 4, words);
    let run = commands.init(&Pod::new(), &["--backend=nft"]);
    run.fails_saying(&["modprobe xt_owner"]);
}

#[test]
fn a_pod_without_ipv6_needs_no_ip6tables() {
    let pod = Pod::without_ipv6();
    let left_out = "level=info message=\"family left out, as the pod has no address of it\" \
         family=ipv6";
    for (commands, flags) in [
        (without_nat("ip6tables"), &[][..]),
        (only_ipv4(), &[]),
        (only_ipv4(), &["--cleanup"]),
    ] {
        let run = commands.init(&pod, flags);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(run.stderr.contains(left_out), "{}", run.stderr);
    }
    pod.ns.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1");
    let run = only_ipv4().init(&pod, &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
}

#[test]
fn a_pod_with_ipv6_needs_ip6tables() {
    let pod = Pod::new();
    for flags in [&[][..], &["--cleanup"]] {
        only_ipv4()
            .init(&pod, flags)
            .fails_saying(&["ip6tables-nft-save: no such command in PATH", "fd77::2"]);
    }
    assert!(!pod.tables().contains("NETTING_"));
}

#[test]
fn a_lock_that_somebody_keeps_is_waited_for_and_then_named() {
    let lock = tempfile::NamedTempFile::new().expect("there is a temporary directory");
    let held = File::open(lock.path()).expect("the file was just made");
    held.lock().expect("nobody else holds it");
    let mut command = init_command(&["--backend=legacy"]);
    command.env("XTABLES_LOCKFILE", lock.path());
    let run = Pod::new().ns.run(&mut command);
    run.fails_saying(&["xtables lock", "another process keeps changing iptables"]);
}

#[test]
fn wrong_options_are_all_reported_and_nothing_is_tried() {
    let pod = Pod::new();
    let run = pod.init(&[
        "--outbound-port=0",
        "--proxy-uid=root",
        "--skip-inbound-cidrs=1/2/3",
    ]);
    assert_eq!(run.code, 2, "{run:?}");
    for flag in ["--outbound-port", "--proxy-uid", "--skip-inbound-cidrs"] {
        let line = format!("level=error message=\"wrong option\" flag={flag} ");
        assert!(run.stderr.contains(&line), "{}", run.stderr);
    }
    assert_eq!(pod.init(&["--no-such-flag"]).code, 2);
    assert!(!pod.tables().contains("NETTING_"));
}

#[test]
fn whoever_reads_half_of_the_plan_does_no_harm() {
    let pod = Pod::new();
    let binary = env!("CARGO_BIN_EXE_netting-iptables-init");
    pod.ns.sh(&format!(
        "{binary} --dry-run 2>&1 >/dev/full | grep -q 'could not print the plan'"
    ));
    let first = pod.ns.sh(&format!("{binary} --dry-run | head -n1"));
    assert_eq!(first, "# iptables-nft-restore\n");
}

/// Commands of one family that fail as on a node that lacks every module for it.
fn without_nat(family: &str) -> Commands {
    Commands::real()
        .failing(
            &format!("{family}-nft-restore"),
            4,
            "line 13: CHAIN_ADD failed (No such file or directory): chain PREROUTING",
        )
        .failing(
            &format!("{family}-legacy-restore"),
            3,
            "can't initialize table `nat': Table does not exist (do you need to insmod?)",
        )
}

fn only_ipv4() -> Commands {
    let mut commands = Commands::none();
    for backend in ["nft", "legacy"] {
        for verb in ["save", "restore"] {
            let name = format!("iptables-{backend}-{verb}");
            commands = commands.link(&name, &name);
        }
    }
    commands
}
