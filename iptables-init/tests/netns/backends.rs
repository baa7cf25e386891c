//! Which backend is used, in clusters and images of all sorts.

use crate::commands::Commands;
use crate::pod::{Pod, Run, init_command, restricted_init_command};

fn uses(run: &Run, backend: &str) {
    assert_eq!(run.code, 0, "{}", run.stderr);
    for family in ["ipv4", "ipv6"] {
        let line = format!("message=\"rules applied\" family={family} backend={backend}\n");
        assert!(
            run.stderr.contains(&line),
            "{line} is not in {}",
            run.stderr
        );
    }
}

/// Where Netting's chains are, of all tables.
fn places(pod: &Pod) -> Vec<&'static str> {
    [
        "iptables-nft",
        "ip6tables-nft",
        "iptables-legacy",
        "ip6tables-legacy",
    ]
    .into_iter()
    .filter(|command| pod.table(command).contains("NETTING_"))
    .collect()
}

#[test]
fn a_fresh_pod_gets_nft() {
    let pod = Pod::new();
    uses(&pod.apply(&[]), "nft");
    assert_eq!(places(&pod), ["iptables-nft", "ip6tables-nft"]);
}

#[test]
fn nothing_is_left_in_the_backend_that_was_not_used() {
    let pod = Pod::new();
    pod.apply(&[]);
    // Looking at legacy tables makes them, and then they take part in every connection.
    assert_eq!(
        pod.ns
            .sh("cat /proc/net/ip_tables_names /proc/net/ip6_tables_names"),
        ""
    );
}

#[test]
fn legacy_is_used_where_somebody_has_programmed_legacy() {
    let pod = Pod::new();
    for command in ["iptables-legacy", "ip6tables-legacy"] {
        pod.ns.sh(&format!(
            "{command} -w -t nat -A OUTPUT -p udp --dport 53 -j RETURN"
        ));
    }
    uses(&pod.apply(&[]), "legacy");
}

#[test]
fn nft_is_used_where_somebody_has_programmed_both() {
    let pod = Pod::new();
    for command in [
        "iptables-legacy",
        "ip6tables-legacy",
        "iptables-nft",
        "ip6tables-nft",
    ] {
        pod.ns.sh(&format!(
            "{command} -w -t nat -A OUTPUT -p udp --dport 53 -j RETURN"
        ));
    }
    uses(&pod.apply(&[]), "nft");
}

#[test]
fn an_empty_legacy_table_does_not_count_as_programmed() {
    let pod = Pod::new();
    pod.ns
        .sh("iptables-legacy-save -t nat; ip6tables-legacy-save -t nat");
    uses(&pod.apply(&[]), "nft");
}

#[test]
fn a_second_run_stays_with_the_backend_of_the_first() {
    let pod = Pod::new();
    uses(&pod.apply(&["--backend=legacy"]), "legacy");
    uses(&pod.apply(&[]), "legacy");
    assert_eq!(places(&pod), ["iptables-legacy", "ip6tables-legacy"]);
}

#[test]
fn forcing_the_other_backend_moves_the_rules() {
    let pod = Pod::new();
    uses(&pod.apply(&["--backend=legacy"]), "legacy");
    uses(&pod.apply(&["--backend=nft"]), "nft");
    assert_eq!(places(&pod), ["iptables-nft", "ip6tables-nft"]);
    uses(&pod.apply(&["--backend=legacy"]), "legacy");
    assert_eq!(places(&pod), ["iptables-legacy", "ip6tables-legacy"]);
}

#[test]
fn cleaning_up_finds_rules_in_either_backend() {
    for backend in ["--backend=nft", "--backend=legacy"] {
        let pod = Pod::new();
        pod.apply(&[backend]);
        pod.apply(&["--cleanup"]);
        assert!(places(&pod).is_empty(), "{backend}: {:?}", places(&pod));
    }
}

#[test]
fn an_image_with_only_one_backend_is_enough() {
    for (backend, other) in [("nft", "legacy"), ("legacy", "nft")] {
        let mut commands = Commands::real();
        for family in ["iptables", "ip6tables"] {
            for verb in ["save", "restore"] {
                commands = commands.missing(&format!("{family}-{other}-{verb}"));
            }
        }
        uses(&commands.init(&Pod::new(), &[]), backend);
    }
}

#[test]
fn an_image_with_only_the_plain_names_is_enough() {
    for backend in ["nft", "legacy"] {
        let mut commands = Commands::none();
        for family in ["iptables", "ip6tables"] {
            for verb in ["save", "restore"] {
                let installed = format!("xtables-{backend}-multi");
                commands = commands.link(&format!("{family}-{verb}"), &installed);
            }
        }
        let pod = Pod::new();
        uses(&commands.init(&pod, &[]), backend);
        uses(
            &commands.init(&pod, &[&format!("--backend={backend}")]),
            backend,
        );
        let run = commands.init(&pod, &["--cleanup"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(places(&pod).is_empty(), "{backend}: {:?}", places(&pod));
    }
}

#[test]
fn legacy_is_used_where_the_kernel_has_no_nft_nat() {
    let words = "line 13: CHAIN_ADD failed (No such file or directory): chain PREROUTING";
    let commands = Commands::real()
        .failing("iptables-nft-restore", 4, words)
        .failing("ip6tables-nft-restore", 4, words);
    uses(&commands.init(&Pod::new(), &[]), "legacy");
}

#[test]
fn legacy_is_used_where_the_kernel_has_no_nf_tables() {
    let words = "Failed to initialize nft: Protocol not supported";
    let mut commands = Commands::real();
    for family in ["iptables", "ip6tables"] {
        for verb in ["save", "restore"] {
            commands = commands.failing(&format!("{family}-nft-{verb}"), 1, words);
        }
    }
    let pod = Pod::new();
    uses(&commands.init(&pod, &[]), "legacy");
    let run = commands.init(&pod, &["--cleanup"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(places(&pod).is_empty(), "{:?}", places(&pod));
}

/// Netting's own rules among such couldn't be found again, and would be added a second time.
#[test]
fn legacy_is_used_where_the_nft_tool_wrote_rules_that_iptables_cannot_read() {
    let says = "echo \"# Table \\`nat' is incompatible, use 'nft' tool.\"";
    let commands = Commands::real()
        .fake("iptables-nft-save", says)
        .fake("ip6tables-nft-save", says);
    let pod = Pod::new();
    uses(&commands.init(&pod, &[]), "legacy");
    commands
        .init(&pod, &["--backend=nft"])
        .fails_saying(&["is incompatible", "--backend=legacy"]);
}

#[test]
fn the_lock_moves_where_the_root_file_system_is_read_only() {
    let pod = Pod::new();
    let mut command = init_command(&["--backend=legacy"]);
    command.env("XTABLES_LOCKFILE", "/proc/xtables.lock");
    uses(&pod.ns.run(&mut command), "legacy");
}

/// As in the container that the webhook adds: root, without even the right to open others' files.
#[test]
fn net_admin_and_net_raw_are_all_it_takes() {
    for backend in ["nft", "legacy"] {
        let pod = Pod::new();
        let flags = [format!("--backend={backend}")];
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let mut command = restricted_init_command("-all,+net_admin,+net_raw", 0, &flags);
        uses(&pod.ns.run(&mut command), backend);
        let mut command = restricted_init_command("-all,+net_admin,+net_raw", 0, &[]);
        uses(&pod.ns.run(&mut command), backend);
    }
}
