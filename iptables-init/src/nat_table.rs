//! What a `nat` table holds of Netting's, and the transaction from one such state to another.

#[cfg(test)]
mod tests;

use std::fmt::Write;

/// The chain that the pod's outbound connections go through, reached from `OUTPUT`.
pub const OUTBOUND_CHAIN: &str = "NETTING_OUTBOUND";
/// The chain that the pod's inbound connections go through, reached from `PREROUTING`.
pub const INBOUND_CHAIN: &str = "NETTING_INBOUND";

/// Netting's share of one `nat` table: its chains, their rules, and the jumps that lead there.
///
/// Everything else in the table belongs to somebody else and is only known by
/// `has_foreign_rules`; no transaction names it, so that none can change it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NatTable {
    /// Those of Netting's chains that exist.
    pub chains: Vec<&'static str>,
    /// The rules in these chains, in order.
    pub rules: Vec<Rule>,
    /// The rules in other chains that jump to Netting's, in order within a chain.
    pub jumps: Vec<Jump>,
    /// Whether there are rules or chains that aren't Netting's.
    pub has_foreign_rules: bool,
}

/// A rule in one of Netting's chains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The chain the rule is in.
    pub chain: &'static str,
    /// Matches and target as `iptables-restore` reads them: `-p tcp -j RETURN`.
    pub spec: String,
}

/// A rule in somebody else's chain that leads to one of Netting's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jump {
    /// The chain the rule is in, such as `OUTPUT`.
    pub chain: String,
    /// Its place in that chain, from 1; `None` for the end.
    pub position: Option<usize>,
    /// Matches and target.
    pub spec: String,
}

impl NatTable {
    /// Whether there is nothing of Netting's.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.jumps.is_empty()
    }

    /// Finds Netting's share in the output of `iptables-save -t nat`.
    ///
    /// Lines that this doesn't know are somebody else's.
    pub fn parse(saved: &str) -> Self {
        let mut table = Self::default();
        let mut length_of = std::collections::HashMap::<String, usize>::new();
        for line in saved.lines().map(str::trim) {
            if let Some(declared) = line.strip_prefix(':') {
                let name = declared.split(' ').next().unwrap_or_default();
                match netting_chain(name) {
                    Some(chain) => table.chains.push(chain),
                    // Built-in chains have a policy, everybody's own ones have a dash.
                    None => table.has_foreign_rules |= declared[name.len()..].starts_with(" -"),
                }
            } else if let Some((chain, spec)) =
                line.strip_prefix("-A ").and_then(|r| r.split_once(' '))
            {
                let length = length_of.entry(chain.to_owned()).or_default();
                *length += 1;
                if let Some(chain) = netting_chain(chain) {
                    let spec = spec.to_owned();
                    table.rules.push(Rule { chain, spec });
                } else if leads_to_netting(spec) {
                    table.jumps.push(Jump {
                        chain: chain.to_owned(),
                        position: Some(*length),
                        spec: spec.to_owned(),
                    });
                } else {
                    table.has_foreign_rules = true;
                }
            }
        }
        table
    }

    /// The input for one `iptables-restore --noflush` that turns a table holding `self` into one
    /// holding `wanted`; `None` if both hold nothing.
    ///
    /// With `--noflush` a chain that is declared is created or, if it exists, emptied; all else
    /// stays. The kernel takes a table's changes as one, so that no connection ever meets half of
    /// them. Jumps are taken out by their exact text, never by number: were somebody to insert a
    /// rule in the meantime, a number would hit the wrong one.
    pub fn transaction_to(&self, wanted: &Self) -> Option<String> {
        if self.is_empty() && wanted.is_empty() {
            return None;
        }
        let mut text = String::from("*nat\n");
        for chain in &wanted.chains {
            line(&mut text, format_args!(":{chain} - [0:0]"));
        }
        for jump in &self.jumps {
            line(&mut text, format_args!("-D {} {}", jump.chain, jump.spec));
        }
        for Rule { chain, spec } in &wanted.rules {
            line(&mut text, format_args!("-A {chain} {spec}"));
        }
        for Jump {
            chain,
            position,
            spec,
        } in &wanted.jumps
        {
            match position {
                Some(n) => line(&mut text, format_args!("-I {chain} {n} {spec}")),
                None => line(&mut text, format_args!("-A {chain} {spec}")),
            }
        }
        let gone = |chain: &&&str| !wanted.chains.contains(*chain);
        for chain in self.chains.iter().filter(gone) {
            line(&mut text, format_args!("-F {chain}"));
            line(&mut text, format_args!("-X {chain}"));
        }
        text.push_str("COMMIT\n");
        Some(text)
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a string cannot fail");
}

fn netting_chain(name: &str) -> Option<&'static str> {
    [OUTBOUND_CHAIN, INBOUND_CHAIN]
        .into_iter()
        .find(|chain| *chain == name)
}

/// Whether a rule's target is one of Netting's chains; a comment that mentions one is not.
fn leads_to_netting(spec: &str) -> bool {
    let words = words(spec);
    words.windows(2).any(|pair| {
        matches!(pair[0].as_str(), "-j" | "-g" | "--jump" | "--goto")
            && netting_chain(&pair[1]).is_some()
    })
}

/// Splits a saved rule the way `iptables-restore` does: at spaces, but not within double quotes,
/// with backslashes taking the meaning of what follows away. A quoted word keeps its opening
/// quote, so that it is never taken for an option.
fn words(spec: &str) -> Vec<String> {
    let (mut words, mut word, mut in_quotes) = (Vec::new(), String::new(), false);
    let mut chars = spec.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => word.extend(chars.next()),
            '"' if in_quotes => in_quotes = false,
            '"' => {
                in_quotes = true;
                word.push('"');
            }
            ' ' if !in_quotes => words.push(std::mem::take(&mut word)),
            _ => word.push(c),
        }
    }
    words.push(word);
    words
}
