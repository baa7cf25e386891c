//! EndpointSlices of Services that select pods.

use std::{collections::HashMap, time::Duration};

use k8s_openapi::api::{
    core::v1::{Node, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, PostParams},
    runtime::{reflector::ObjectRef, reflector::Store, watcher},
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{
    MANAGER,
    addresses::{self, Group, TriggerTimes},
    queue::{self, Place},
};

/// The label that says who looks after a slice.
pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const OURS: &str = "endpointslice-controller.k8s.io";
const SERVICE_NAME: &str = "kubernetes.io/service-name";

struct Controller {
    client: Client,
    services: Store<Service>,
    pods: Store<Pod>,
    nodes: Store<Node>,
    trigger_times: Mutex<TriggerTimes>,
}

/// Keeps the slices of all Services up to date.
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
    let pods = queue::watch(
        Api::all(client.clone()),
        config(),
        &queue,
        services_of(services.clone()),
    )
    .await;
    let nodes = queue::watch(Api::all(client.clone()), config(), &queue, |_: &Node| {
        Vec::new()
    })
    .await;
    // Slices that somebody else changed or removed are mended.
    queue::watch(
        Api::all(client.clone()),
        config().labels(&format!("{MANAGED_BY}={OURS}")),
        &queue,
        |slice: &EndpointSlice| {
            slice
                .labels()
                .get(SERVICE_NAME)
                .map(|service| Place::beside(slice, service))
                .into_iter()
                .collect()
        },
    )
    .await;
    let controller = Controller {
        client,
        services,
        pods,
        nodes,
        trigger_times: Mutex::default(),
    };
    queue::run("slices", queue, |place| controller.look(place)).await;
}

/// Which Services a pod's change concerns: those of its namespace that select it now, or did before.
/// A pod's labels rarely change, so all that could have selected it are looked at.
pub(super) fn services_of(
    services: Store<Service>,
) -> impl Fn(&Pod) -> Vec<Place> + Send + 'static {
    move |pod| {
        let services = services.state_filter(|service| {
            service.namespace() == pod.namespace() && addresses::is_selecting(service)
        });
        services
            .iter()
            .map(|service| Place::of(&**service))
            .collect()
    }
}

impl Controller {
    async fn look(&self, place: Place) -> anyhow::Result<Option<Duration>> {
        let reference = ObjectRef::new(&place.name).within(&place.namespace);
        // The slices of a Service that is gone are garbage, and collected as such.
        let Some(service) = self
            .services
            .get(&reference)
            .filter(|service| addresses::is_selecting(service))
        else {
            return Ok(None);
        };
        let mut pods = self
            .pods
            .state_filter(|pod| addresses::selects(&service, pod));
        pods.sort_by_key(|pod| pod.name_any());
        let pods: Vec<&Pod> = pods.iter().map(|pod| &**pod).collect();
        let nodes: HashMap<String, Node> = self
            .nodes
            .state()
            .iter()
            .map(|node| (node.name_any(), Node::clone(node)))
            .collect();
        let wanted = addresses::groups(&service, &pods, &nodes);
        let api: Api<DynamicObject> = Api::namespaced_with(
            self.client.clone(),
            &place.namespace,
            &ApiResource::erase::<EndpointSlice>(&()),
        );
        let mine = format!("{SERVICE_NAME}={},{MANAGED_BY}={OURS}", place.name);
        let mut existing = api.list(&ListParams::default().labels(&mine)).await?.items;
        let labels = addresses::labels(&service, (MANAGED_BY, OURS));
        let mut trigger = None;
        let mut advanced = false;
        for group in wanted {
            let current = take_matching(&mut existing, &group);
            let mut content = json!({"metadata": {"labels": labels},
                "endpoints": group.endpoints, "ports": group.ports});
            content["metadata"]["labels"][SERVICE_NAME] = place.name.as_str().into();
            if current
                .as_ref()
                .is_some_and(|current| is_current(current, &content))
            {
                continue;
            }
            if !advanced {
                trigger = self.trigger_times.lock().advance(&service, &pods);
                advanced = true;
            }
            if let Some(time) = &trigger {
                content["metadata"]["annotations"][addresses::TRIGGER_TIME] = time.as_str().into();
            }
            write(&api, &service, current, &group.family, content).await?;
        }
        for left_over in existing {
            api.delete(&left_over.name_any(), &DeleteParams::default())
                .await?;
        }
        Ok(None)
    }
}

/// The slice to use for `group`: one with the same ports, or else any that would go to waste.
fn take_matching(existing: &mut Vec<DynamicObject>, group: &Group) -> Option<DynamicObject> {
    let fits = |slice: &DynamicObject| slice.data["addressType"] == group.family.as_str();
    let same_ports = existing
        .iter()
        .position(|slice| fits(slice) && slice.data["ports"] == group.ports);
    let index = same_ports.or_else(|| existing.iter().position(fits))?;
    Some(existing.swap_remove(index))
}

fn is_current(slice: &DynamicObject, content: &Value) -> bool {
    slice.data["endpoints"] == content["endpoints"]
        && slice.data["ports"] == content["ports"]
        && json!(slice.labels()) == content["metadata"]["labels"]
}

async fn write(
    api: &Api<DynamicObject>,
    service: &Service,
    current: Option<DynamicObject>,
    family: &str,
    content: Value,
) -> kube::Result<()> {
    let params = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    let mut object = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family});
    object["endpoints"] = content["endpoints"].clone();
    object["ports"] = content["ports"].clone();
    object["metadata"] = content["metadata"].clone();
    object["metadata"]["ownerReferences"] = json!([addresses::owner(service)]);
    if let Some(current) = &current {
        object["metadata"]["name"] = current.name_any().into();
        object["metadata"]["resourceVersion"] = json!(current.resource_version());
    } else {
        object["metadata"]["generateName"] = format!("{}-", service.name_any()).into();
    }
    let object: DynamicObject = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
    match current {
        Some(current) => api
            .replace(&current.name_any(), &params, &object)
            .await
            .map(drop),
        None => api.create(&params, &object).await.map(drop),
    }
}
