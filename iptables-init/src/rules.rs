use crate::nat_table::{INBOUND_CHAIN, Jump, NatTable, OUTBOUND_CHAIN, Rule};
use crate::options::{PortRange, PortSet};
use crate::{Family, Options};

/// How many ports one multiport match takes; a range counts as two (`iptables-extensions(8)`).
const MULTIPORT_PORTS_MAX: usize = 15;

/// The rules for one family, as `iptables-restore --noflush` reads them, for a `nat` table that
/// holds nothing of Netting's yet.
///
/// Only the first packet of a connection goes through `nat`, so applying or removing the rules
/// changes nothing for connections that are already there.
///
/// Where a redirected connection arrives is for the sidecar to know: the kernel sends an outbound
/// one, made in the pod itself, to 127.0.0.1 or ::1, but an inbound one to the first address of
/// the interface it came in by (`nf_nat_redirect.c`). The sidecar therefore listens on 0.0.0.0
/// and \[::\], and asks `SO_ORIGINAL_DST` where the connection was meant to go.
pub fn render(options: &Options, family: Family) -> String {
    NatTable::default()
        .transaction_to(&wanted(options, family))
        .expect("there are always rules to add")
}

/// Netting's share of the `nat` table once the rules for `options` are in place.
///
/// The jump goes first in `OUTPUT`: whatever Netting lets through, the sidecar's own connections
/// among it, still meets the rules that others have there, such as a DNAT to a local DNS cache.
/// It goes last in `PREROUTING`: a connection that the sidecar makes to the application never
/// passes `PREROUTING`, so a DNAT that others have there (port 80 to 8080) would be lost if
/// Netting took the connection first.
pub(crate) fn wanted(options: &Options, family: Family) -> NatTable {
    let rules = |chain, specs: Vec<String>| specs.into_iter().map(move |spec| Rule { chain, spec });
    NatTable {
        chains: vec![OUTBOUND_CHAIN, INBOUND_CHAIN],
        rules: rules(OUTBOUND_CHAIN, outbound(options, family))
            .chain(rules(INBOUND_CHAIN, inbound(options, family)))
            .collect(),
        jumps: vec![
            Jump {
                chain: "OUTPUT".to_owned(),
                position: Some(1),
                spec: rule("-p tcp", "outbound connections", OUTBOUND_CHAIN),
            },
            Jump {
                chain: "PREROUTING".to_owned(),
                position: None,
                spec: rule("-p tcp", "inbound connections", INBOUND_CHAIN),
            },
        ],
        has_foreign_rules: false,
    }
}

/// What happens to a connection made in the pod. The first rule that matches decides.
///
/// A connection to the pod's own address is redirected like any other. When the sidecar then
/// makes it, it comes in by the loopback interface with its fate already decided here in `OUTPUT`,
/// so that the inbound rules don't see it again.
fn outbound(options: &Options, family: Family) -> Vec<String> {
    let mut specs = vec![
        rule(
            &format!("-m owner --uid-owner {}", options.proxy_uid),
            "made by the sidecar",
            "RETURN",
        ),
        rule(
            &format!("-d {}", loopback(family)),
            "stays in the pod",
            "RETURN",
        ),
    ];
    for net in options.skip_outbound_cidrs.of(family) {
        specs.push(rule(&format!("-d {net}"), "skipped destination", "RETURN"));
    }
    specs.extend(skip_ports(
        &options.skip_outbound_ports,
        "skipped outbound port",
    ));
    specs.push(redirect(options.outbound_port));
    specs
}

/// What happens to a connection from outside the pod. The first rule that matches decides.
fn inbound(options: &Options, family: Family) -> Vec<String> {
    let mut specs = vec![rule(
        &format!("-p tcp -m tcp --dport {}", options.admin_port),
        "for the sidecar itself",
        "RETURN",
    )];
    specs.extend(skip_ports(
        &options.skip_inbound_ports,
        "skipped inbound port",
    ));
    for net in options.skip_inbound_cidrs.of(family) {
        specs.push(rule(&format!("-s {net}"), "skipped client", "RETURN"));
    }
    specs.push(redirect(options.inbound_port));
    specs
}

fn rule(matches: &str, comment: &str, target: &str) -> String {
    format!("{matches} -m comment --comment \"netting: {comment}\" -j {target}")
}

fn redirect(port: u16) -> String {
    let target = format!("REDIRECT --to-ports {port}");
    rule("-p tcp", "to the sidecar", &target)
}

const fn loopback(family: Family) -> &'static str {
    match family {
        Family::V4 => "127.0.0.0/8",
        Family::V6 => "::1/128",
    }
}

/// One rule for as many ports as a multiport match takes; a single range needs no multiport.
fn skip_ports(ports: &PortSet, comment: &str) -> Vec<String> {
    let mut groups: Vec<Vec<PortRange>> = Vec::new();
    let mut room = 0;
    for range in ports.ranges() {
        let cost = if range.first == range.last { 1 } else { 2 };
        match groups.last_mut() {
            Some(group) if cost <= room => group.push(*range),
            _ => {
                groups.push(vec![*range]);
                room = MULTIPORT_PORTS_MAX;
            }
        }
        room -= cost;
    }
    let matches = |group: &Vec<PortRange>| match group.as_slice() {
        [single] => format!("-p tcp -m tcp --dport {}", in_iptables_notation(single)),
        several => {
            let list: Vec<_> = several.iter().map(in_iptables_notation).collect();
            format!("-p tcp -m multiport --dports {}", list.join(","))
        }
    };
    groups
        .iter()
        .map(|group| rule(&matches(group), comment, "RETURN"))
        .collect()
}

fn in_iptables_notation(range: &PortRange) -> String {
    if range.first == range.last {
        range.first.to_string()
    } else {
        format!("{}:{}", range.first, range.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skipping(list: &str) -> Vec<String> {
        let ports = PortSet::parse(list).expect("the list is right");
        skip_ports(&ports, "test")
    }

    fn dports(rule: &str) -> &str {
        let mut words = rule.split(' ').skip_while(|word| *word != "--dports");
        words.nth(1).expect("the rule has a multiport match")
    }

    #[test]
    fn no_rule_for_no_ports() {
        assert!(skipping("").is_empty());
    }

    #[test]
    fn fifteen_single_ports_fit_one_rule_and_sixteen_do_not() {
        let odd = |count: u32| {
            let list: Vec<_> = (0..count).map(|n| (2 * n + 1).to_string()).collect();
            skipping(&list.join(",")).len()
        };
        assert_eq!((odd(15), odd(16), odd(30), odd(31)), (1, 2, 2, 3));
    }

    #[test]
    fn a_range_counts_as_two_ports() {
        let ranges = |count: u32| {
            let list: Vec<_> = (1..=count)
                .map(|n| format!("{}-{}", n * 10, n * 10 + 5))
                .collect();
            skipping(&list.join(","))
        };
        assert_eq!(ranges(7).len(), 1);
        let eight = ranges(8);
        assert_eq!(dports(&eight[0]).split(',').count(), 7);
        assert!(eight[1].contains("-m tcp --dport 80:85 "), "{eight:?}");
    }
}
