//! What is known, and what could not be asked.

use std::{collections::BTreeMap, time::SystemTime};

use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration,
    apps::v1::Deployment,
    core::v1::{LimitRange, Namespace, Node, Pod, Secret},
};

use super::{Code, Finding};
#[cfg(doc)]
use crate::installation::trial;
use crate::{cluster::Version, installation::trial::Trial, sidecar::Config};

/// Something that was asked.
pub type Fact<T> = Result<T, Unknown>;

/// Something that could not be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// `list Nodes`.
    pub doing: String,
    /// Why not.
    pub why: String,
    /// Whether the API server does not let whoever asks: it won't do so later either.
    pub refused: bool,
}

/// A right that whoever asks lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    /// `create deployments.apps in netting`.
    pub action: String,
    /// What it is needed for.
    pub purpose: &'static str,
}

/// All that findings are made from.
#[derive(Debug)]
pub struct Facts {
    /// When it was asked.
    pub now: SystemTime,
    /// The version of this command.
    pub own_version: &'static str,
    /// Where Netting runs.
    pub system_namespace: String,
    /// The API server's.
    pub version: Version,
    /// Whether it has `MutatingWebhookConfiguration`s (`admissionregistration.k8s.io/v1`).
    pub admission: Fact<bool>,
    /// Rights that whoever asks lacks.
    pub missing_rights: Fact<Vec<Right>>,
    /// All nodes.
    pub nodes: Fact<Vec<Node>>,
    /// What there is of Netting; `None` if nothing is expected yet.
    pub mesh: Option<Mesh>,
    /// All namespaces in question.
    pub namespaces: Fact<Vec<Namespace>>,
    /// What namespaces allow their pods.
    pub limit_ranges: Fact<Vec<LimitRange>>,
    /// All pods in question.
    pub pods: Fact<Vec<Pod>>,
    /// What sidecars that were asked answered, by `namespace/pod`.
    pub sidecars: BTreeMap<String, Result<Config, String>>,
}

/// Netting's own objects.
#[derive(Debug)]
pub struct Mesh {
    /// The system namespace, if there is one.
    pub namespace: Fact<Option<Namespace>>,
    /// All webhook configurations of the cluster, Netting's and others.
    pub configurations: Fact<Vec<MutatingWebhookConfiguration>>,
    /// Those of the system namespace.
    pub deployments: Fact<Vec<Deployment>>,
    /// Their pods.
    pub pods: Fact<Vec<Pod>>,
    /// That of the webhook's certificate.
    pub secret: Fact<Option<Secret>>,
    /// What came of a pod on trial, in the namespace [`trial::NAMESPACE`].
    pub trial: Fact<Trial>,
    /// What came of one in each namespace that asks for sidecars, by its name.
    pub trials: BTreeMap<String, Fact<Trial>>,
    /// What the pods' `/instruments` say, by pod.
    pub metrics: BTreeMap<String, Fact<String>>,
}

impl Unknown {
    /// From whatever went wrong.
    pub fn new(doing: impl Into<String>, why: impl ToString) -> Self {
        Self {
            doing: doing.into(),
            why: why.to_string(),
            refused: false,
        }
    }

    /// The finding that it is.
    pub(super) fn told(&self, code: Code, subject: impl Into<String>) -> Finding {
        let message = format!("could not {}: {}", self.doing, self.why);
        Finding {
            lasts: self.refused,
            ..code.told(subject, message)
        }
    }
}
