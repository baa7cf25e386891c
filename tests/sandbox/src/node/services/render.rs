//! The rules for a set of translations, as `iptables-restore` reads them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::translation::Translation;
use crate::node::network::{Family, HAIRPIN_CHAIN, REFUSE_CHAIN, SERVICES_CHAIN};

/// Renders one family's translations: what the chains hold from then on.
pub(super) fn render(translations: &[Translation], family: Family) -> String {
    let (mut rules, mut refused) = (String::new(), String::new());
    let (mut endpoints, mut addrs) = (BTreeSet::new(), BTreeSet::new());
    for Translation {
        addr,
        protocol,
        name,
        targets,
    } in translations
    {
        if addr.is_ipv4() != (family == Family::V4) {
            continue;
        }
        addrs.insert(addr.ip());
        for (index, target) in targets.iter().enumerate() {
            let _ = writeln!(
                rules,
                "-A {SERVICES_CHAIN} -d {} -p {protocol} -m {protocol} --dport {}{} \
                 -m comment --comment \"{name}\" -j DNAT --to-destination {target}",
                addr.ip(),
                addr.port(),
                chance(targets.len() - index),
            );
            endpoints.insert(target.ip());
        }
    }
    // A packet from a pod to itself can only be here because a Service address led back to it, and
    // the pod would drop its own source address coming in.
    for addr in endpoints {
        let _ = writeln!(
            rules,
            "-A {HAIRPIN_CHAIN} -s {addr} -d {addr} -j MASQUERADE"
        );
    }
    // What still goes to a Service address here was translated by no rule above. A reset says the
    // same to a client as the ICMP error would, and the kernel doesn't limit how many it sends.
    for addr in addrs {
        let _ = writeln!(
            refused,
            "-A {REFUSE_CHAIN} -d {addr} -p tcp -j REJECT --reject-with tcp-reset\n\
             -A {REFUSE_CHAIN} -d {addr} -j REJECT"
        );
    }
    // Naming a chain empties it.
    format!(
        "*nat\n:{SERVICES_CHAIN} - [0:0]\n:{HAIRPIN_CHAIN} - [0:0]\n{rules}COMMIT\n\
         *filter\n:{REFUSE_CHAIN} - [0:0]\n{refused}COMMIT\n"
    )
}

/// The first of n rules takes one in n, the next one in n - 1 of the rest, the last what is left.
fn chance(candidates: usize) -> String {
    if candidates == 1 {
        return String::new();
    }
    #[allow(
        clippy::cast_precision_loss,
        reason = "a Service has far fewer than 2^52 endpoints"
    )]
    let probability = 1.0 / candidates as f64;
    format!(" -m statistic --mode random --probability {probability:.10}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translation(addr: &str, targets: &[&str]) -> Translation {
        let targets = targets.iter().map(|addr| addr.parse().expect("an address"));
        Translation {
            addr: addr.parse().expect("an address"),
            protocol: "tcp",
            name: "shop/web:80".to_owned(),
            targets: targets.collect(),
        }
    }

    #[test]
    fn what_has_no_endpoints_is_refused() {
        let refused = [translation("10.96.0.7:80", &[])];
        let expected = "*nat\n:NETTING-SANDBOX-SERVICES - [0:0]\n:NETTING-SANDBOX-HAIRPIN - [0:0]\nCOMMIT\n\
            *filter\n:NETTING-SANDBOX-REFUSE - [0:0]\n\
            -A NETTING-SANDBOX-REFUSE -d 10.96.0.7 -p tcp -j REJECT --reject-with tcp-reset\n\
            -A NETTING-SANDBOX-REFUSE -d 10.96.0.7 -j REJECT\nCOMMIT\n";
        assert_eq!(render(&refused, Family::V4), expected);
        assert!(!render(&refused, Family::V6).contains("10.96.0.7"));
    }

    #[test]
    fn endpoints_get_an_equal_share_of_the_connections_each() {
        let three = translation(
            "[fd00::1]:80",
            &["[fd00::5]:81", "[fd00::6]:81", "[fd00::7]:81"],
        );
        let rendered = render(&[three], Family::V6);
        let rule = |chance: &str, to: &str| {
            format!(
                "-A NETTING-SANDBOX-SERVICES -d fd00::1 -p tcp -m tcp --dport 80{chance} \
                 -m comment --comment \"shop/web:80\" -j DNAT --to-destination [{to}]:81\n"
            )
        };
        let random = " -m statistic --mode random --probability";
        let expected = rule(&format!("{random} 0.3333333333"), "fd00::5")
            + &rule(&format!("{random} 0.5000000000"), "fd00::6")
            + &rule("", "fd00::7")
            + "-A NETTING-SANDBOX-HAIRPIN -s fd00::5 -d fd00::5 -j MASQUERADE\n";
        assert!(rendered.contains(&expected), "{rendered}");
    }
}
