//! The index: what the cluster's objects say, ready to be asked by address.
//!
//! Objects go in one by one, in any order; an address asks for its state. No
//! answer depends on the order in which objects arrived, so that every replica
//! gives the same one. Nothing here is async, and nothing knows where the objects
//! come from.

mod backends;
mod changes;
mod claims;
pub mod diff;
mod listing;
mod lookup;
mod names;
pub mod state;
mod zones;

use std::collections::{HashMap, HashSet};

use crate::objects::{Endpoints, Key, Pod, Service, Slice};

use backends::Backends;
use claims::Claims;
use names::Names;
use zones::Zones;

pub use changes::Changes;

/// Everything the catalog knows of the cluster.
#[derive(Debug, Default)]
pub struct Index {
    services: HashMap<Key, Service>,
    pods: HashMap<Key, Pod>,
    backends: Backends,
    cluster_ips: Claims,
    pod_ips: Claims,
    names: Names,
    zones: Zones,
}

/// How much the index holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Services.
    pub services: usize,
    /// EndpointSlices.
    pub slices: usize,
    /// Endpoints, as they stand in slices and Endpoints objects.
    pub endpoints: usize,
    /// Meshed pods.
    pub pods: usize,
}

impl Index {
    /// A Service as it is now.
    pub fn apply_service(&mut self, mut service: Service) -> Changes {
        self.names.intern_key(&mut service.key);
        for port in &mut service.ports {
            self.names.intern(&mut port.name);
            self.names.intern(&mut port.protocol_hint);
        }
        let key = service.key.clone();
        self.put_service(&key, Some(service))
    }

    /// A Service that is gone.
    pub fn delete_service(&mut self, key: &Key) -> Changes {
        self.put_service(key, None)
    }

    /// All Services there are; those that aren't among them are gone.
    pub fn reset_services(&mut self, all: Vec<Service>) -> Changes {
        let listed: HashSet<&Key> = all.iter().map(|service| &service.key).collect();
        let gone = self.services.keys().filter(|key| !listed.contains(key));
        let gone: Vec<Key> = gone.cloned().collect();
        let mut changes = Changes::default();
        for key in &gone {
            changes.merge(self.delete_service(key));
        }
        for service in all {
            changes.merge(self.apply_service(service));
        }
        self.names.sweep();
        changes
    }

    /// An EndpointSlice as it is now.
    pub fn apply_slice(&mut self, mut slice: Slice) -> Changes {
        self.names.intern_key(&mut slice.service);
        self.names.intern_group(&mut slice.group);
        for member in &slice.group.members {
            self.zones.note(&member.node, &member.zone);
        }
        let key = slice.key.clone();
        let changes = self.put_slice(&key, Some(slice));
        if self.zones.are_too_many() {
            self.forget_nodes();
        }
        changes
    }

    /// An EndpointSlice that is gone.
    pub fn delete_slice(&mut self, key: &Key) -> Changes {
        self.put_slice(key, None)
    }

    /// All EndpointSlices there are; those that aren't among them are gone.
    pub fn reset_slices(&mut self, all: Vec<Slice>) -> Changes {
        let listed: HashSet<&Key> = all.iter().map(|slice| &slice.key).collect();
        let gone = self.backends.slices().filter(|key| !listed.contains(key));
        let gone: Vec<Key> = gone.cloned().collect();
        let mut changes = Changes::default();
        for slice in all {
            changes.merge(self.apply_slice(slice));
        }
        for key in &gone {
            changes.merge(self.delete_slice(key));
        }
        self.forget_nodes();
        self.names.sweep();
        changes
    }

    /// An Endpoints object as it is now.
    pub fn apply_endpoints(&mut self, mut endpoints: Endpoints) -> Changes {
        self.names.intern_key(&mut endpoints.key);
        for group in &mut endpoints.groups {
            self.names.intern_group(group);
        }
        let touched = self
            .backends
            .put_endpoints(&endpoints.key, endpoints.groups);
        self.changes_of(touched)
    }

    /// An Endpoints object that is gone.
    pub fn delete_endpoints(&mut self, key: &Key) -> Changes {
        let touched = self.backends.put_endpoints(key, Vec::new());
        self.changes_of(touched)
    }

    /// All Endpoints objects there are; those that aren't among them are gone.
    pub fn reset_endpoints(&mut self, all: Vec<Endpoints>) -> Changes {
        let listed: HashSet<&Key> = all.iter().map(|endpoints| &endpoints.key).collect();
        let gone = self.backends.endpoints();
        let gone: Vec<Key> = gone.filter(|key| !listed.contains(key)).cloned().collect();
        let mut changes = Changes::default();
        for endpoints in all {
            changes.merge(self.apply_endpoints(endpoints));
        }
        for key in &gone {
            changes.merge(self.delete_endpoints(key));
        }
        self.names.sweep();
        changes
    }

    /// A meshed Pod as it is now.
    pub fn apply_pod(&mut self, mut pod: Pod) -> Changes {
        self.names.intern_key(&mut pod.key);
        for name in [&mut pod.service_account, &mut pod.node, &mut pod.zone] {
            self.names.intern(name);
        }
        self.names.intern(&mut pod.owner.kind);
        self.names.intern(&mut pod.owner.name);
        self.zones.note(&pod.node, &pod.zone);
        let key = pod.key.clone();
        self.put_pod(&key, Some(pod))
    }

    /// A Pod that is gone, or is meshed no more.
    pub fn delete_pod(&mut self, key: &Key) -> Changes {
        self.put_pod(key, None)
    }

    /// All meshed Pods there are; those that aren't among them are gone.
    pub fn reset_pods(&mut self, all: Vec<Pod>) -> Changes {
        let listed: HashSet<&Key> = all.iter().map(|pod| &pod.key).collect();
        let gone = self.pods.keys().filter(|key| !listed.contains(key));
        let gone: Vec<Key> = gone.cloned().collect();
        let mut changes = Changes::default();
        for key in &gone {
            changes.merge(self.delete_pod(key));
        }
        for pod in all {
            changes.merge(self.apply_pod(pod));
        }
        self.names.sweep();
        changes
    }

    /// How much the index holds.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes {
            services: self.services.len(),
            slices: self.backends.slices().count(),
            endpoints: self.backends.members(),
            pods: self.pods.len(),
        }
    }

    #[cfg(test)]
    fn nodes(&self) -> usize {
        self.zones.len()
    }

    /// Forgets the nodes that nothing runs on any more.
    fn forget_nodes(&mut self) {
        let of_pods = self.pods.values().map(|pod| (&pod.node, &pod.zone));
        let members = self.backends.all();
        let of_members = members.map(|member| (&member.node, &member.zone));
        self.zones.reset(of_pods.chain(of_members));
    }

    fn put_service(&mut self, key: &Key, new: Option<Service>) -> Changes {
        let mut changes = Changes::default();
        if self.services.get(key) == new.as_ref() {
            return changes;
        }
        let old = self.services.remove(key);
        changes.listing = true;
        changes.services.insert(key.clone());
        if hints(old.as_ref()) != hints(new.as_ref()) {
            // The pods behind it, when connected to directly, speak as it says.
            changes.ips.extend(self.backends.member_ips(key));
        }
        for ip in old.iter().flat_map(|service| &service.cluster_ips) {
            self.cluster_ips.remove(*ip, key);
            changes.ips.insert(*ip);
        }
        if let Some(service) = new {
            for ip in &service.cluster_ips {
                self.cluster_ips.add(*ip, &service.born, key);
                changes.ips.insert(*ip);
            }
            self.services.insert(key.clone(), service);
        }
        changes
    }

    fn put_slice(&mut self, key: &Key, new: Option<Slice>) -> Changes {
        let touched = self.backends.put_slice(key, new);
        self.changes_of(touched)
    }

    fn put_pod(&mut self, key: &Key, new: Option<Pod>) -> Changes {
        let mut changes = Changes::default();
        if self.pods.get(key) == new.as_ref() {
            return changes;
        }
        for ip in self.pods.remove(key).iter().flat_map(|pod| &pod.ips) {
            self.pod_ips.remove(*ip, key);
            changes.ips.insert(*ip);
        }
        if let Some(pod) = new {
            for ip in &pod.ips {
                self.pod_ips.add(*ip, &pod.born, key);
                changes.ips.insert(*ip);
            }
            if pod.application_ended {
                changes.ended.insert(key.clone());
            }
            self.pods.insert(key.clone(), pod);
        }
        let services = changes.ips.iter().flat_map(|ip| self.backends.behind(*ip));
        let services: Vec<Key> = services.cloned().collect();
        for service in services {
            self.touch_service(service, &mut changes);
        }
        changes
    }

    fn changes_of(&self, touched: backends::Touched) -> Changes {
        let mut changes = Changes {
            ips: touched.ips,
            ..Changes::default()
        };
        for service in touched.services {
            self.touch_service(service, &mut changes);
        }
        changes
    }

    /// What is behind a service changed, and with it the state of its cluster IPs.
    fn touch_service(&self, key: Key, changes: &mut Changes) {
        let service = self.services.get(&key);
        let ips = service.iter().flat_map(|service| &service.cluster_ips);
        changes.ips.extend(ips);
        changes.services.insert(key);
    }
}

/// What a service says of the protocols of its ports.
fn hints(service: Option<&Service>) -> Vec<(&str, &str)> {
    let ports = service.iter().flat_map(|service| &service.ports);
    ports.map(|p| (&*p.name, &*p.protocol_hint)).collect()
}

#[cfg(test)]
mod tests;
