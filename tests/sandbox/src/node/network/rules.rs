//! The rules that are there as long as the agent is, and how all of them are removed.

use ipnet::IpNet;

/// Every chain of the agent's begins with this.
const CHAIN_PREFIX: &str = "NETTING-SANDBOX-";

/// Where Service addresses are translated (table nat).
pub(crate) const SERVICES_CHAIN: &str = "NETTING-SANDBOX-SERVICES";

/// Where Service ports without endpoints are refused (table filter).
pub(crate) const REFUSE_CHAIN: &str = "NETTING-SANDBOX-REFUSE";

/// Where the sources of pods that reach themselves through a Service are translated (table nat).
pub(crate) const HAIRPIN_CHAIN: &str = "NETTING-SANDBOX-HAIRPIN";

/// The two families have commands of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) fn restore_command(self) -> &'static str {
        match self {
            Self::V4 => "iptables-restore",
            Self::V6 => "ip6tables-restore",
        }
    }

    pub(crate) fn save_command(self) -> &'static str {
        match self {
            Self::V4 => "iptables-save",
            Self::V6 => "ip6tables-save",
        }
    }
}

/// The chains that Services are filled into, the jumps to them, and what lets the pods of `pods`
/// reach each other and the world on a machine that forwards nothing else.
pub(crate) fn base(pods: IpNet) -> String {
    format!(
        "*nat
:{SERVICES_CHAIN} - [0:0]
:{HAIRPIN_CHAIN} - [0:0]
:NETTING-SANDBOX-MASQUERADE - [0:0]
-A PREROUTING -m comment --comment \"netting-sandbox: service addresses\" -j {SERVICES_CHAIN}
-A OUTPUT -m comment --comment \"netting-sandbox: service addresses\" -j {SERVICES_CHAIN}
-A POSTROUTING -m comment --comment \"netting-sandbox: pods reaching themselves\" -j {HAIRPIN_CHAIN}
-A POSTROUTING -m comment --comment \"netting-sandbox: pods reaching the world\" -j NETTING-SANDBOX-MASQUERADE
-A NETTING-SANDBOX-MASQUERADE -s {pods} ! -d {pods} -j MASQUERADE
COMMIT
*filter
:{REFUSE_CHAIN} - [0:0]
:NETTING-SANDBOX-FORWARD - [0:0]
-I FORWARD -m comment --comment \"netting-sandbox: pod traffic\" -j NETTING-SANDBOX-FORWARD
-I FORWARD -m conntrack --ctstate NEW -m comment --comment \"netting-sandbox: no endpoints\" -j {REFUSE_CHAIN}
-I OUTPUT -m conntrack --ctstate NEW -m comment --comment \"netting-sandbox: no endpoints\" -j {REFUSE_CHAIN}
-A NETTING-SANDBOX-FORWARD -s {pods} -j ACCEPT
-A NETTING-SANDBOX-FORWARD -d {pods} -j ACCEPT
COMMIT
"
    )
}

/// The transaction that removes the agent's chains, and the jumps to them, from what
/// `iptables-save` printed. Empty if there are none.
pub(crate) fn removal(saved: &str) -> String {
    let mut text = String::new();
    for table in saved.split_inclusive("COMMIT\n") {
        let lines = || table.lines().map(str::trim);
        let Some(name) = lines().find(|line| line.starts_with('*')) else {
            continue;
        };
        let chains: Vec<&str> = lines()
            .filter_map(|line| line.strip_prefix(':')?.split(' ').next())
            .filter(|chain| chain.starts_with(CHAIN_PREFIX))
            .collect();
        if chains.is_empty() {
            continue;
        }
        text.push_str(&format!("{name}\n"));
        for chain in &chains {
            text.push_str(&format!(":{chain} - [0:0]\n"));
        }
        let jump = format!("-j {CHAIN_PREFIX}");
        for rule in lines().filter_map(|line| line.strip_prefix("-A ")) {
            if rule.contains(&jump) && !rule.starts_with(CHAIN_PREFIX) {
                text.push_str(&format!("-D {rule}\n"));
            }
        }
        for chain in &chains {
            text.push_str(&format!("-X {chain}\n"));
        }
        text.push_str("COMMIT\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_nothing_where_there_is_nothing_of_ours() {
        let saved = "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j OTHER\nCOMMIT\n";
        assert_eq!(removal(saved), "");
    }

    #[test]
    fn removes_own_chains_and_the_jumps_of_others_to_them() {
        let saved = "# a comment\n*nat\n:PREROUTING ACCEPT [0:0]\n:OTHER - [0:0]\n\
                     :NETTING-SANDBOX-SERVICES - [0:0]\n:NETTING-SANDBOX-AB - [0:0]\n\
                     -A PREROUTING -j OTHER\n-A PREROUTING -j NETTING-SANDBOX-SERVICES\n\
                     -A NETTING-SANDBOX-SERVICES -j NETTING-SANDBOX-AB\nCOMMIT\n\
                     *filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n";
        assert_eq!(
            removal(saved),
            "*nat\n:NETTING-SANDBOX-SERVICES - [0:0]\n:NETTING-SANDBOX-AB - [0:0]\n\
             -D PREROUTING -j NETTING-SANDBOX-SERVICES\n\
             -X NETTING-SANDBOX-SERVICES\n-X NETTING-SANDBOX-AB\nCOMMIT\n"
        );
    }
}
