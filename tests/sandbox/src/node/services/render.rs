//! The rules for a set of translations, as `iptables-restore` reads them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;

use super::translation::{Outcome, Translation};
use crate::node::network::{CHAIN_PREFIX, Family, HAIRPIN_CHAIN, REFUSE_CHAIN, SERVICES_CHAIN};

/// The rules of one family.
#[derive(Debug)]
pub(super) struct Rendered {
    /// Everything but the removal of chains that are not used any more.
    pub(super) text: String,
    /// The chains it makes, in table nat.
    pub(super) chains: BTreeSet<String>,
}

impl Rendered {
    /// `stale` chains must be emptied before, and removed after, the last rule that names them.
    pub(super) fn with_removal_of(&self, stale: &BTreeSet<String>) -> String {
        let mut text = String::from("*nat\n");
        for chain in stale {
            let _ = writeln!(text, ":{chain} - [0:0]");
        }
        let rest = self.text.strip_prefix("*nat\n").unwrap_or(&self.text);
        let (nat, filter) = rest.split_once("COMMIT\n").unwrap_or((rest, ""));
        text.push_str(nat);
        for chain in stale {
            let _ = writeln!(text, "-X {chain}");
        }
        text.push_str("COMMIT\n");
        text.push_str(filter);
        text
    }
}

/// Renders one family's translations.
pub(super) fn render(translations: &[Translation], family: Family) -> Rendered {
    let mut declared = String::new();
    let mut rules = String::new();
    let mut refused = String::new();
    let mut chains = BTreeSet::new();
    let mut endpoints = BTreeSet::new();
    let mut addrs = BTreeSet::new();
    let of_family = translations
        .iter()
        .filter(|t| t.addr.is_ipv4() == (family == Family::V4));
    for translation in of_family {
        let Translation {
            addr,
            protocol,
            name,
            outcome,
        } = translation;
        let (ip, port) = (addr.ip(), addr.port());
        addrs.insert(ip);
        let matching = format!(
            "-d {ip} -p {protocol} -m {protocol} --dport {port} -m comment --comment \"{name}\""
        );
        match outcome {
            Outcome::Refuse => (),
            Outcome::Drop => {
                let _ = writeln!(refused, "-A {REFUSE_CHAIN} {matching} -j DROP");
            }
            Outcome::Endpoints(targets) => {
                let chain = chain_name(translation);
                let _ = writeln!(declared, ":{chain} - [0:0]");
                let _ = writeln!(rules, "-A {SERVICES_CHAIN} {matching} -j {chain}");
                for (index, endpoint) in targets.iter().enumerate() {
                    let chance = chance(targets.len() - index);
                    let _ = writeln!(
                        rules,
                        "-A {chain} -p {protocol}{chance} -j DNAT --to-destination {endpoint}"
                    );
                    endpoints.insert(endpoint.ip());
                }
                chains.insert(chain);
            }
        }
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
    let hairpin = hairpin(&endpoints);
    let text = format!(
        "*nat\n:{SERVICES_CHAIN} - [0:0]\n:{HAIRPIN_CHAIN} - [0:0]\n{declared}{rules}{hairpin}COMMIT\n\
         *filter\n:{REFUSE_CHAIN} - [0:0]\n{refused}COMMIT\n"
    );
    Rendered { text, chains }
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

/// A packet from a pod to itself can only be here because a Service address led back to it, and
/// the pod would drop its own source address coming in.
fn hairpin(endpoints: &BTreeSet<IpAddr>) -> String {
    endpoints
        .iter()
        .map(|addr| format!("-A {HAIRPIN_CHAIN} -s {addr} -d {addr} -j MASQUERADE\n"))
        .collect()
}

/// A chain's name has 28 characters at most.
fn chain_name(translation: &Translation) -> String {
    let mut hasher = DefaultHasher::new();
    (translation.addr, translation.protocol, &translation.name).hash(&mut hasher);
    format!("{CHAIN_PREFIX}{:012X}", hasher.finish() & 0xffff_ffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translation(addr: &str, outcome: Outcome) -> Translation {
        let addr = addr.parse().expect("an address");
        Translation {
            addr,
            protocol: "tcp",
            name: "shop/web:80".to_owned(),
            outcome,
        }
    }

    fn endpoints(list: &[&str]) -> Outcome {
        Outcome::Endpoints(
            list.iter()
                .map(|addr| addr.parse().expect("an address"))
                .collect(),
        )
    }

    #[test]
    fn nothing_empties_the_chains() {
        assert_eq!(
            render(&[], Family::V4).text,
            "*nat\n:NETTING-SANDBOX-SERVICES - [0:0]\n:NETTING-SANDBOX-HAIRPIN - [0:0]\nCOMMIT\n\
             *filter\n:NETTING-SANDBOX-REFUSE - [0:0]\nCOMMIT\n"
        );
    }

    #[test]
    fn what_is_not_translated_is_refused_once_for_each_address_or_dropped() {
        let refused = [
            translation("10.96.0.7:80", Outcome::Refuse),
            translation("10.96.0.7:81", Outcome::Drop),
            translation("10.96.0.7:82", endpoints(&["10.244.0.5:82"])),
        ];
        assert!(render(&refused, Family::V4).text.ends_with(
            ":NETTING-SANDBOX-REFUSE - [0:0]\n\
             -A NETTING-SANDBOX-REFUSE -d 10.96.0.7 -p tcp -m tcp --dport 81 \
             -m comment --comment \"shop/web:80\" -j DROP\n\
             -A NETTING-SANDBOX-REFUSE -d 10.96.0.7 -p tcp -j REJECT --reject-with tcp-reset\n\
             -A NETTING-SANDBOX-REFUSE -d 10.96.0.7 -j REJECT\nCOMMIT\n"
        ));
        assert!(!render(&refused, Family::V6).text.contains("10.96.0.7"));
    }

    #[test]
    fn three_endpoints_get_a_third_of_the_connections_each() {
        let three = endpoints(&["[fd00::5]:81", "[fd00::6]:81", "[fd00::7]:81"]);
        let rendered = render(&[translation("[fd00::1]:80", three)], Family::V6);
        let chain = rendered.chains.first().expect("a chain");
        assert_eq!(chain.len(), 28);
        let expected = format!(
            "-A {chain} -p tcp -m statistic --mode random --probability 0.3333333333 -j DNAT --to-destination [fd00::5]:81\n\
             -A {chain} -p tcp -m statistic --mode random --probability 0.5000000000 -j DNAT --to-destination [fd00::6]:81\n\
             -A {chain} -p tcp -j DNAT --to-destination [fd00::7]:81\n\
             -A NETTING-SANDBOX-HAIRPIN -s fd00::5 -d fd00::5 -j MASQUERADE\n"
        );
        assert!(rendered.text.contains(&expected), "{}", rendered.text);
    }

    #[test]
    fn stale_chains_go_in_the_transaction_that_stops_using_them() {
        let stale = BTreeSet::from(["NETTING-SANDBOX-0123456789AB".to_owned()]);
        assert_eq!(
            render(&[], Family::V4).with_removal_of(&stale),
            "*nat\n:NETTING-SANDBOX-0123456789AB - [0:0]\n:NETTING-SANDBOX-SERVICES - [0:0]\n\
             :NETTING-SANDBOX-HAIRPIN - [0:0]\n-X NETTING-SANDBOX-0123456789AB\nCOMMIT\n\
             *filter\n:NETTING-SANDBOX-REFUSE - [0:0]\nCOMMIT\n"
        );
    }
}
