//! Puts the rules in place or takes them out, in both families or none, through whichever backend
//! works.

use std::fmt;
use std::net::IpAddr;

use crate::iptables::{Cause, Failure, Iptables};
use crate::nat_table::NatTable;
use crate::pod::{Capabilities, Pod};
use crate::survey::{Survey, Table};
use crate::{Family, Options, rules};

/// What came of one family.
#[derive(Debug)]
pub enum Outcome {
    /// Its table is as it should be.
    Done(Iptables),
    /// There was nothing of Netting's to remove.
    NothingThere(Family),
    /// It can't be programmed, which doesn't matter: the pod has no address of this family.
    NotNeeded(Unavailable),
}

/// Why the rules are not in place, or not gone.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Found out before anything is tried, as the answers of iptables to it are many.
    #[error(
        "this process lacks the capability NET_ADMIN, without which no rule can be changed; add \
         NET_ADMIN and NET_RAW to securityContext.capabilities of the init container, and let \
         the Pod Security level of the namespace (or the cluster's own policy) allow them"
    )]
    NoNetAdmin,
    /// Nothing was changed.
    #[error("{0}; nothing was changed")]
    Unavailable(Unavailable),
    /// One family was applied and taken back, since the other could not be.
    #[error("{failed}; the {restored} rules were put back as they were")]
    RolledBack {
        /// The family that could not be applied.
        failed: Unavailable,
        /// The family that had been.
        restored: Family,
    },
    /// One family is applied, the other isn't.
    #[error("{failed}; the {} rules stayed, as putting them back failed too: {rollback}; run --cleanup",
        rollback.iptables.family)]
    HalfApplied {
        /// The family that could not be applied.
        failed: Unavailable,
        /// Why the other could not be taken back.
        rollback: Box<Failure>,
    },
    /// The rules are in place, but older ones of Netting's are as well.
    #[error("the rules of an earlier run are still there in the other backend: {}; {}", .0, .0.remedy())]
    Leftover(Failure),
    /// Some of Netting's rules are still there.
    #[error("the rules could not be removed: {}; {}", .0, .0.remedy())]
    NotRemoved(Failure),
}

/// No backend works for this family.
#[derive(Debug, Clone)]
pub struct Unavailable {
    /// The family.
    pub family: Family,
    /// An address of the pod that needs it.
    pub needed_by: Option<IpAddr>,
    /// Why, for each backend that was tried.
    pub failures: Vec<Failure>,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = self.family;
        write!(f, "no iptables backend works for {family}")?;
        if let Some(addr) = self.needed_by {
            write!(f, ", in which the pod has the address {addr}")?;
        }
        for (i, failure) in self.failures.iter().enumerate() {
            write!(f, "{} {failure}", if i == 0 { ":" } else { " |" })?;
            let remedy = failure.remedy();
            // Backends that fail alike are mended alike.
            if self.failures.get(i + 1).map(Failure::remedy) != Some(remedy.clone()) {
                write!(f, "; {remedy}")?;
            }
        }
        Ok(())
    }
}

/// Puts the rules for `options` in place, whatever was there of Netting's before.
///
/// Both families or none: if one can't be programmed, the other is put back as it was, unless
/// the pod has no IPv6 address and it is IPv6 that can't.
///
/// # Errors
/// See [`Error`].
pub fn apply(options: &Options, pod: &Pod) -> Result<[Outcome; 2], Error> {
    require_net_admin()?;
    let unavailable = |family, failures| Unavailable {
        family,
        needed_by: pod.address(family),
        failures,
    };
    let [v4, v6] = Family::both(|family| {
        apply_family(options, family).map_err(|failures| unavailable(family, failures))
    });
    match (v4, v6) {
        (Ok(v4), Ok(v6)) => {
            v4.remove_elsewhere()?;
            v6.remove_elsewhere()?;
            Ok([Outcome::Done(v4.iptables), Outcome::Done(v6.iptables)])
        }
        (Ok(v4), Err(v6)) if v6.needed_by.is_none() => {
            v4.remove_elsewhere()?;
            Ok([Outcome::Done(v4.iptables), Outcome::NotNeeded(v6)])
        }
        (Ok(applied), Err(failed)) | (Err(failed), Ok(applied)) => Err(applied.roll_back(failed)),
        (Err(v4), Err(_)) => Err(Error::Unavailable(v4)),
    }
}

/// Takes Netting's rules out of every table that has some.
///
/// # Errors
/// See [`Error`].
pub fn clean_up(options: &Options, pod: &Pod) -> Result<[Outcome; 2], Error> {
    require_net_admin()?;
    let [v4, v6] = Family::both(|family| {
        let Survey { tables, failures } = Survey::of(family, options.backend);
        // A legacy table may be known to be absent without its command being there, which says
        // nothing about the other backend.
        let usable = |table: &Table| failures.is_empty() || table.iptables.is_installed();
        if !tables.iter().any(usable) {
            let needed_by = pod.address(family);
            return Ok(Outcome::NotNeeded(Unavailable {
                family,
                needed_by,
                failures,
            }));
        }
        let mut outcome = Outcome::NothingThere(family);
        for Table { iptables, holds } in tables.iter().filter(|table| !table.holds.is_empty()) {
            iptables
                .change(holds, &NatTable::default())
                .map_err(Error::NotRemoved)?;
            outcome = Outcome::Done(*iptables);
        }
        Ok(outcome)
    });
    match (v4?, v6?) {
        (Outcome::NotNeeded(v4), _) => Err(Error::Unavailable(v4)),
        (_, Outcome::NotNeeded(v6)) if v6.needed_by.is_some() => Err(Error::Unavailable(v6)),
        (v4, v6) => Ok([v4, v6]),
    }
}

fn require_net_admin() -> Result<(), Error> {
    if Capabilities::of_this_process().net_admin {
        Ok(())
    } else {
        Err(Error::NoNetAdmin)
    }
}

/// A family whose rules are in place.
struct Applied {
    iptables: Iptables,
    before: NatTable,
    now: NatTable,
    /// Tables of the other backend that hold rules of an earlier run.
    elsewhere: Vec<Table>,
}

fn apply_family(options: &Options, family: Family) -> Result<Applied, Vec<Failure>> {
    let now = rules::wanted(options, family);
    let Survey {
        mut tables,
        mut failures,
    } = Survey::of(family, None);
    let allowed = |iptables: Iptables| options.backend.is_none_or(|b| b == iptables.backend);
    failures.retain(|failure| allowed(failure.iptables));
    for index in 0..tables.len() {
        let Table { iptables, holds } = &tables[index];
        if !allowed(*iptables) {
            continue;
        }
        match iptables.change(holds, &now) {
            Ok(()) => {
                let Table { iptables, holds } = tables.remove(index);
                tables.retain(|table| !table.holds.is_empty());
                return Ok(Applied {
                    iptables,
                    before: holds,
                    now,
                    elsewhere: tables,
                });
            }
            Err(failure) => {
                let locked = failure.cause == Cause::Locked;
                failures.push(failure);
                if locked {
                    // The backend works and was chosen for what it holds: not one to leave.
                    break;
                }
            }
        }
    }
    Err(failures)
}

impl Applied {
    fn remove_elsewhere(&self) -> Result<(), Error> {
        for Table { iptables, holds } in &self.elsewhere {
            iptables
                .change(holds, &NatTable::default())
                .map_err(Error::Leftover)?;
        }
        Ok(())
    }

    fn roll_back(self, failed: Unavailable) -> Error {
        match self.iptables.change(&self.now, &self.before) {
            Ok(()) => Error::RolledBack {
                failed,
                restored: self.iptables.family,
            },
            Err(rollback) => Error::HalfApplied {
                failed,
                rollback: Box::new(rollback),
            },
        }
    }
}
