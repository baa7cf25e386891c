//! All findings, in the order in which they are read.

use serde::Serialize;

use super::{
    Code, Facts, Finding, Severity, certificate, cluster, installation, namespaces, pods, rules,
    sync,
};
use crate::exit::Exit;

/// All that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether nothing failed, and all could be asked.
    pub well: bool,
    /// By section, and in it the worst first.
    pub findings: Vec<Finding>,
}

impl Report {
    /// What these facts come to.
    #[must_use]
    pub fn of(facts: &Facts) -> Self {
        let mut findings = cluster::findings(facts);
        findings.extend(rules::findings(facts));
        if let Some(mesh) = &facts.mesh {
            let installed = installation::findings(facts, mesh);
            let elsewhere = |one: &Finding| one.code == Code::InstalledElsewhere;
            let is_here = installation::is_there(mesh) && !installed.iter().any(elsewhere);
            findings.extend(installed);
            if is_here {
                findings.extend(certificate::findings(facts, mesh));
                findings.extend(sync::findings(facts, mesh));
                findings.extend(namespaces::trials(mesh));
            }
        }
        findings.extend(namespaces::findings(facts));
        findings.extend(pods::findings(facts));
        findings.sort_by_key(|one| (one.section, std::cmp::Reverse(one.severity)));

        let is_trouble =
            |one: &Finding| matches!(one.severity, Severity::Failure | Severity::Unknown);
        Self {
            well: !findings.iter().any(is_trouble),
            findings,
        }
    }

    /// How much of it may be better at another look: what fails, and what gave no answer,
    /// but not what the API server refuses to whoever asks.
    #[must_use]
    pub fn may_pass(&self) -> usize {
        let trouble = [Severity::Failure, Severity::Unknown];
        let findings = self.findings.iter();
        let passing = findings.filter(|one| trouble.contains(&one.severity) && !one.lasts);
        passing.count()
    }

    /// 1 if something failed, 2 if nothing did that could be asked, and something
    /// could not.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let has = |severity| self.findings.iter().any(|one| one.severity == severity);
        if has(Severity::Failure) {
            Exit::NotWell
        } else if has(Severity::Unknown) {
            Exit::CannotAsk
        } else {
            Exit::Fine
        }
    }
}
