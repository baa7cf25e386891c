//! Netting in a cluster: what of it is there, and how it gets there and away again.
//!
//! In reading order: [`kinds`], what Netting consists of; [`Installation`], what of it
//! was found; [`permissions`] and [`escalation`], whether the rest will be allowed;
//! [`apply`], one object; [`ready`], until it works, with [`trial`] of a pod;
//! [`removal`], until nothing is left, but for [`strangers`].

use std::collections::BTreeMap;

use kube::{Api, api::DynamicObject, api::ListParams};
use serde_json::{Value, json};

use crate::{
    cluster::{Asked as _, Cluster},
    manifests::{self, Settings},
};

pub mod apply;
pub mod escalation;
pub mod kinds;
pub mod permissions;
pub mod progress;
pub mod ready;
pub mod removal;
pub mod strangers;
#[cfg(test)]
mod tests;
pub mod trial;
mod versions;

pub use versions::{Refusal, upgrade_refusal};

/// The label of everything that is Netting's, and its value.
pub const PART_OF: (&str, &str) = ("app.kubernetes.io/part-of", "netting");

/// Selects what has that label, in a list.
#[must_use]
pub fn selector() -> String {
    let (label, value) = PART_OF;
    format!("{label}={value}")
}

/// What of Netting is in a cluster: plain objects, as the API server has them.
#[derive(Clone, Debug, Default)]
pub struct Installation {
    namespace: String,
    objects: Vec<Value>,
}

impl Installation {
    /// Looks for all that is labelled as Netting's: cluster-wide objects, those in the
    /// system namespace, that namespace itself whatever its labels, and Deployments
    /// elsewhere.
    ///
    /// # Errors
    /// If something can't be listed.
    pub async fn find(cluster: &Cluster) -> anyhow::Result<Self> {
        let namespace = &cluster.system_namespace;
        let mut objects = Vec::new();
        for kind in kinds::ALL.iter().map(|kind| kind()) {
            let resource = &kind.resource;
            let doing = format!("list {}", resource.plural);
            let api: Api<DynamicObject> = if resource.kind == "Namespace" {
                let api: Api<DynamicObject> = Api::all_with(cluster.client(), resource);
                let found = api.get_opt(namespace).await.asked("get the namespace")?;
                objects.extend(found.map(|found| kind.value(&found)));
                continue;
            } else if kind.namespaced && resource.kind != "Deployment" {
                Api::namespaced_with(cluster.client(), namespace, resource)
            } else {
                Api::all_with(cluster.client(), resource)
            };
            let ours = ListParams::default().labels(&selector());
            match api.list(&ours).await {
                Ok(list) => objects.extend(list.iter().map(|found| kind.value(found))),
                // An API server that has no such kind has none of ours.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error).asked(&doing),
            }
        }
        Ok(Self::new(namespace, objects))
    }

    /// What was found, for the installation in `namespace`.
    #[must_use]
    pub fn new(namespace: &str, objects: Vec<Value>) -> Self {
        Self {
            namespace: namespace.to_owned(),
            objects,
        }
    }

    /// All of it.
    #[must_use]
    pub fn objects(&self) -> &[Value] {
        &self.objects
    }

    /// Another namespace that Netting is installed in: cluster-wide objects have one
    /// owner, so there can't be two.
    #[must_use]
    pub fn elsewhere(&self) -> Option<&str> {
        let namespaces = self.objects.iter().filter_map(|object| self.place(object));
        let mut others = namespaces.filter(|namespace| *namespace != self.namespace);
        others.next()
    }

    /// The namespace of the installation that an object belongs to. Of what is
    /// cluster-wide it is the one that it leads to, as the last to apply it wanted; a
    /// ClusterRole is its binding's.
    fn place<'a>(&'a self, object: &'a Value) -> Option<&'a str> {
        let service = "/webhooks/0/clientConfig/service/namespace";
        match object["kind"].as_str()? {
            "MutatingWebhookConfiguration" => object.pointer(service)?.as_str(),
            "ClusterRoleBinding" => object.pointer("/subjects/0/namespace")?.as_str(),
            "ClusterRole" => {
                let is_bound = |binding: &&Value| {
                    binding["kind"] == "ClusterRoleBinding"
                        && binding["roleRef"]["name"] == object["metadata"]["name"]
                };
                self.place(self.objects.iter().find(is_bound)?)
            }
            _ => object.pointer("/metadata/namespace")?.as_str(),
        }
    }

    /// The version of each part that is there.
    #[must_use]
    pub fn versions(&self) -> BTreeMap<&str, &str> {
        let ours = self.objects.iter().filter(|object| {
            object["kind"] == "Deployment" && object["metadata"]["namespace"] == *self.namespace
        });
        let versions = ours.filter_map(|object| {
            let name = object["metadata"]["name"].as_str()?;
            let label = &object["metadata"]["labels"]["app.kubernetes.io/version"];
            Some((name, label.as_str().unwrap_or("unknown")))
        });
        versions.collect()
    }

    /// Of `wanted`, what is not there.
    #[must_use]
    pub fn missing(&self, wanted: &[Value]) -> Vec<String> {
        let there: Vec<String> = self.objects.iter().map(manifests::title).collect();
        let wanted = wanted.iter().map(manifests::title);
        wanted.filter(|title| !there.contains(title)).collect()
    }

    /// What was applied by an earlier run and is not in `wanted` any more. What others
    /// made, the webhook included, is not for us to judge.
    #[must_use]
    pub fn superfluous(&self, wanted: &[Value]) -> Vec<&Value> {
        let wanted: Vec<String> = wanted.iter().map(manifests::title).collect();
        let mut ours = self.to_remove();
        ours.retain(|object| {
            let managers = object["metadata"]["managedFields"].as_array();
            let mut managers = managers.into_iter().flatten();
            managers
                .any(|one| one["manager"] == apply::FIELD_MANAGER && one["operation"] == "Apply")
                && !wanted.contains(&manifests::title(object))
        });
        ours
    }

    /// The object of that title, if it is there.
    #[must_use]
    pub fn object(&self, title: &str) -> Option<&Value> {
        let mut objects = self.objects.iter();
        objects.find(|object| manifests::title(object) == title)
    }

    /// Whether Helm keeps it: what it has noted would no longer be so, if others
    /// changed the objects.
    #[must_use]
    pub fn is_helms(&self) -> bool {
        let mut objects = self.objects.iter();
        objects.any(|object| object["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm")
    }

    /// The settings that it was installed with.
    ///
    /// # Errors
    /// If they can't be read, as those of a newer version may not.
    pub fn settings(&self) -> Result<Settings, serde_json::Error> {
        let namespace = self.system_namespace();
        let text =
            namespace.and_then(|own| own["metadata"]["annotations"][manifests::SETTINGS].as_str());
        text.map_or_else(|| Ok(Settings::default()), serde_json::from_str)
    }

    /// The system namespace, if it is there.
    #[must_use]
    pub fn system_namespace(&self) -> Option<&Value> {
        let mut objects = self.objects.iter();
        objects.find(|object| object["kind"] == "Namespace")
    }

    /// Whether somebody else has made the system namespace: Netting neither labels nor
    /// removes it.
    #[must_use]
    pub fn is_guest(&self) -> bool {
        let own = self.system_namespace();
        own.is_some_and(|own| own["metadata"]["labels"][PART_OF.0] != PART_OF.1)
    }

    /// Whether the system namespace has a note of the settings.
    #[must_use]
    pub fn is_noted(&self) -> bool {
        let own = self.system_namespace();
        own.is_some_and(|own| own["metadata"]["annotations"][manifests::SETTINGS].is_string())
    }

    /// What of the manifests is to be applied here: of a namespace that somebody else
    /// has made no more than the note of the settings, if there is one or was.
    #[must_use]
    pub fn adapted(&self, mut wanted: Vec<Value>) -> Vec<Value> {
        if !self.is_guest() {
            return wanted;
        }
        wanted.retain_mut(|object| {
            if object["kind"] != "Namespace" {
                return true;
            }
            let note = object["metadata"]["annotations"].take();
            let is_noted = !note.is_null();
            object["metadata"] = json!({"name": object["metadata"]["name"]});
            if is_noted {
                object["metadata"]["annotations"] = note;
            }
            is_noted || self.is_noted()
        });
        wanted
    }

    /// If the namespace is on its way out: what still holds it, as its conditions say.
    #[must_use]
    pub fn terminating(&self) -> Option<String> {
        let namespace = self.system_namespace()?;
        namespace["metadata"]["deletionTimestamp"].as_str()?;
        Some(removal::held_by(namespace))
    }

    /// What no installation and no upgrade can do anything about by itself, with what
    /// to do about it.
    #[must_use]
    pub fn in_the_way(&self) -> Option<String> {
        if let Some(other) = self.elsewhere() {
            return Some(format!(
                "Netting is installed in the namespace {other}, and a cluster has one: name it by \
                 --system-namespace {other}, or remove it first by netting uninstall --system-namespace {other}"
            ));
        }
        if self.is_helms() {
            return Some(
                "Helm has installed Netting here: use helm upgrade, or helm uninstall first"
                    .to_owned(),
            );
        }
        self.terminating().map(|held| {
            format!(
                "the namespace {} is being deleted ({held}); wait until it is gone, or finish \
                 that by netting uninstall, then run the same command again",
                self.namespace
            )
        })
    }
}
