//! EndpointSlices for Endpoints that somebody wrote by hand, for Services without a selector.

use std::{net::IpAddr, time::Duration};

use k8s_openapi::api::{
    core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams},
    runtime::{reflector::ObjectRef, reflector::Store, watcher},
};
use serde_json::{Value, json};

use super::{
    MANAGER, addresses, endpoints, owned,
    queue::{self, Place},
    slices::MANAGED_BY,
};

const OURS: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const SERVICE_NAME: &str = "kubernetes.io/service-name";

struct Controller {
    client: Client,
    services: Store<Service>,
    endpoints: Store<Endpoints>,
}

/// Keeps the mirrors up to date.
pub(super) async fn run(client: Client) {
    let queue = queue::Queue::new();
    let config = watcher::Config::default;
    let services = queue::watch(
        Api::all(client.clone()),
        config(),
        &queue,
        |one: &Service| vec![Place::of(one)],
    )
    .await;
    let endpoints = queue::watch(
        Api::all(client.clone()),
        config(),
        &queue,
        |one: &Endpoints| vec![Place::of(one)],
    )
    .await;
    let controller = Controller {
        client,
        services,
        endpoints,
    };
    queue::run("mirror", queue, |place| controller.look(place)).await;
}

impl Controller {
    async fn look(&self, place: Place) -> anyhow::Result<Option<Duration>> {
        let endpoints = self
            .endpoints
            .get(&ObjectRef::new(&place.name).within(&place.namespace));
        let service = self
            .services
            .get(&ObjectRef::new(&place.name).within(&place.namespace));
        let mirrored = endpoints.filter(|endpoints| {
            let labels = endpoints.labels();
            let ours = labels
                .get(endpoints::MANAGED_BY.0)
                .is_some_and(|by| by == endpoints::MANAGED_BY.1);
            !ours && labels.get(SKIP).map(String::as_str) != Some("true")
        });
        let has_service = service.is_some_and(|service| !addresses::is_selecting(&service));
        let mirrored = mirrored.filter(|_| has_service);
        let wanted = mirrored.as_deref().map(slices).unwrap_or_default();
        let api: Api<EndpointSlice> = Api::namespaced(self.client.clone(), &place.namespace);
        let mine = format!("{SERVICE_NAME}={},{MANAGED_BY}={OURS}", place.name);
        let mut existing = api.list(&ListParams::default().labels(&mine)).await?.items;
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        for mut slice in wanted {
            let same = |one: &EndpointSlice| {
                one.address_type == slice.address_type && one.ports == slice.ports
            };
            if let Some(index) = existing.iter().position(same) {
                let current = existing.swap_remove(index);
                if current.endpoints != slice.endpoints {
                    slice.metadata.name = current.metadata.name;
                    slice.metadata.generate_name = None;
                    slice.metadata.resource_version = current.metadata.resource_version;
                    api.replace(&slice.name_any(), &params, &slice).await?;
                }
            } else {
                api.create(&params, &slice).await?;
            }
        }
        for left_over in existing {
            api.delete(&left_over.name_any(), &DeleteParams::default())
                .await?;
        }
        Ok(None)
    }
}

/// The slices that say what `endpoints` says: one for each subset and family.
fn slices(endpoints: &Endpoints) -> Vec<EndpointSlice> {
    let subsets = endpoints.subsets.iter().flatten();
    let slices = subsets.flat_map(|subset| {
        ["IPv4", "IPv6"].into_iter().filter_map(|family| {
            let addresses = of_family(subset, family);
            if addresses.is_empty() {
                return None;
            }
            let mut labels = json!(endpoints.labels());
            labels[MANAGED_BY] = OURS.into();
            labels[SERVICE_NAME] = endpoints.name_any().into();
            let ports = subset.ports.iter().flatten().map(|port| {
                json!({"name": port.name.as_deref().unwrap_or(""), "port": port.port,
                    "protocol": port.protocol.as_deref().unwrap_or("TCP"), "appProtocol": port.app_protocol})
            });
            serde_json::from_value(json!({
                "metadata": {"generateName": format!("{}-", endpoints.name_any()), "labels": labels,
                    "ownerReferences": [owned::reference(endpoints)]},
                "addressType": family, "endpoints": addresses, "ports": ports.collect::<Vec<_>>(),
            }))
            .ok()
        })
    });
    slices.collect()
}

fn of_family(subset: &EndpointSubset, family: &str) -> Vec<Value> {
    let ready = subset
        .addresses
        .iter()
        .flatten()
        .map(|address| (address, true));
    let unready = subset
        .not_ready_addresses
        .iter()
        .flatten()
        .map(|address| (address, false));
    ready
        .chain(unready)
        .filter(|(address, _)| is_of(address, family))
        .map(|(address, ready)| {
            json!({"addresses": [address.ip], "conditions": {"ready": ready}, "hostname": address.hostname,
                "nodeName": address.node_name, "targetRef": address.target_ref})
        })
        .collect()
}

fn is_of(address: &EndpointAddress, family: &str) -> bool {
    match address.ip.parse() {
        Ok(IpAddr::V4(_)) => family == "IPv4",
        Ok(IpAddr::V6(_)) => family == "IPv6",
        Err(_) => false,
    }
}
