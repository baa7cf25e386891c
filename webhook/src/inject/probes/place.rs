//! Where probes and hooks are: in which list of containers, and in which field.

use json_patch::jsonptr::{PointerBuf, Token};
use serde_json::{Map, Value};

use crate::pod::Container;

/// Where a container has a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Liveness,
    Readiness,
    Startup,
    PostStart,
    PreStop,
}

impl Place {
    pub(super) const ALL: [Self; 5] = [
        Self::Liveness,
        Self::Readiness,
        Self::Startup,
        Self::PostStart,
        Self::PreStop,
    ];

    /// The fields that lead to it in a container.
    pub(super) fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Liveness => &["livenessProbe"],
            Self::Readiness => &["readinessProbe"],
            Self::Startup => &["startupProbe"],
            Self::PostStart => &["lifecycle", "postStart"],
            Self::PreStop => &["lifecycle", "preStop"],
        }
    }

    /// Its name in paths of the admin port.
    fn as_str(self) -> &'static str {
        match self {
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
            Self::Startup => "startup",
            Self::PostStart => "poststart",
            Self::PreStop => "prestop",
        }
    }

    /// Where the admin port is asked for it.
    pub(super) fn path(self, container: &str) -> String {
        format!("/probe/{container}/{}", self.as_str())
    }

    /// Where it is in a pod.
    pub(super) fn pointer(self, list: List, index: usize) -> PointerBuf {
        let mut at = PointerBuf::from_tokens(["spec", list.field()]);
        at.push_back(Token::from(index));
        for field in self.fields() {
            at.push_back(Token::from(*field));
        }
        at
    }

    pub(super) fn is_hook(self) -> bool {
        matches!(self, Self::PostStart | Self::PreStop)
    }

    pub(super) fn of(self, container: Container<'_>) -> Option<&Map<String, Value>> {
        let (first, rest) = self.fields().split_first()?;
        let found = rest
            .iter()
            .try_fold(container.get(first)?, |found, field| found.get(*field));
        found?.as_object()
    }
}

/// A list of the pod's containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Init,
    Regular,
}

impl List {
    pub(super) fn field(self) -> &'static str {
        match self {
            Self::Init => "initContainers",
            Self::Regular => "containers",
        }
    }
}
