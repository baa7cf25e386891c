//! From an address to its state.

use std::{net::SocketAddr, sync::Arc};

use super::{
    Index,
    state::{Destination, Endpoint, Kind, State, Workload},
};
use crate::objects::{Family, Group, Key, Member, Pod, Service, ServicePort};

impl Index {
    /// What is behind an address; `None` if no service and no workload has it.
    #[must_use]
    pub fn lookup(&self, addr: SocketAddr) -> Option<State> {
        let ip = addr.ip().to_canonical();
        let Some(key) = self.cluster_ips.holder(ip) else {
            return self.workload_state(SocketAddr::new(ip, addr.port()));
        };
        let service = self.services.get(key)?;
        let port = service.port(addr.port())?;
        Some(self.service_state(service, port, Family::of(ip)))
    }

    pub(super) fn service_state(
        &self,
        service: &Service,
        port: &ServicePort,
        family: Family,
    ) -> State {
        let groups = self.backends.groups(&service.key);
        let mut endpoints = Vec::new();
        for group in groups.filter(|group| group.family == family) {
            // A target port by name differs from pod to pod: each number that it
            // stands for has a slice of its own.
            let Some(behind) = group.port_named(&port.name) else {
                continue;
            };
            let members = group.members.iter();
            let used = members.filter_map(|member| self.endpoint(service, member, behind.port));
            endpoints.extend(used);
        }
        let destination = Destination {
            kind: Kind::Service,
            namespace: service.key.namespace.clone(),
            name: service.key.name.clone(),
            port_name: port.name.clone(),
            protocol_hint: port.protocol_hint.clone(),
            node_local: service.node_local,
            traffic: Arc::clone(&service.traffic),
        };
        State::new(destination, endpoints)
    }

    /// A service's endpoint; `None` if it is of no use any more: it terminates and
    /// has stopped to serve.
    fn endpoint(&self, service: &Service, member: &Member, port: u16) -> Option<Endpoint> {
        let ready = member.ready || service.publish_not_ready;
        if member.terminating && !member.serving && !ready {
            return None;
        }
        let pod = self.pod_of(member);
        let known = |own: &Arc<str>, pods: Option<&Arc<str>>| match pods {
            Some(pods) if own.is_empty() => pods.clone(),
            _ => own.clone(),
        };
        Some(Endpoint {
            addr: member.at(port),
            ready,
            serving: member.serving,
            terminating: member.terminating,
            weight: 1,
            node: known(&member.node, pod.map(|pod| &pod.node)),
            zone: known(&member.zone, pod.map(|pod| &pod.zone)),
            hints: member.hints.clone(),
            workload: workload(member.pod.as_ref(), pod),
        })
    }

    /// The meshed pod that a member is. A pod of the right name that doesn't have
    /// the member's IP is the next of its name, and may be meshed when this isn't.
    fn pod_of(&self, member: &Member) -> Option<&Pod> {
        let key = match &member.pod {
            Some(key) => key,
            None => self.pod_ips.holder(member.ip)?,
        };
        let pod = self.pods.get(key);
        pod.filter(|pod| pod.ips.contains(&member.ip))
    }

    /// A pod's own address: any port of a meshed pod, and of other pods those that
    /// stand behind a service. Whoever connects there has chosen, so it is always
    /// ready, and readiness that comes and goes changes nothing.
    fn workload_state(&self, addr: SocketAddr) -> Option<State> {
        let ip = addr.ip();
        let listening = self.listening(addr);
        let meshed = self.pod_ips.holder(ip).and_then(|key| self.pods.get(key));
        let key = meshed.map(|pod| &pod.key).or_else(|| the_pod(&listening))?;
        let of_pod = || {
            let members = listening.iter().map(|(_, _, member)| member);
            members.filter(|member| member.pod.as_ref().is_none_or(|pod| pod == key))
        };
        let first = |from_pod: Option<&Arc<str>>, from_member: fn(&Member) -> &Arc<str>| {
            let from_members = of_pod().map(|member| from_member(member)).max();
            let known = from_members.filter(|known| !known.is_empty());
            known.or(from_pod).cloned().unwrap_or_default()
        };
        let endpoint = Endpoint {
            addr,
            ready: true,
            serving: true,
            terminating: false,
            weight: 1,
            node: first(meshed.map(|pod| &pod.node), |member| &member.node),
            zone: first(meshed.map(|pod| &pod.zone), |member| &member.zone),
            hints: None,
            workload: workload(Some(key), meshed),
        };
        let destination = Destination {
            kind: Kind::Workload,
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            port_name: Arc::default(),
            protocol_hint: self.workload_hint(key, addr.port(), &listening),
            node_local: false,
            traffic: Arc::default(),
        };
        Some(State::new(destination, vec![endpoint]))
    }

    /// The members that listen at an address, with their services and groups.
    fn listening(&self, addr: SocketAddr) -> Vec<(&Key, &Group, &Member)> {
        let ip = addr.ip();
        let mut listening = Vec::new();
        for service in self.backends.behind(ip) {
            for group in self.backends.groups(service) {
                if group.ports.iter().any(|port| port.port == addr.port()) {
                    let members = group.members_at(ip);
                    listening.extend(members.map(|member| (service, group, member)));
                }
            }
        }
        listening
    }

    /// What services say is spoken at a pod's address: those of its own namespace, since
    /// whoever may write objects in another has no say in it. They should agree; if they
    /// don't, it is the first one's say, in the order of their names.
    fn workload_hint(
        &self,
        pod: &Key,
        port: u16,
        listening: &[(&Key, &Group, &Member)],
    ) -> Arc<str> {
        let own = listening
            .iter()
            .filter(|(service, _, _)| service.namespace == pod.namespace);
        let hints = own.flat_map(|(key, group, _)| {
            let service = self.services.get(*key);
            let ports = group.ports.iter().filter(move |p| p.port == port);
            ports.map(move |port| {
                let said = service.and_then(|service| service.hint_of(&port.name));
                (*key, said.unwrap_or(&port.protocol_hint))
            })
        });
        let named = hints.filter(|(_, hint)| !hint.is_empty());
        named
            .min()
            .map(|(_, hint)| hint.clone())
            .unwrap_or_default()
    }
}

/// The pod that listens at an address: the most alive of those that are said to. None if
/// that is several, which share their node's network.
fn the_pod<'a>(listening: &[(&Key, &Group, &'a Member)]) -> Option<&'a Key> {
    let named = listening.iter().filter_map(|(_, _, member)| {
        let liveness = (member.ready, member.serving, !member.terminating);
        Some((liveness, member.pod.as_ref()?))
    });
    let (best, key) = named.clone().max()?;
    let mut best_ones = named.filter(|(liveness, _)| *liveness == best);
    best_ones.all(|(_, other)| other == key).then_some(key)
}

fn workload(named: Option<&Key>, pod: Option<&Pod>) -> Option<Workload> {
    let key = named.or(pod.map(|pod| &pod.key))?;
    Some(Workload {
        namespace: key.namespace.clone(),
        pod: key.name.clone(),
        service_account: pod
            .map(|pod| pod.service_account.clone())
            .unwrap_or_default(),
        meshed: pod.is_some(),
        owner: pod.map(|pod| pod.owner.clone()).unwrap_or_default(),
    })
}
