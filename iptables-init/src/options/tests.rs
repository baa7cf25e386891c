use clap::Parser;

use super::*;

fn args(flags: &[&str]) -> Args {
    let name = std::iter::once("netting-iptables-init");
    Args::try_parse_from(name.chain(flags.iter().copied())).expect("clap takes the flags")
}

fn options(flags: &[&str]) -> Options {
    Options::try_from(&args(flags)).expect("the options are right")
}

fn problems(flags: &[&str]) -> Vec<(&'static str, String)> {
    let Invalid(problems) = Options::try_from(&args(flags)).expect_err("the options are wrong");
    problems.into_iter().map(|p| (p.flag, p.reason)).collect()
}

#[test]
fn reports_all_that_is_wrong_at_once() {
    let found = problems(&[
        "--outbound-port=http",
        "--inbound-port=0",
        "--admin-port=70000",
        "--proxy-uid=-7",
        "--skip-inbound-ports=9-1,x",
        "--skip-outbound-ports=0",
        "--skip-inbound-cidrs=10.0.0.1/8",
        "--skip-outbound-cidrs=nowhere",
        "--backend=ebpf",
        "--dry-run=maybe",
        "--cleanup=-",
        "--no-verify=2",
    ]);
    let flags: Vec<_> = found.iter().map(|(flag, _)| *flag).collect();
    for flag in [
        "--outbound-port",
        "--inbound-port",
        "--admin-port",
        "--proxy-uid",
        "--skip-inbound-ports",
        "--skip-outbound-ports",
        "--skip-inbound-cidrs",
        "--skip-outbound-cidrs",
        "--backend",
        "--dry-run",
        "--cleanup",
        "--no-verify",
    ] {
        assert!(flags.contains(&flag), "{flag} is missing in {found:?}");
    }
    assert_eq!(found.len(), 13, "one for each wrong item: {found:?}");
}

#[test]
fn refuses_listening_ports_that_are_the_same() {
    let same = problems(&["--outbound-port=15006"]);
    let reason = "port 15006 is already the one of --outbound-port".to_owned();
    assert_eq!(same, [("--inbound-port", reason)]);
    let all_same = ["--outbound-port=1", "--inbound-port=1", "--admin-port=1"];
    assert_eq!(problems(&all_same).len(), 2);
}

#[test]
fn refuses_user_ids_that_would_exempt_the_wrong_processes() {
    for uid in ["0", "-1", "+1", "4294967295", "4294967296", "root", "1.5"] {
        let flag = format!("--proxy-uid={uid}");
        assert_eq!(problems(&[&flag])[0].0, "--proxy-uid", "{uid}");
    }
    assert_eq!(
        options(&["--proxy-uid=4294967294"]).proxy_uid,
        4_294_967_294
    );
}

#[test]
fn refuses_to_clean_up_and_verify_in_one_run() {
    assert_eq!(problems(&["--cleanup", "verify"])[0].0, "--cleanup");
}

#[test]
fn shows_a_long_wrong_value_cut_short() {
    let flag = format!("--outbound-port={}", "9".repeat(10_000));
    let reason = &problems(&[&flag])[0].1;
    assert!(reason.len() < 200, "{reason}");
}

#[test]
fn takes_an_empty_value_as_not_given() {
    let empty = options(&[
        "--outbound-port=",
        "--inbound-port= ",
        "--admin-port=",
        "--proxy-uid=",
        "--skip-inbound-ports=",
        "--skip-outbound-ports= ",
        "--skip-inbound-cidrs=",
        "--skip-outbound-cidrs=,",
        "--backend=",
        "--dry-run=",
        "--cleanup=",
        "--no-verify=",
    ]);
    assert_eq!(format!("{empty:?}"), format!("{:?}", options(&[])));
}

#[test]
fn chooses_one_action() {
    let apply = |then_verify| Action::Apply { then_verify };
    assert_eq!(options(&[]).action, apply(true));
    assert_eq!(options(&["--no-verify"]).action, apply(false));
    assert_eq!(options(&["--no-verify=off"]).action, apply(true));
    assert_eq!(options(&["--cleanup"]).action, Action::Cleanup);
    assert_eq!(options(&["verify"]).action, Action::Verify);
    assert!(options(&["--cleanup", "--dry-run"]).dry_run);
}

#[test]
fn takes_flags_before_and_after_the_subcommand() {
    assert_eq!(options(&["verify", "--outbound-port=7"]).outbound_port, 7);
    assert_eq!(options(&["--outbound-port=7", "verify"]).outbound_port, 7);
}
