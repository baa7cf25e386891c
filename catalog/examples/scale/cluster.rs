//! A cluster of 5,000 services with 50,000 endpoints.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use netting_catalog::objects::{
    Born, Family, Group, GroupPort, Key, Member, Service, ServicePort, Slice,
};

pub(crate) const SERVICES: u32 = 5_000;
pub(crate) const ENDPOINTS_OF_A_SERVICE: u32 = 10;
/// Streams of a group follow the same addresses.
pub(crate) const GROUPS: u32 = 20;
pub(crate) const ADDRESSES_OF_A_STREAM: u32 = 20;

/// The services that a stream follows: others follow the same ones.
pub(crate) fn addresses(stream: u32) -> impl Iterator<Item = u32> {
    let group = stream % (GROUPS);
    (0..ADDRESSES_OF_A_STREAM).map(move |at| group * ADDRESSES_OF_A_STREAM + at)
}

pub(crate) fn cluster_ip(at: u32) -> IpAddr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 96, 0, 1)) + at).into()
}

pub(crate) fn service(at: u32) -> Service {
    Service {
        key: Key::new(format!("namespace-{}", at % 100), format!("service-{at}")),
        born: Born::default(),
        cluster_ips: vec![cluster_ip(at)],
        ports: vec![ServicePort {
            name: "http".into(),
            port: 80,
            protocol_hint: "http".into(),
        }],
        publish_not_ready: false,
        node_local: false,
        traffic: Arc::default(),
        complaints: Vec::new(),
    }
}

/// The slice of a service; in each round but the first another of its endpoints is
/// not ready.
pub(crate) fn slice(at: u32, round: u32) -> Slice {
    let service = service(at).key;
    let members = (0..ENDPOINTS_OF_A_SERVICE).map(|member| {
        let ip = u32::from(Ipv4Addr::new(10, 128, 0, 1)) + at * ENDPOINTS_OF_A_SERVICE + member;
        let pod = format!("service-{at}-7d4b9c6f8-{member:05}");
        Member {
            ip: Ipv4Addr::from(ip).into(),
            ready: round == 0 || round % ENDPOINTS_OF_A_SERVICE != member,
            serving: true,
            terminating: false,
            node: format!("node-{}", ip % 500).into(),
            zone: format!("zone-{}", ip % 3).into(),
            hints: None,
            pod: Some(Key::new(service.namespace.clone(), pod)),
        }
    });
    Slice {
        key: Key::new(service.namespace.clone(), format!("service-{at}-x7k2p")),
        group: Group {
            family: Family::V4,
            ports: vec![GroupPort {
                name: "http".into(),
                port: 8080,
                protocol_hint: "http".into(),
            }],
            members: members.collect(),
        },
        service,
    }
}
