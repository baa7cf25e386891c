//! What is behind each service: its EndpointSlices, or its Endpoints object if it
//! has no slice at all.
//!
//! A cluster that has EndpointSlices mirrors Endpoints into them, so taking both
//! would say everything twice.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use crate::objects::{Group, Key, Member, Slice};

#[derive(Debug, Default)]
pub(super) struct Backends {
    /// The service of each slice, by the slice's key.
    services: HashMap<Key, Key>,
    by_service: HashMap<Key, Behind>,
    /// The services that name an IP, with how many of their members do.
    by_ip: HashMap<IpAddr, Vec<(Key, u32)>>,
    members: usize,
}

/// What is behind one service, which need not exist.
#[derive(Debug, Default)]
struct Behind {
    /// By the slice's name: it is in the service's namespace.
    slices: BTreeMap<Arc<str>, Group>,
    endpoints: Vec<Group>,
}

/// What a change to the backends touches.
#[derive(Debug, Default)]
pub(super) struct Touched {
    pub(super) services: Vec<Key>,
    /// The IPs of members that are new, gone or changed.
    pub(super) ips: BTreeSet<IpAddr>,
}

impl Backends {
    pub(super) fn put_slice(&mut self, key: &Key, new: Option<Slice>) -> Touched {
        let mut touched = Touched::default();
        let old_service = self.services.remove(key);
        if let Some(old_service) = &old_service
            && new.as_ref().map(|slice| &slice.service) != Some(old_service)
        {
            self.replace(old_service, &key.name, None, &mut touched);
        }
        if let Some(slice) = new {
            self.replace(&slice.service, &key.name, Some(slice.group), &mut touched);
            self.services.insert(slice.key, slice.service);
        }
        touched
    }

    fn replace(&mut self, service: &Key, name: &str, new: Option<Group>, touched: &mut Touched) {
        let behind = self.by_service.entry(service.clone()).or_default();
        let before = behind.slices.is_empty();
        let old = behind.slices.remove(name);
        if old == new && old.is_some() {
            behind.slices.extend(old.map(|group| (name.into(), group)));
            return;
        }
        differing(old.as_ref(), new.as_ref(), &mut touched.ips);
        touched.services.push(service.clone());
        let added = new.iter().flat_map(|group| &group.members);
        let added: Vec<IpAddr> = added.map(|member| member.ip).collect();
        behind.slices.extend(new.map(|group| (name.into(), group)));
        if before != behind.slices.is_empty() {
            // The Endpoints object begins or ceases to count.
            touched.ips.extend(ips(&behind.endpoints));
        }
        let unused = behind.slices.is_empty() && behind.endpoints.is_empty();
        if unused {
            self.by_service.remove(service);
        }
        self.count(service, added, old.iter().flat_map(|g| &g.members));
    }

    pub(super) fn put_endpoints(&mut self, service: &Key, new: Vec<Group>) -> Touched {
        let mut touched = Touched::default();
        let behind = self.by_service.entry(service.clone()).or_default();
        let added: Vec<IpAddr> = ips(&new).collect();
        let old = std::mem::replace(&mut behind.endpoints, new);
        let counts = behind.slices.is_empty();
        if counts && old != behind.endpoints {
            touched.services.push(service.clone());
            touched.ips.extend(ips(&old));
            touched.ips.extend(&added);
        }
        if counts && behind.endpoints.is_empty() {
            self.by_service.remove(service);
        }
        self.count(service, added, old.iter().flat_map(|g| &g.members));
        touched
    }

    /// Keeps `by_ip`: what came is counted before what went, so that an entry
    /// which stays isn't given up in between.
    fn count<'a>(
        &mut self,
        service: &Key,
        added: Vec<IpAddr>,
        removed: impl Iterator<Item = &'a Member>,
    ) {
        self.members += added.len();
        for ip in added {
            let services = self
                .by_ip
                .entry(ip)
                .or_insert_with(|| Vec::with_capacity(1));
            match services.iter_mut().find(|(key, _)| key == service) {
                Some((_, times)) => *times += 1,
                None => services.push((service.clone(), 1)),
            }
        }
        for member in removed {
            self.members -= 1;
            let Some(services) = self.by_ip.get_mut(&member.ip) else {
                continue;
            };
            services.retain_mut(|(key, times)| {
                *times -= u32::from(key == service);
                *times > 0
            });
            if services.is_empty() {
                self.by_ip.remove(&member.ip);
            }
        }
    }

    /// The groups that count for a service, in an order that doesn't matter.
    pub(super) fn groups(&self, service: &Key) -> impl Iterator<Item = &Group> {
        let behind = self.by_service.get(service).into_iter();
        behind.flat_map(|behind| {
            let fallback: &[Group] = if behind.slices.is_empty() {
                &behind.endpoints
            } else {
                &[]
            };
            behind.slices.values().chain(fallback)
        })
    }

    /// The services that have a member at an IP, or an Endpoints object that does.
    pub(super) fn behind(&self, ip: IpAddr) -> impl Iterator<Item = &Key> {
        let services = self.by_ip.get(&ip).into_iter().flatten();
        services.map(|(service, _)| service)
    }

    /// The IPs of all members that count for a service.
    pub(super) fn member_ips(&self, service: &Key) -> impl Iterator<Item = IpAddr> {
        ips(self.groups(service))
    }

    /// The keys of all slices.
    pub(super) fn slices(&self) -> impl ExactSizeIterator<Item = &Key> {
        self.services.keys()
    }

    /// The keys of all Endpoints objects that name an endpoint.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = &Key> {
        let all = self.by_service.iter();
        let named = all.filter(|(_, behind)| !behind.endpoints.is_empty());
        named.map(|(service, _)| service)
    }

    /// All members of all slices.
    pub(super) fn all(&self) -> impl Iterator<Item = &Member> {
        let slices = self.by_service.values().flat_map(|it| it.slices.values());
        slices.flat_map(|group| &group.members)
    }

    pub(super) fn members(&self) -> usize {
        self.members
    }
}

fn ips<'a>(groups: impl IntoIterator<Item = &'a Group>) -> impl Iterator<Item = IpAddr> {
    let members = groups.into_iter().flat_map(|group| &group.members);
    members.map(|member| member.ip)
}

/// The IPs at which two versions of a group differ.
fn differing<'a>(old: Option<&'a Group>, new: Option<&'a Group>, ips: &mut BTreeSet<IpAddr>) {
    let members = |group: Option<&'a Group>| -> BTreeSet<&'a Member> {
        group.into_iter().flat_map(|group| &group.members).collect()
    };
    let (before, after) = (members(old), members(new));
    let same_ports = old.map(|group| &group.ports) == new.map(|group| &group.ports);
    if same_ports {
        let differing = before.symmetric_difference(&after);
        ips.extend(differing.map(|member| member.ip));
    } else {
        ips.extend(before.iter().chain(&after).map(|member| member.ip));
    }
}
