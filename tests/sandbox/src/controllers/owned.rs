//! Owners and what they own: `metadata.ownerReferences`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::{
    Resource, ResourceExt as _,
    api::ListParams,
    core::{Selector, SelectorExt as _},
};

use super::queue::Place;

/// The reference that makes `owner` the controller of whatever carries it.
pub(super) fn reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        block_owner_deletion: Some(true),
        ..owner.controller_owner_ref(&()).unwrap_or_default()
    }
}

/// Whether `owner` is the controller of `object`.
pub(super) fn controls<O: Resource, K: Resource>(owner: &O, object: &K) -> bool {
    let uid = owner.uid().unwrap_or_default();
    object
        .owner_references()
        .iter()
        .any(|one| one.controller == Some(true) && one.uid == uid)
}

/// Where the controller of `object` is, if it is of `kind`.
pub(super) fn controller<K: Resource>(object: &K, kind: &str) -> Vec<Place> {
    let owners = object.owner_references().iter();
    let owners = owners.filter(|one| one.controller == Some(true) && one.kind == kind);
    owners.map(|one| Place::beside(object, &one.name)).collect()
}

/// What a workload's selector lists.
pub(super) fn selected(selector: &LabelSelector) -> anyhow::Result<ListParams> {
    let selector = Selector::try_from(selector.clone())?;
    Ok(ListParams::default().labels_from(&selector))
}

/// Whether `selector`, a plain map of labels, selects `labels`. An empty one selects nothing.
pub(super) fn matches<'a>(
    selector: &std::collections::BTreeMap<String, String>,
    labels: impl Into<Option<&'a std::collections::BTreeMap<String, String>>>,
) -> bool {
    let Some(labels) = labels.into() else {
        return false;
    };
    !selector.is_empty() && Selector::from_iter(selector.clone()).matches(labels)
}
