//! Where probes and hooks are: in which list of containers, and in which field.

use json_patch::jsonptr::{PointerBuf, Token};
use serde_json::{Map, Value};

use crate::{
    names::{self, SidecarMode},
    pod::{Container, Pod},
};

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
    fn pointer(self, list: List, index: usize) -> PointerBuf {
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

    fn of(self, container: Container<'_>) -> Option<&Map<String, Value>> {
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

/// One place of one container.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site<'a> {
    pub(super) container: Container<'a>,
    pub(super) place: Place,
    /// Whether the kubelet asks there while the sidecar doesn't run, yet or any more, and
    /// does something about it. (Readiness it only takes down, until the next time.)
    pub(super) without_sidecar: bool,
    list: List,
    index: usize,
}

impl<'a> Site<'a> {
    /// All of a pod, but for those of the injected containers.
    pub(super) fn all(pod: &Pod<'a>, mode: SidecarMode) -> Vec<Self> {
        let before = before_the_sidecar(pod, mode);
        let init = pod.init_containers().iter().map(|c| (List::Init, c));
        let regular = pod.containers().iter().map(|c| (List::Regular, c));
        let mut all = Vec::new();
        for (index, (list, &container)) in init.enumerate().chain(regular.enumerate()) {
            if [names::INIT_CONTAINER, names::SIDECAR_CONTAINER].contains(&container.name()) {
                continue;
            }
            let is_before = list == List::Init && index < before;
            all.extend(Place::ALL.map(|place| Self {
                container,
                place,
                without_sidecar: is_before && place != Place::Readiness,
                list,
                index,
            }));
        }
        all
    }

    /// The handler that is there.
    pub(super) fn handler(&self) -> Option<&'a Map<String, Value>> {
        self.place.of(self.container)
    }

    /// Where the sidecar is asked in its stead.
    pub(super) fn path(&self) -> String {
        self.place.path(self.container.name())
    }

    /// Where the handler is in the pod.
    pub(super) fn pointer(&self) -> PointerBuf {
        self.place.pointer(self.list, self.index)
    }

    /// A member of the handler.
    pub(super) fn member(&self, member: &str) -> PointerBuf {
        let mut at = self.pointer();
        at.push_back(Token::from(member));
        at
    }

    /// As its author would call it.
    pub(super) fn name(&self) -> String {
        self.place.fields().join(".")
    }
}

/// How many init containers the kubelet has started, or seen end, before it starts the
/// sidecar. For a pod that has none yet: a native one will be the first.
fn before_the_sidecar(pod: &Pod<'_>, mode: SidecarMode) -> usize {
    let mut names = pod.init_containers().iter().map(Container::name);
    match mode {
        SidecarMode::Native => names
            .position(|name| name == names::SIDECAR_CONTAINER)
            .unwrap_or(0),
        SidecarMode::Classic => names.count(),
    }
}
