//! Whether whoever runs the command may do all that it is about to do: asked before
//! the first change, so that none is made halfway.

use std::{collections::BTreeSet, fmt};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{
    Api,
    api::{ApiResource, PostParams},
};
use serde_json::Value;

use crate::cluster::{Asked as _, CannotAsk, Cluster};

use super::kinds::{self, Kind};

/// How many questions are under way at once.
const QUESTIONS_MAX: usize = 8;

/// Something that has to be allowed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Action {
    verb: &'static str,
    group: String,
    resource: String,
    /// `None` for the whole cluster.
    namespace: Option<String>,
}

impl Action {
    /// A verb on a resource of the core group, or a subresource (`pods/log`).
    #[must_use]
    pub fn core(verb: &'static str, resource: &str, namespace: Option<&str>) -> Self {
        Self::of(verb, "", resource, namespace)
    }

    /// A verb on a resource of any group.
    #[must_use]
    pub fn of(verb: &'static str, group: &str, resource: &str, namespace: Option<&str>) -> Self {
        Self {
            verb,
            group: group.to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.map(ToOwned::to_owned),
        }
    }
}

/// `create deployments.apps in netting`.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in {namespace}"),
            None => Ok(()),
        }
    }
}

/// What doing these things to these objects takes.
#[must_use]
pub fn needed(verbs: &[&'static str], objects: &[Value]) -> BTreeSet<Action> {
    let kinds = objects.iter().filter_map(|object| {
        let namespace = object["metadata"]["namespace"].as_str();
        Some((Kind::find(object)?, namespace.map(ToOwned::to_owned)))
    });
    kinds
        .flat_map(|(kind, namespace)| {
            verbs.iter().map(move |verb| Action {
                verb,
                group: kind.resource.group.clone(),
                resource: kind.resource.plural.clone(),
                namespace: namespace.clone(),
            })
        })
        .collect()
}

/// What finding out takes what is there, in the whole cluster and in the system
/// namespace.
#[must_use]
pub fn looking(namespace: &str) -> BTreeSet<Action> {
    let kinds = kinds::ALL.iter().map(|kind| kind());
    let actions = kinds.map(|kind| {
        let ApiResource { group, plural, .. } = &kind.resource;
        match kind.resource.kind.as_str() {
            "Namespace" => Action::of("get", group, plural, None),
            // Of another installation they tell where it is.
            "Deployment" => Action::of("list", group, plural, None),
            _ => Action::of("list", group, plural, kind.namespaced.then_some(namespace)),
        }
    });
    actions.collect()
}

/// Asks the API server about each.
///
/// # Errors
/// [`CannotAsk::Forbidden`] with all that is not allowed, or if it can't be asked.
pub async fn check(cluster: &Cluster, actions: &BTreeSet<Action>) -> anyhow::Result<()> {
    let refused = refused(cluster, actions).await?;
    if refused.is_empty() {
        return Ok(());
    }
    let refused: Vec<String> = refused.iter().map(ToString::to_string).collect();
    Err(CannotAsk::Forbidden {
        doing: "do all of this, so nothing was begun".to_owned(),
        message: format!("missing are {}", refused.join(", ")),
    }
    .into())
}

/// Asks the API server about each, and returns what is not allowed.
///
/// # Errors
/// If it can't be asked.
pub async fn refused(cluster: &Cluster, actions: &BTreeSet<Action>) -> anyhow::Result<Vec<Action>> {
    let answers = stream::iter(actions).map(|action| async move {
        let allowed = is_allowed(cluster, action).await?;
        anyhow::Ok((!allowed).then(|| action.clone()))
    });
    let answers: Vec<_> = answers.buffered(QUESTIONS_MAX).try_collect().await?;
    Ok(answers.into_iter().flatten().collect())
}

async fn is_allowed(cluster: &Cluster, action: &Action) -> anyhow::Result<bool> {
    let (resource, subresource) = match action.resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (action.resource.as_str(), None),
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                verb: Some(action.verb.to_owned()),
                group: Some(action.group.clone()),
                resource: Some(resource.to_owned()),
                subresource,
                namespace: action.namespace.clone(),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(cluster.client());
    let answer = reviews.create(&PostParams::default(), &review).await;
    let status = answer.asked("ask what is allowed")?.status;
    Ok(status.is_some_and(|status| status.allowed))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_kind_is_asked_about_once_for_each_place() {
        let binding = |kind: &str, metadata| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata});
        let objects = [
            binding("ClusterRole", json!({"name": "a"})),
            binding("ClusterRole", json!({"name": "b"})),
            binding("Role", json!({"name": "a", "namespace": "netting"})),
        ];
        let asked: Vec<String> = needed(&["create", "patch"], &objects)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            asked,
            [
                "create clusterroles.rbac.authorization.k8s.io",
                "create roles.rbac.authorization.k8s.io in netting",
                "patch clusterroles.rbac.authorization.k8s.io",
                "patch roles.rbac.authorization.k8s.io in netting",
            ]
        );
    }
}
