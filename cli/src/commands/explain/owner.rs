//! What has an address.

use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use kube::{Api, ResourceExt as _, api::ListParams};
use netting_webhook::names::INJECTED;

use crate::{
    cluster::{Asked as _, Cluster},
    explain::{connection::Owner, service::is_node_local},
    workload::has_ended,
};

/// What the API server leaves out for us: of the fields of a pod's status it looks at few, and
/// at the first of its addresses alone.
const HAVE_NOT_ENDED: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// The service or pod that has an address, of all namespaces.
pub(super) async fn owner(cluster: &Cluster, address: SocketAddr) -> anyhow::Result<Owner> {
    let services: Api<Service> = Api::all(cluster.client());
    let services = services
        .list(&ListParams::default())
        .await
        .asked("list Services")?;
    if let Some(service) = services.iter().find(|one| has(one, address.ip())) {
        let port = port(service, &address.port().to_string());
        return Ok(at(service, port.map(|(_, name)| name)));
    }
    let pods: Api<Pod> = Api::all(cluster.client());
    let running = ListParams::default().fields(HAVE_NOT_ENDED);
    let pods = pods.list(&running).await.asked("list Pods")?;
    let holder = holder(&pods.items, address.ip());
    Ok(holder.map_or(Owner::Nobody, |pod| Owner::Pod {
        namespace: pod.namespace().unwrap_or_default(),
        name: pod.name_any(),
        meshed: pod.labels().contains_key(INJECTED),
    }))
}

/// A service, at the port of that name if it has one there.
pub(super) fn at(service: &Service, port: Option<String>) -> Owner {
    Owner::Service {
        namespace: service.namespace().unwrap_or_default(),
        name: service.name_any(),
        port,
        node_local: is_node_local(service),
    }
}

/// The number and the name of a service's TCP port, by either.
pub(super) fn port(service: &Service, wanted: &str) -> Option<(u16, String)> {
    let ports = service.spec.as_ref()?.ports.as_ref()?;
    let mut tcp = ports
        .iter()
        .filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
    let is_it = |port: &&ServicePort| {
        port.port.to_string() == wanted || port.name.as_deref() == Some(wanted)
    };
    let port = tcp.find(is_it)?;
    let name = port.name.clone().unwrap_or_default();
    Some((u16::try_from(port.port).ok()?, name))
}

fn has(service: &Service, ip: IpAddr) -> bool {
    let spec = service.spec.as_ref();
    let ips = spec.and_then(|spec| spec.cluster_ips.as_ref());
    ips.into_iter().flatten().any(|own| is(own, ip))
}

/// The pod that has an address of its own. An address is given again when a pod has ended,
/// which keeps it in its status, and may be while one is ending: the youngest has it.
fn holder(pods: &[Pod], ip: IpAddr) -> Option<&Pod> {
    let has = |pod: &&Pod| {
        let shares_its_nodes = pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
        let status = pod.status.as_ref();
        let ips = status.and_then(|status| status.pod_ips.as_ref());
        let mut ips = ips.into_iter().flatten();
        !shares_its_nodes && !has_ended(pod) && ips.any(|own| is(&own.ip, ip))
    };
    let started = |pod: &&Pod| pod.status.as_ref()?.start_time.as_ref().map(|time| time.0);
    pods.iter().filter(has).max_by_key(started)
}

/// Addresses can be written in several ways, those of IPv6 above all.
fn is(written: &str, ip: IpAddr) -> bool {
    written.parse() == Ok(ip)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, status: Value) -> Pod {
        let pod = json!({"metadata": {"namespace": "shop", "name": name}, "status": status});
        serde_json::from_value(pod).expect("a pod")
    }

    fn running(name: &str, ips: &[&str], minute: u8) -> Pod {
        let ips: Vec<Value> = ips.iter().map(|ip| json!({"ip": ip})).collect();
        let started = format!("2026-01-01T00:{minute:02}:00Z");
        pod(
            name,
            json!({"phase": "Running", "podIP": ips[0]["ip"], "podIPs": ips, "startTime": started}),
        )
    }

    fn holder_of(pods: &[Pod], ip: &str) -> Option<String> {
        let ip = ip.parse().expect("an address");
        holder(pods, ip).map(Pod::name_any)
    }

    #[test]
    fn a_pod_that_has_ended_has_no_address() {
        for phase in ["Succeeded", "Failed"] {
            let mut ended = running("migrate", &["10.0.0.7"], 5);
            ended.status.as_mut().expect("it has one").phase = Some(phase.to_owned());
            assert_eq!(holder_of(&[ended.clone()], "10.0.0.7"), None);
            let all = [ended, running("web", &["10.0.0.7"], 1)];
            assert_eq!(holder_of(&all, "10.0.0.7").as_deref(), Some("web"));
        }
    }

    #[test]
    fn an_address_of_two_pods_is_the_youngers() {
        let (old, new) = (
            running("a", &["10.0.0.7"], 1),
            running("b", &["10.0.0.7"], 2),
        );
        for pods in [[old.clone(), new.clone()], [new, old]] {
            assert_eq!(holder_of(&pods, "10.0.0.7").as_deref(), Some("b"));
        }
    }

    #[test]
    fn a_pod_has_addresses_of_both_families() {
        let pods = [running("web", &["10.0.0.7", "fd00::7"], 1)];
        for ip in ["10.0.0.7", "fd00::7", "fd00:0:0::7"] {
            assert_eq!(holder_of(&pods, ip).as_deref(), Some("web"), "{ip}");
        }
        assert_eq!(holder_of(&pods, "10.0.0.70"), None);
    }

    #[test]
    fn an_address_of_a_node_is_no_pods() {
        let mut host = running("host", &["192.168.0.1"], 1);
        let spec = json!({"hostNetwork": true, "containers": []});
        host.spec = serde_json::from_value(spec).expect("a spec");
        assert_eq!(holder_of(&[host], "192.168.0.1"), None);
    }
}
