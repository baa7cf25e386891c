//! What is left in the tables: once or twice applied, cleaned up, and beside the rules of others.

use crate::commands::Commands;
use crate::pod::{Pod, Run, init_command};

/// Rules of others, around Netting's and with words that look like Netting's.
fn add_foreign_rules(pod: &Pod, backend: &str) {
    for command in ["iptables", "ip6tables"] {
        let nat = format!("{command}-{backend} -w -t nat");
        pod.ns.sh(&format!(
            r#"{nat} -N SOMEBODY
            {nat} -A SOMEBODY -p tcp --dport 53 -j REDIRECT --to-ports 5353
            {nat} -A OUTPUT -j SOMEBODY
            {nat} -A OUTPUT -m comment --comment 'not a "-j NETTING_OUTBOUND"' -j RETURN
            {nat} -A PREROUTING -p tcp --dport 81 -j REDIRECT --to-ports 8081
            {nat} -A POSTROUTING -m mark --mark 7 -j RETURN"#
        ));
    }
}

fn count(haystack: &str, needle: &str) -> usize {
    haystack.matches(needle).count()
}

fn flag(backend: &str) -> String {
    format!("--backend={backend}")
}

with_each_backend! {
    fn applying_twice_changes_nothing(backend) {
        let pod = Pod::new();
        add_foreign_rules(&pod, backend);
        let flags = [
            "--skip-outbound-ports=80,443,1000-2000",
            "--skip-inbound-ports=22",
            "--skip-outbound-cidrs=10.1.0.0/16,fd01::/32",
            "--no-verify",
        ];
        pod.apply(&flags);
        let once = pod.tables();
        pod.apply(&flags);
        assert_eq!(pod.tables(), once);
        assert_eq!(count(&once, "-A OUTPUT -p tcp -m comment --comment \"netting:"), 2);
    }

    fn applying_other_options_leaves_nothing_of_the_former(backend) {
        let pod = Pod::new();
        let backend = flag(backend);
        pod.apply(&[&backend, "--no-verify", "--skip-outbound-ports=80", "--outbound-port=7"]);
        pod.apply(&[&backend, "--no-verify", "--skip-inbound-ports=22"]);
        let replaced = pod.tables();
        let fresh = Pod::new();
        fresh.apply(&[&backend, "--no-verify", "--skip-inbound-ports=22"]);
        assert_eq!(replaced, fresh.tables());
    }

    fn applying_mends_what_somebody_broke(backend) {
        let pod = Pod::apply_with(backend, &[]);
        let intact = pod.tables();
        pod.ns.sh(&format!(
            "iptables-{backend} -w -t nat -A OUTPUT -p tcp -j NETTING_OUTBOUND
             iptables-{backend} -w -t nat -I OUTPUT -j NETTING_OUTBOUND
             iptables-{backend} -w -t nat -F NETTING_INBOUND
             ip6tables-{backend} -w -t nat -F OUTPUT"
        ));
        assert_ne!(pod.tables(), intact);
        pod.apply(&["--no-verify"]);
        assert_eq!(pod.tables(), intact);
    }

    fn rules_of_others_stay_where_they_are(backend) {
        let pod = Pod::new();
        add_foreign_rules(&pod, backend);
        let before = pod.tables();
        pod.apply(&["--no-verify"]);
        let after: Vec<_> = pod.tables().lines().map(str::to_owned).collect();
        let foreign: Vec<_> = after.iter().filter(|line| {
            !line.contains("NETTING_") || line.contains("not a ")
        }).cloned().collect();
        assert_eq!(foreign, before.lines().collect::<Vec<_>>());
    }

    fn cleaning_up_restores_what_was_there(backend) {
        let pod = Pod::new();
        add_foreign_rules(&pod, backend);
        let before = pod.tables();
        pod.apply(&["--skip-outbound-ports=1-9,20,30"]);
        assert_ne!(pod.tables(), before);
        pod.apply(&["--cleanup"]);
        assert_eq!(pod.tables(), before);
        let again = pod.apply(&["--cleanup"]);
        assert_eq!(count(&again.stderr, "nothing to remove"), 2, "{}", again.stderr);
        assert_eq!(pod.tables(), before);
    }

    fn cleaning_up_takes_jumps_out_that_others_added(backend) {
        let pod = Pod::apply_with(backend, &[]);
        pod.ns.sh(&format!(
            "iptables-{backend} -w -t nat -N SOMEBODY
             iptables-{backend} -w -t nat -A SOMEBODY -p tcp -g NETTING_OUTBOUND"
        ));
        pod.apply(&["--cleanup"]);
        let table = pod.table(&format!("iptables-{backend}"));
        assert!(!table.contains("NETTING_"), "{table}");
        assert!(table.contains(":SOMEBODY -"), "{table}");
    }

    fn a_transaction_that_fails_at_its_end_changes_nothing(backend) {
        let pod = Pod::new();
        add_foreign_rules(&pod, backend);
        let before = pod.tables();
        let restore = format!("iptables-{backend}-restore");
        let commands = Commands::real().fake(&restore, &format!(
            "/bin/sed 's/COMMIT/-A NO_SUCH_CHAIN -j RETURN\\nCOMMIT/' | \
             PATH=/usr/sbin:/sbin exec {restore} \"$@\""
        ));
        let run = commands.init(&pod, &[&flag(backend)]);
        run.fails_saying(&["no iptables backend works for IPv4", "line 11 failed"]);
        assert_eq!(pod.tables(), before);
    }

    fn when_ipv6_fails_ipv4_is_put_back(backend) {
        let pod = Pod::new();
        add_foreign_rules(&pod, backend);
        let before = pod.tables();
        let run = without_ip6tables(backend).init(&pod, &[&flag(backend)]);
        run.fails_saying(&[
            "no iptables backend works for IPv6",
            "fd77::2",
            "the IPv4 rules were put back as they were",
        ]);
        assert_eq!(pod.tables(), before);
    }

    fn putting_back_restores_the_rules_of_an_earlier_run(backend) {
        let pod = Pod::new();
        add_foreign_rules(&pod, backend);
        pod.apply(&["--no-verify", "--skip-outbound-ports=80", "--outbound-port=7"]);
        let before = pod.tables();
        let run = without_ip6tables(backend).init(&pod, &["--skip-inbound-ports=22"]);
        run.fails_saying(&["the IPv4 rules were put back as they were"]);
        assert_eq!(pod.tables(), before);
    }

    fn a_dry_run_prints_and_changes_nothing(backend) {
        let pod = Pod::new();
        add_foreign_rules(&pod, backend);
        let before = pod.tables();
        let run = pod.apply(&["--dry-run"]);
        for family in ["iptables", "ip6tables"] {
            let title = format!("# {family}-{backend}-restore\n*nat\n");
            assert!(run.stdout.contains(&title), "{}", run.stdout);
        }
        assert_eq!(pod.tables(), before);
        let run = pod.apply(&["--dry-run", "--cleanup"]);
        assert_eq!(count(&run.stdout, "nothing to remove"), 2, "{}", run.stdout);

        pod.apply(&["--no-verify"]);
        let applied = pod.tables();
        let run = pod.apply(&["--dry-run", "--cleanup"]);
        assert_eq!(count(&run.stdout, "-X NETTING_OUTBOUND"), 2, "{}", run.stdout);
        assert_eq!(pod.tables(), applied);
    }

    /// What is printed is what is done.
    fn a_dry_run_can_be_given_to_iptables_restore(backend) {
        let pod = Pod::new();
        let run = pod.apply(&["--dry-run", &flag(backend), "--skip-inbound-ports=22"]);
        let (v4, v6) = run.stdout.split_once("# ip6tables").expect("both families are printed");
        for (command, rules) in [("iptables", v4), ("ip6tables", &format!("#{v6}"))] {
            pod.ns.sh(&format!("{command}-{backend}-restore -w --noflush <<'END'\n{rules}\nEND"));
        }
        let by_hand = pod.tables();
        pod.apply(&["--no-verify", "--skip-inbound-ports=22"]);
        assert_eq!(pod.tables(), by_hand);
    }
}

/// ip6tables that fail as they do on a node without the modules.
fn without_ip6tables(backend: &str) -> Commands {
    let words = match backend {
        "nft" => "line 13: CHAIN_ADD failed (No such file or directory): chain PREROUTING",
        _ => "ip6tables-restore v1.8.9 (legacy): unable to initialize table 'nat'",
    };
    Commands::real()
        .failing(&format!("ip6tables-{backend}-restore"), 4, words)
        .missing(&format!("ip6tables-{}-restore", other(backend)))
        .missing("ip6tables-restore")
}

fn other(backend: &str) -> &'static str {
    if backend == "nft" { "legacy" } else { "nft" }
}

#[test]
fn cleaning_up_a_pod_that_never_had_rules_is_fine() {
    let pod = Pod::new();
    let before = pod
        .ns
        .sh("iptables-save; ip6tables-save; cat /proc/net/ip_tables_names");
    pod.apply(&["--cleanup"]);
    let after = pod
        .ns
        .sh("iptables-save; ip6tables-save; cat /proc/net/ip_tables_names");
    assert_eq!((before.as_str(), after.as_str()), ("", ""));
}

#[test]
fn the_environment_works_like_flags_and_gives_way_to_them() {
    let pod = Pod::new();
    let run = |variables: &[(&str, &str)], flags: &[&str]| -> Run {
        let mut command = init_command(flags);
        command.envs(variables.iter().copied());
        pod.ns.run(&mut command)
    };
    let variables = [
        ("NETTING_DRY_RUN", "true"),
        ("NETTING_OUTBOUND_PORT", "7001"),
        ("NETTING_INBOUND_PORT", "7006"),
        ("NETTING_ADMIN_PORT", ""),
        ("NETTING_PROXY_UID", "77"),
        ("NETTING_SKIP_INBOUND_PORTS", "22"),
        ("NETTING_SKIP_OUTBOUND_CIDRS", ""),
        ("NETTING_BACKEND", "legacy"),
    ];
    let plan = run(&variables, &["--proxy-uid=78"]).stdout;
    for words in [
        "# iptables-legacy-restore",
        "--to-ports 7001",
        "--to-ports 7006",
        "--dport 15020",
        "--dport 22",
        "--uid-owner 78",
    ] {
        assert!(plan.contains(words), "{words} is not in {plan}");
    }
    assert!(!pod.tables().contains("NETTING_"));
    let refused = run(&[("NETTING_PROXY_UID", "root")], &[]);
    assert_eq!(refused.code, 2, "{refused:?}");
}
