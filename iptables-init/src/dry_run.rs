use std::fmt::Write;

use crate::iptables::{Backend, Iptables};
use crate::nat_table::NatTable;
use crate::options::Action;
use crate::pod::Capabilities;
use crate::survey::{Survey, Table};
use crate::{Family, Options, rules};

/// What a run with `options` would give to `iptables-restore`, with comments that say to which.
///
/// Where the tables can't be read, for want of privileges or of iptables, it is what a pod
/// without any rules would get.
pub(crate) fn plan(options: &Options) -> String {
    let can_read = Capabilities::of_this_process().net_admin;
    let plans = Family::both(|family| {
        if !can_read {
            let why = "the tables can't be read without the capability NET_ADMIN".to_owned();
            return plan_family(options, family, &[], &[why]);
        }
        let Survey { tables, failures } = Survey::of(family, options.backend);
        let failures: Vec<_> = failures.iter().map(ToString::to_string).collect();
        plan_family(options, family, &tables, &failures)
    });
    plans.concat()
}

fn plan_family(options: &Options, family: Family, seen: &[Table], unseen: &[String]) -> String {
    let mut text = String::new();
    for why in unseen {
        comment(&mut text, why);
    }
    match options.action {
        Action::Cleanup => removals(&mut text, family, seen),
        Action::Apply { .. } | Action::Verify => {
            let (iptables, holds) = match seen.first() {
                Some(table) => (table.iptables, table.holds.clone()),
                None => {
                    comment(&mut text, "this is for a pod that has no rules yet");
                    let backend = options.backend.unwrap_or(Backend::Nft);
                    (Iptables { family, backend }, NatTable::default())
                }
            };
            let transaction = holds.transaction_to(&rules::wanted(options, family));
            comment(&mut text, &iptables.command("restore"));
            text.push_str(&transaction.expect("there are always rules to add"));
        }
    }
    text
}

fn removals(text: &mut String, family: Family, seen: &[Table]) {
    let mut any = false;
    for Table { iptables, holds } in seen {
        if let Some(transaction) = holds.transaction_to(&NatTable::default()) {
            comment(text, &iptables.command("restore"));
            text.push_str(&transaction);
            any = true;
        }
    }
    if seen.is_empty() {
        comment(text, &format!("{family}: can't tell what is to be removed"));
    } else if !any {
        comment(text, &format!("{family}: nothing to remove"));
    }
}

fn comment(text: &mut String, words: &str) {
    writeln!(text, "# {words}").expect("writing to a string cannot fail");
}
