//! Which endpoints are close to the sidecar, if its destination prefers those.

use super::{Destination, Endpoint};

/// Where something runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The node; empty if not known.
    pub node: String,
    /// The zone; empty if not known.
    pub zone: String,
}

/// Which endpoints a service prefers, where endpoints carry no hints of their own
/// (`trafficDistribution`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefer {
    /// None.
    #[default]
    Any,
    /// Those in the client's zone.
    SameZone,
    /// Those on the client's node, else those in its zone.
    SameNode,
}

impl Prefer {
    /// As in `/config`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Prefer::Any => "any",
            Prefer::SameZone => "same_zone",
            Prefer::SameNode => "same_node",
        }
    }
}

/// How close an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Closeness {
    /// In the same zone, or meant for it.
    Zone,
    /// On the same node, or meant for it.
    Node,
}

/// Who says which endpoints are preferred.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rule {
    /// The EndpointSlice controller, by its hints.
    Hints,
    /// The service.
    Service(Prefer),
}

impl Rule {
    /// Hints count only if all endpoints that are ready have some, as kube-proxy has
    /// it (KEP-2433): otherwise they are just being changed.
    pub(super) fn of(destination: &Destination) -> Self {
        let hinted =
            |endpoint: &Endpoint| !endpoint.for_nodes.is_empty() || !endpoint.for_zones.is_empty();
        let mut ready = destination.endpoints.iter().filter(|e| e.ready).peekable();
        if ready.peek().is_some() && ready.all(|endpoint| hinted(endpoint)) {
            Rule::Hints
        } else {
            Rule::Service(destination.prefer)
        }
    }

    /// How close an endpoint is to `own`, if that makes it preferred.
    pub(super) fn closeness(self, endpoint: &Endpoint, own: &Place) -> Option<Closeness> {
        let same = |name: &String, own: &String| !own.is_empty() && name == own;
        let among = |names: &Vec<String>, own| names.iter().any(|name| same(name, own));
        let (on_node, in_zone) = match self {
            Rule::Hints => (
                among(&endpoint.for_nodes, &own.node),
                among(&endpoint.for_zones, &own.zone),
            ),
            Rule::Service(prefer) => (
                prefer == Prefer::SameNode && same(&endpoint.node, &own.node),
                prefer != Prefer::Any && same(&endpoint.zone, &own.zone),
            ),
        };
        let on_node = on_node.then_some(Closeness::Node);
        on_node.or(in_zone.then_some(Closeness::Zone))
    }
}
