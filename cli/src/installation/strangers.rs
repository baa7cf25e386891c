//! What is in the system namespace besides Netting, and would go with it: of every kind
//! that the API server has, for nobody gets back what a namespace took along.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIResource, ObjectMeta};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams},
    core::GroupVersionKind,
};

use super::PART_OF;
use crate::cluster::{Asked as _, Cluster};

/// How many kinds are listed at once.
const LISTS_MAX: usize = 8;
/// Kinds whose objects are told of and made again, and nobody's own.
const REPORTS: [&str; 3] = ["Event", "Endpoints", "EndpointSlice"];

/// What of it there is: its kind and name, or what can't be looked at, in words.
///
/// # Errors
/// If it can't be listed.
pub async fn find(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let (kinds, mut found) = kinds(&cluster.client()).await?;
    let lists = stream::iter(&kinds).map(|kind| list(cluster, kind));
    let lists: Vec<Listed> = lists.buffered(LISTS_MAX).try_collect().await?;
    let mut objects = Vec::new();
    for listed in lists {
        match listed {
            Listed::Objects(listed) => objects.extend(listed),
            Listed::Hidden(what) => found.push(what),
        }
    }
    let uids: BTreeSet<&str> = objects
        .iter()
        .filter_map(|(_, one)| one.uid.as_deref())
        .collect();
    let strangers = objects.iter().filter(|(kind, one)| {
        let mut owners = one.owner_references.iter().flatten();
        // What has an owner here goes with that, which is told of itself.
        let is_owned = owners.any(|owner| uids.contains(owner.uid.as_str()));
        !is_owned && !is_ours(one) && !is_given(kind, one)
    });
    found.extend(strangers.map(|(kind, one)| {
        let name = one.name.as_deref().unwrap_or_default();
        format!("{kind} {name}")
    }));
    Ok(found)
}

/// What came of listing a kind.
enum Listed {
    Objects(Vec<(String, ObjectMeta)>),
    /// Nobody may look, so that it stays; in words.
    Hidden(String),
}

async fn list(cluster: &Cluster, kind: &ApiResource) -> anyhow::Result<Listed> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(cluster.client(), &cluster.system_namespace, kind);
    let listed = match api.list_metadata(&ListParams::default()).await {
        // A kind that went meanwhile, or can't be listed after all, has no objects.
        Err(kube::Error::Api(status)) if [404, 405].contains(&status.code) => {
            return Ok(Listed::Objects(Vec::new()));
        }
        Err(kube::Error::Api(status)) if status.code == 403 => {
            let what = format!("what {} there are, which you may not list", kind.plural);
            return Ok(Listed::Hidden(what));
        }
        listed => listed.asked(&format!("list {}", kind.plural))?,
    };
    let objects = listed.into_iter();
    let objects = objects.map(|one| (kind.kind.clone(), one.metadata));
    Ok(Listed::Objects(objects.collect()))
}

/// All kinds with objects in namespaces, each in one version; and the groups that
/// can't be asked, since whatever serves them is down.
async fn kinds(client: &Client) -> anyhow::Result<(Vec<ApiResource>, Vec<String>)> {
    let core = client.list_core_api_resources("v1").await;
    let core = core.asked("ask which kinds there are")?.resources;
    let mut kinds: Vec<ApiResource> = core
        .iter()
        .filter_map(|one| of_namespaces("", "v1", one))
        .collect();
    let mut silent = Vec::new();
    let groups = client.list_api_groups().await;
    for group in groups.asked("ask which groups of kinds there are")?.groups {
        for version in &group.versions {
            let listed = client
                .list_api_group_resources(&version.group_version)
                .await;
            let Ok(listed) = listed else {
                silent.push(format!("what {} has, which does not answer", group.name));
                break;
            };
            for one in &listed.resources {
                let is_known = kinds
                    .iter()
                    .any(|known| known.group == group.name && known.plural == one.name);
                if !is_known {
                    kinds.extend(of_namespaces(&group.name, &version.version, one));
                }
            }
        }
    }
    Ok((kinds, silent))
}

/// What can't be deleted, as metrics of pods, is only shown there. (Subresources can't
/// be listed.)
fn of_namespaces(group: &str, version: &str, one: &APIResource) -> Option<ApiResource> {
    let can = |verb: &str| one.verbs.iter().any(|known| known == verb);
    let asked = one.namespaced && can("list") && can("delete");
    (asked && !REPORTS.contains(&one.kind.as_str())).then(|| {
        let kind = GroupVersionKind::gvk(group, version, &one.kind);
        ApiResource::from_gvk_with_plural(&kind, &one.name)
    })
}

fn is_ours(metadata: &ObjectMeta) -> bool {
    let label = metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get(PART_OF.0));
    label.is_some_and(|value| value == PART_OF.1)
}

/// Whether it is put into every namespace: CA bundles, the default service account,
/// tokens of service accounts (Secrets before Kubernetes 1.24), and what OpenShift adds.
fn is_given(kind: &str, metadata: &ObjectMeta) -> bool {
    let name = metadata.name.as_deref().unwrap_or_default();
    match kind {
        "ConfigMap" => [
            "kube-root-ca.crt",
            "istio-ca-root-cert",
            "openshift-service-ca.crt",
        ]
        .contains(&name),
        "ServiceAccount" => ["default", "builder", "deployer"].contains(&name),
        "RoleBinding" => [
            "system:deployers",
            "system:image-builders",
            "system:image-pullers",
        ]
        .contains(&name),
        "Secret" => {
            let token = "kubernetes.io/service-account.name";
            let annotations = metadata.annotations.as_ref();
            annotations.is_some_and(|annotations| annotations.contains_key(token))
        }
        _ => false,
    }
}
