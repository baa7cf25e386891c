//! Endpoints of Services that select pods: the older form of what slices say.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DeleteParams, DynamicObject, PostParams},
    runtime::{reflector::ObjectRef, reflector::Store, watcher},
};
use parking_lot::Mutex;
use serde_json::json;

use super::{
    MANAGER,
    addresses::{self, TriggerTimes},
    queue::{self, Place},
    slices::services_of,
};

/// The label of Endpoints that this controller looks after.
pub(super) const MANAGED_BY: (&str, &str) =
    ("endpoints.kubernetes.io/managed-by", "endpoint-controller");

struct Controller {
    client: Client,
    services: Store<Service>,
    pods: Store<Pod>,
    trigger_times: Mutex<TriggerTimes>,
}

/// Keeps the Endpoints of all Services up to date.
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
    let controller = Controller {
        client,
        services,
        pods,
        trigger_times: Mutex::default(),
    };
    queue::run("endpoints", queue, |place| controller.look(place)).await;
}

impl Controller {
    async fn look(&self, place: Place) -> anyhow::Result<Option<Duration>> {
        let api: Api<DynamicObject> = Api::namespaced_with(
            self.client.clone(),
            &place.namespace,
            &ApiResource::erase::<Endpoints>(&()),
        );
        let current = api.get_opt(&place.name).await?;
        let is_ours = |one: &DynamicObject| {
            one.labels()
                .get(MANAGED_BY.0)
                .is_some_and(|by| by == MANAGED_BY.1)
        };
        let Some(service) = self
            .services
            .get(&ObjectRef::new(&place.name).within(&place.namespace))
        else {
            if current.as_ref().is_some_and(is_ours) {
                api.delete(&place.name, &DeleteParams::default()).await?;
            }
            return Ok(None);
        };
        if !addresses::is_selecting(&service) {
            return Ok(None);
        }
        let mut pods = self
            .pods
            .state_filter(|pod| addresses::selects(&service, pod));
        pods.sort_by_key(|pod| pod.name_any());
        let pods: Vec<&Pod> = pods.iter().map(|pod| &**pod).collect();
        let subsets = addresses::subsets(&service, &pods);
        let labels = addresses::labels(&service, MANAGED_BY);
        if let Some(current) = &current {
            let before = current
                .data
                .get("subsets")
                .and_then(|subsets| subsets.as_array());
            let same = before.map_or(&[][..], Vec::as_slice) == subsets;
            if same && json!(current.labels()) == json!(labels) {
                return Ok(None);
            }
        }
        let mut object = json!({"apiVersion": "v1", "kind": "Endpoints",
            "metadata": {"name": place.name, "labels": labels}});
        if let Some(time) = self.trigger_times.lock().advance(&service, &pods) {
            object["metadata"]["annotations"][addresses::TRIGGER_TIME] = time.into();
        }
        if !subsets.is_empty() {
            object["subsets"] = subsets.into();
        }
        let version = current.as_ref().and_then(DynamicObject::resource_version);
        object["metadata"]["resourceVersion"] = json!(version);
        let object: DynamicObject = serde_json::from_value(object)?;
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        match current {
            Some(_) => api.replace(&place.name, &params, &object).await.map(drop)?,
            None => api.create(&params, &object).await.map(drop)?,
        }
        Ok(None)
    }
}
