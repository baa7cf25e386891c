//! What can be found.

use std::fmt;

use serde::{Serialize, Serializer};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It is as it should be.
    Good,
    /// It is worth knowing, and nothing is to be done.
    Note,
    /// It could not be asked, so nothing is known of it.
    Unknown,
    /// It works, not as somebody may think.
    Warning,
    /// Something does not work.
    Failure,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// Kubernetes itself.
    Cluster,
    /// Netting's own objects and pods.
    ControlPlane,
    /// Namespaces and pods that are, or should be, in the mesh.
    Pods,
}

/// One thing that was found, with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing.
    pub code: Code,
    /// What it is about.
    pub section: Section,
    /// How much it matters.
    pub severity: Severity,
    /// Which object it is about; empty for the cluster as a whole.
    pub subject: String,
    /// What was found.
    pub message: String,
    /// What to do about it; empty if nothing is to be done.
    pub advice: String,
    /// Whether it will be the same however often one looks.
    #[serde(skip)]
    pub lasts: bool,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $name:literal, $section:ident, $severity:ident;)*) => {
        /// The kinds of findings.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$doc])* $code,)*
        }

        impl Code {
            /// Its name for programs.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$code => $name,)* }
            }

            /// What it is about.
            #[must_use]
            pub fn section(self) -> Section {
                match self { $(Self::$code => Section::$section,)* }
            }

            /// How much it matters.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $(Self::$code => Severity::$severity,)* }
            }
        }
    };
}

codes! {
    /// The API server is new enough.
    VersionGood = "version_good", Cluster, Good;
    /// Sidecars are classic ones, or match conditions are left out.
    VersionOld = "version_old", Cluster, Note;
    /// An API that Netting needs is not there yet.
    VersionTooOld = "version_too_old", Cluster, Failure;
    /// Mutating webhooks can be configured.
    AdmissionGood = "admission_good", Cluster, Good;
    /// They can't.
    AdmissionMissing = "admission_missing", Cluster, Failure;
    /// Whoever asks may do all that is needed.
    RightsGood = "rights_good", Cluster, Good;
    /// Not what installing needs.
    RightMissing = "right_missing", Cluster, Warning;
    /// All nodes can run sidecars.
    NodesGood = "nodes_good", Cluster, Good;
    /// A node can't.
    NodeUnfit = "node_unfit", Cluster, Warning;
    /// The rules of the sidecars that there are hold.
    RulesGood = "rules_good", Cluster, Good;
    /// Nothing is known of iptables until the first pod is injected.
    RulesUntried = "rules_untried", Cluster, Note;
    /// A node does not take them.
    RulesRefused = "rules_refused", Cluster, Warning;
    /// A kubelet knows no native sidecars, and would wait for the end of one.
    KubeletOld = "kubelet_old", Cluster, Warning;
    /// Something of the cluster could not be asked.
    ClusterUnknown = "cluster_unknown", Cluster, Unknown;

    /// There is nothing of Netting.
    NotInstalled = "not_installed", ControlPlane, Failure;
    /// The namespace that it runs in is being deleted.
    NamespaceEnds = "namespace_ends", ControlPlane, Failure;
    /// A part of it is missing.
    PartMissing = "part_missing", ControlPlane, Failure;
    /// There is nothing of it here, but in another namespace.
    InstalledElsewhere = "installed_elsewhere", ControlPlane, Failure;
    /// Another one asks for the same pods.
    TwoInstallations = "two_installations", ControlPlane, Failure;
    /// As many pods as should be are ready.
    ReplicasGood = "replicas_good", ControlPlane, Good;
    /// They are not.
    ReplicasMissing = "replicas_missing", ControlPlane, Failure;
    /// It runs the same version as this command.
    ControlPlaneVersionGood = "control_plane_version_good", ControlPlane, Good;
    /// It runs another version than this command, or than its other part.
    ControlPlaneVersionDiffers = "control_plane_version_differs", ControlPlane, Warning;
    /// A pod on trial is given a sidecar.
    TrialGood = "trial_good", ControlPlane, Good;
    /// It isn't: the API server does not get to the webhook.
    TrialBad = "trial_bad", ControlPlane, Failure;
    /// It is refused for what a sidecar needs, where no namespace asks for one.
    TrialRefused = "trial_refused", ControlPlane, Warning;
    /// It is refused for something else, so that nothing is known.
    TrialUntried = "trial_untried", ControlPlane, Note;
    /// The webhook's certificate holds for a while.
    CertificateGood = "certificate_good", ControlPlane, Good;
    /// It should have been renewed.
    CertificateEnds = "certificate_ends", ControlPlane, Warning;
    /// It is over, damaged, or not there.
    CertificateBad = "certificate_bad", ControlPlane, Failure;
    /// The API server trusts it.
    CaBundleGood = "ca_bundle_good", ControlPlane, Good;
    /// It doesn't.
    CaBundleBad = "ca_bundle_bad", ControlPlane, Failure;
    /// A webhook that is away stops pods.
    FailurePolicyFail = "failure_policy_fail", ControlPlane, Warning;
    /// The catalog hears of changes.
    CatalogGood = "catalog_good", ControlPlane, Good;
    /// It has not heard of what is older than it should be.
    CatalogStale = "catalog_stale", ControlPlane, Failure;
    /// Something of the control plane could not be asked.
    ControlPlaneUnknown = "control_plane_unknown", ControlPlane, Unknown;

    /// Pods have sidecars that are as they should be.
    SidecarsGood = "sidecars_good", Pods, Good;
    /// A pod that asks for a sidecar has none: the webhook was not there.
    SidecarMissing = "sidecar_missing", Pods, Failure;
    /// The same of a pod that is older than the wish.
    SidecarNotYet = "sidecar_not_yet", Pods, Warning;
    /// A pod that asks for a sidecar can't have one.
    SidecarRefused = "sidecar_refused", Pods, Warning;
    /// A pod does not want one where others do.
    OptedOut = "opted_out", Pods, Note;
    /// A sidecar is not what the webhook would inject now.
    SidecarVersionDiffers = "sidecar_version_differs", Pods, Warning;
    /// A sidecar is not ready.
    SidecarNotReady = "sidecar_not_ready", Pods, Failure;
    /// A sidecar has no stream to the catalog.
    SidecarWithoutCatalog = "sidecar_without_catalog", Pods, Warning;
    /// A sidecar does not answer at its admin port.
    SidecarSilent = "sidecar_silent", Pods, Warning;
    /// Pods of a namespace can't have what the sidecar's init container needs.
    PodSecurityRefuses = "pod_security_refuses", Pods, Failure;
    /// A pod on trial is refused, in a namespace that asks for sidecars, for what they need.
    SidecarsRefused = "sidecars_refused", Pods, Failure;
    /// The same for something else, so that nothing is known.
    SidecarsUntried = "sidecars_untried", Pods, Note;
    /// An annotation asks for what only a label can ask for.
    AnnotationNotLabel = "annotation_not_label", Pods, Warning;
    /// A label says what only an annotation can say.
    LabelNotAnnotation = "label_not_annotation", Pods, Warning;
    /// A label or an annotation has a value that says nothing.
    ValueIgnored = "value_ignored", Pods, Warning;
    /// Something of the pods could not be asked.
    PodsUnknown = "pods_unknown", Pods, Unknown;
}

impl Code {
    /// A finding of this kind.
    #[must_use]
    pub fn finding(
        self,
        subject: impl Into<String>,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) -> Finding {
        Finding {
            code: self,
            section: self.section(),
            severity: self.severity(),
            subject: subject.into(),
            message: message.into(),
            advice: advice.into(),
            lasts: false,
        }
    }

    /// A finding of this kind about which nothing is to be done.
    #[must_use]
    pub fn told(self, subject: impl Into<String>, message: impl Into<String>) -> Finding {
        self.finding(subject, message, "")
    }
}

impl Severity {
    /// Its name for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

impl Section {
    /// Its heading.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::ControlPlane => "control plane",
            Self::Pods => "pods",
        }
    }
}

/// `1 pod`, `2 pods`.
#[must_use]
pub fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Serialize for Section {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Serialize for Severity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
