//! Why a pod is not injected. The log, the metric, the audit annotation and the
//! CLI all use these names.

use crate::{names, pod::NotAPod};

/// Why a pod is not injected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// Neither its namespace nor the pod itself asks for it.
    NotAskedFor,
    /// The request is not about creating a pod (another kind, version, operation
    /// or subresource), so the webhook configuration is not Netting's own.
    NotAPodCreation,
    /// The object has not the outline of a pod.
    NotAPod(NotAPod),
    /// It belongs to the cluster's control plane, or to Netting's.
    SystemNamespace,
    /// It is the API server's copy of a static pod.
    MirrorPod,
    /// Its annotation says no.
    OptedOutByAnnotation,
    /// Its label says no.
    OptedOutByLabel,
    /// Both containers are there already, and the pod's status says that Netting
    /// put them there.
    AlreadyInjected,
    /// It is a copy of an injected pod without its status, or without one of the
    /// containers.
    Leftovers {
        /// What it has kept, by name.
        of: Vec<&'static str>,
    },
    /// A container or a volume has one of our names, but is not ours.
    NameTaken {
        /// `container` or `volume`.
        kind: &'static str,
        /// The name.
        name: &'static str,
    },
    /// It shares the node's network: redirection would take the whole node's traffic.
    HostNetwork,
    /// It runs on Windows, which has no iptables.
    Windows,
    /// Another mesh's proxy is in it; two would redirect each other.
    OtherMesh {
        /// Whose proxy it is.
        mesh: &'static str,
    },
    /// A container runs as the sidecar's uid, so its connections could not be told
    /// from the sidecar's own.
    UidTaken,
    /// A container declares one of the sidecar's ports.
    PortTaken {
        /// Which one.
        port: u16,
    },
    /// Its namespace enforces a Pod Security Standard that netting-init's capabilities
    /// are against: the API server would refuse the injected pod.
    PodSecurity {
        /// `baseline` or `restricted`.
        level: &'static str,
    },
    /// The LimitRanges of its namespace leave its sidecar less than it could live on:
    /// the API server would refuse the injected pod.
    LimitRange {
        /// `cpu` or `memory`.
        resource: &'static str,
    },
    /// Files of a projected volume that the kubelet gives to the one uid of the pod's
    /// containers would be root's alone.
    ProjectedMode {
        /// The `defaultMode` of the volume.
        mode: u64,
    },
    /// With Netting's its annotations would be longer than the API server allows.
    AnnotationsFull,
}

impl SkipReason {
    /// Its name in logs, metrics, audit annotations and the CLI.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NotAskedFor => "not_asked_for",
            Self::NotAPodCreation => "not_a_pod_creation",
            Self::NotAPod(_) => "not_a_pod",
            Self::SystemNamespace => "system_namespace",
            Self::MirrorPod => "mirror_pod",
            Self::OptedOutByAnnotation => "opted_out_by_annotation",
            Self::OptedOutByLabel => "opted_out_by_label",
            Self::AlreadyInjected => "already_injected",
            Self::Leftovers { .. } => "leftovers",
            Self::NameTaken { .. } => "name_taken",
            Self::HostNetwork => "host_network",
            Self::Windows => "windows",
            Self::OtherMesh { .. } => "other_mesh",
            Self::UidTaken => "uid_taken",
            Self::PortTaken { .. } => "port_taken",
            Self::PodSecurity { .. } => "pod_security",
            Self::LimitRange { .. } => "limit_range",
            Self::ProjectedMode { .. } => "projected_mode",
            Self::AnnotationsFull => "annotations_full",
        }
    }

    /// What to tell the pod's author, if they may have expected a sidecar.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let why = match self {
            Self::NotAskedFor
            | Self::NotAPodCreation
            | Self::SystemNamespace
            | Self::MirrorPod
            | Self::OptedOutByAnnotation
            | Self::OptedOutByLabel
            | Self::AlreadyInjected => return None,
            Self::NotAPod(error) => error.to_string(),
            Self::Leftovers { of } => format!(
                "it is a copy of an injected pod that has kept {}; take them out, or copy all of \
                 it with its annotations",
                of.join(", ")
            ),
            Self::NameTaken { kind, name } => {
                format!("a {kind} of its own is named {name}; rename it")
            }
            Self::HostNetwork => "it uses the host's network".to_owned(),
            Self::Windows => "it runs on Windows".to_owned(),
            Self::OtherMesh { mesh } => {
                format!("it has a sidecar of {mesh}; remove one of the two")
            }
            Self::UidTaken => format!(
                "a container runs as uid {}, which is the sidecar's; choose another",
                names::SIDECAR_UID
            ),
            Self::PortTaken { port } => {
                format!("a container declares port {port}, which is the sidecar's; choose another")
            }
            Self::PodSecurity { level } => {
                format!(
                    "its namespace enforces Pod Security {level}, and netting-init needs NET_ADMIN"
                )
            }
            Self::LimitRange { resource } => {
                format!("a LimitRange of its namespace leaves its sidecar too little {resource}")
            }
            Self::ProjectedMode { mode } => format!(
                "beside a sidecar of another uid its projected token of mode {mode:04o} would be \
                 root's alone; set fsGroup"
            ),
            Self::AnnotationsFull => {
                "its annotations leave no room for Netting's within 256 KiB".to_owned()
            }
        };
        Some(format!("netting: pod not injected: {why}"))
    }
}
