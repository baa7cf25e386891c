//! Options to rules, and the help, held to files. `NETTING_UPDATE_GOLDEN=1` renews them.

use std::path::Path;

use clap::{CommandFactory, Parser};
use netting_golden::assert_golden;
use netting_iptables_init::{Args, Family, Options, render};

#[track_caller]
fn check(file: &str, actual: &str) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    assert_golden(golden.join(file), actual);
}

fn check_rules(name: &str, flags: &[&str]) {
    let program = std::iter::once("netting-iptables-init");
    let args = Args::try_parse_from(program.chain(flags.iter().copied())).expect("flags are right");
    let options = Options::try_from(&args).expect("options are right");
    for family in [Family::V4, Family::V6] {
        let file = format!("{name}.{}.rules", family.as_str());
        check(&file, &render(&options, family));
    }
}

#[test]
fn rules_without_options() {
    check_rules("default", &[]);
}

#[test]
fn rules_for_other_ports_and_another_user() {
    check_rules(
        "ports-and-user",
        &[
            "--outbound-port=1",
            "--inbound-port=65535",
            "--admin-port=9000",
            "--proxy-uid=4294967294",
        ],
    );
}

#[test]
fn rules_that_skip_a_bit_of_everything() {
    check_rules(
        "skips",
        &[
            "--skip-inbound-ports=22,9090-9099",
            "--skip-outbound-ports=3306",
            "--skip-inbound-cidrs=10.1.0.0/16,fd00:1::/64",
            "--skip-outbound-cidrs=169.254.169.254,fd00:ec2::254/128,10.0.0.0/8",
        ],
    );
}

#[test]
fn rules_for_more_ports_than_one_match_takes() {
    let ports: Vec<_> = (0..20).map(|n| (2000 + 10 * n).to_string()).collect();
    let ranges: Vec<_> = (50..70).map(|n| format!("{n}00-{n}10")).collect();
    check_rules(
        "many-ports",
        &[
            &format!("--skip-inbound-ports={}", ports.join(",")),
            &format!("--skip-outbound-ports={},1,2,4,7", ranges.join(",")),
        ],
    );
}

#[test]
fn rules_for_one_family_only() {
    check_rules("ipv4-only-skips", &["--skip-outbound-cidrs=0.0.0.0/0"]);
}

#[test]
fn help() {
    check("help.txt", &Args::command().render_help().to_string());
    check(
        "help-long.txt",
        &Args::command().render_long_help().to_string(),
    );
}
