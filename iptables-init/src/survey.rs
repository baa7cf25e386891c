use std::cmp::Reverse;

use crate::Family;
use crate::iptables::{Backend, Failure, Iptables};
use crate::nat_table::NatTable;

/// What the backends hold for one family, the one to be used first in front.
pub(crate) struct Survey {
    pub(crate) tables: Vec<Table>,
    pub(crate) failures: Vec<Failure>,
}

/// A table that could be read.
pub(crate) struct Table {
    pub(crate) iptables: Iptables,
    pub(crate) holds: NatTable,
}

impl Survey {
    /// Reads the tables of every backend, or of one.
    ///
    /// A backend that can be read may still be unable to write (a kernel with nf_tables but
    /// without its nat chains), so this only says in which order to try.
    pub(crate) fn of(family: Family, backend: Option<Backend>) -> Self {
        let (mut tables, mut failures) = (Vec::new(), Vec::new());
        let wanted = |b: &Backend| backend.is_none_or(|only| only == *b);
        for backend in Backend::ALL.into_iter().filter(wanted) {
            let iptables = Iptables { family, backend };
            match iptables.read() {
                Ok(holds) => tables.push(Table { iptables, holds }),
                Err(failure) => failures.push(failure),
            }
        }
        tables.sort_by_key(|table| Reverse(preference(&table.holds)));
        Self { tables, failures }
    }
}

/// How much speaks for the backend that holds a table.
///
/// Its own earlier rules do most, then somebody else's: the kernel asks both backends about each
/// new connection, the one that was set up first before the other, and the first answer counts.
/// Where a CNI plugin or another init container has programmed legacy tables, rules in nf_tables
/// might never be reached.
fn preference(holds: &NatTable) -> (bool, bool) {
    (!holds.is_empty(), holds.has_foreign_rules)
}
