use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::*;
use crate::Family;

const NFT: Iptables = Iptables {
    family: Family::V4,
    backend: Backend::Nft,
};
const LEGACY_V6: Iptables = Iptables {
    family: Family::V6,
    backend: Backend::Legacy,
};

fn failure(iptables: Iptables, stderr: &str, input: &str) -> Failure {
    let output = Output {
        status: ExitStatus::from_raw(4 << 8),
        stdout: Vec::new(),
        stderr: stderr.as_bytes().to_vec(),
    };
    Failure::of_exit(iptables, &iptables.command("restore"), &output, input)
}

#[test]
fn knows_what_iptables_means_by_its_words() {
    let cases = [
        (
            "iptables-nft-restore v1.8.9 (nf_tables): Could not fetch rule set generation id: \
             Permission denied (you must be root)\n",
            Cause::NotPermitted,
        ),
        (
            "iptables-save v1.8.9 (legacy): Cannot initialize: Permission denied (you must be \
             root)\n",
            Cause::NotPermitted,
        ),
        (
            "iptables-nft-restore v1.8.9 (nf_tables): Could not fetch rule set generation id: \
             Invalid argument\n",
            Cause::NoNatTable,
        ),
        (
            "iptables-nft-restore/nf_tables Failed to initialize nft: Protocol not supported\n",
            Cause::NoNatTable,
        ),
        (
            "iptables-nft-restore v1.8.9 (nf_tables): \n\
             line 17: CHAIN_ADD failed (No such file or directory): chain OUTPUT\n",
            Cause::NoNatTable,
        ),
        (
            "iptables-nft-restore v1.8.9 (nf_tables): \n\
             line 4: CHAIN_ADD failed (Operation not supported): chain OUTPUT\n",
            Cause::IncompatibleTable,
        ),
        (
            "iptables-restore v1.8.9 (legacy): iptables-restore: unable to initialize table \
             'nat'\nError occurred at line: 1\nTry `iptables-restore -h' or 'iptables-restore \
             --help' for more information.\n",
            Cause::NoNatTable,
        ),
        (
            "iptables-save v1.8.9 (legacy): Cannot initialize: Table does not exist (do you \
             need to insmod?)\n",
            Cause::NoNatTable,
        ),
        (
            "Warning: Extension owner revision 0 not supported, missing kernel module?\n\
             iptables-restore: line 4 failed\n",
            Cause::NoExtension("owner".to_owned()),
        ),
        (
            "iptables-restore v1.8.9 (legacy): Couldn't load match `multiport':No such file or \
             directory\n\nError occurred at line: 2\n",
            Cause::NoExtension("multiport".to_owned()),
        ),
        (
            "Can't lock /run/xtables.lock: Resource temporarily unavailable\nAnother app is \
             currently holding the xtables lock. Stopped waiting after 5s.\n",
            Cause::Locked,
        ),
        (
            "Fatal: can't open lock file /run/xtables.lock: Read-only file system\n",
            Cause::LockFile,
        ),
        (
            "Fatal: can't open lock file /run/xtables.lock: Permission denied\n",
            Cause::LockFile,
        ),
        ("iptables-restore: line 5 failed\n", Cause::Unknown),
        ("", Cause::Unknown),
    ];
    for (stderr, cause) in cases {
        assert_eq!(classify(stderr), cause, "{stderr}");
    }
}

#[test]
fn says_which_module_to_load_for_which_backend_and_family() {
    let no_table = "Could not fetch rule set generation id: Invalid argument\n";
    let nft = failure(NFT, no_table, "").remedy();
    assert!(nft.contains("modprobe -a nft_chain_nat"), "{nft}");
    let no_table = "Cannot initialize: Table does not exist (do you need to insmod?)\n";
    let legacy = failure(LEGACY_V6, no_table, "").remedy();
    assert!(legacy.contains("modprobe -a ip6table_nat"), "{legacy}");
}

#[test]
fn shows_the_rule_at_fault() {
    let input = "*nat\n:A - [0:0]\n-A A -j NOWHERE\nCOMMIT\n";
    for stderr in [
        "iptables-restore: line 3 failed\n",
        "iptables-restore v1.8.9 (legacy): Couldn't load target `NOWHERE'\n\nError occurred at \
         line: 3\nTry `iptables-restore -h' for more information.\n",
    ] {
        let text = failure(NFT, stderr, input).to_string();
        assert!(text.contains("[-A A -j NOWHERE]"), "{text}");
    }
}

#[test]
fn survives_words_that_make_no_sense() {
    for stderr in [
        "line 0",
        "line 99999999999999999999999",
        "line ",
        "Extension ",
        "🦀\n\n",
    ] {
        let text = failure(NFT, stderr, "*nat\n").to_string();
        assert!(!text.contains('\n'), "{text}");
    }
    let silent = failure(NFT, "", "").to_string();
    assert!(silent.contains("exit status: 4"), "{silent}");
    let endless = failure(NFT, &"x".repeat(1 << 20), "").to_string();
    assert!(endless.len() < 1000);
}

#[test]
fn a_missing_command_is_told_from_one_that_does_not_run() {
    let missing = io::Error::from(io::ErrorKind::NotFound);
    let denied = io::Error::from(io::ErrorKind::PermissionDenied);
    let cause = |error| Failure::of_start(NFT, "iptables-nft-save", error).cause;
    assert_eq!(cause(&missing), Cause::NoBinary);
    assert_eq!(cause(&denied), Cause::Unknown);
}
