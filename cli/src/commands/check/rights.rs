//! Asks which rights are missing (`SelfSubjectAccessReview`).

use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{Api, Client, api::PostParams};

use crate::{check::facts::Right, cluster::Cluster};

const RBAC: &str = "rbac.authorization.k8s.io";
const INSTALLING: &str = "installing";
const LOOKING: &str = "looking at pods";

/// Group and resource of what is installed, each of which is created and patched.
const INSTALLED: [(&str, &str); 9] = [
    ("", "namespaces"),
    ("", "serviceaccounts"),
    ("", "services"),
    ("apps", "deployments"),
    (RBAC, "clusterroles"),
    (RBAC, "clusterrolebindings"),
    (RBAC, "roles"),
    (RBAC, "rolebindings"),
    (
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
    ),
];

/// What this command asks for, to say how the mesh is.
const ASKED: [(&str, &str, &str); 6] = [
    ("list", "", "pods"),
    ("list", "", "namespaces"),
    ("list", "apps", "deployments"),
    ("get", "", "pods/portforward"),
    ("create", "", "pods/portforward"),
    ("list", "events.k8s.io", "events"),
];

/// Those of the rights that whoever asks lacks.
///
/// # Errors
/// If it can't be asked.
pub(super) async fn missing(cluster: &Cluster) -> kube::Result<Vec<Right>> {
    let right = |verb, group, resource, purpose| Right {
        verb,
        group,
        resource,
        purpose,
    };
    let installing = INSTALLED.iter().flat_map(|(group, resource)| {
        ["create", "patch"].map(|verb| right(verb, *group, *resource, INSTALLING))
    });
    let looking = ASKED
        .iter()
        .map(|(verb, group, resource)| right(verb, *group, *resource, LOOKING));
    let client = cluster.client();
    let asked = futures_util::stream::iter(installing.chain(looking)).map(async |right| {
        let allowed = is_allowed(&client, &right).await?;
        kube::Result::Ok((!allowed).then_some(right))
    });
    let asked = asked.buffered(8);
    asked
        .try_filter_map(async |missing| Ok(missing))
        .try_collect()
        .await
}

async fn is_allowed(client: &Client, right: &Right) -> kube::Result<bool> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let (resource, subresource) = match right.resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (right.resource, None),
    };
    let attributes = ResourceAttributes {
        verb: Some(right.verb.to_owned()),
        group: Some(right.group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource,
        ..ResourceAttributes::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviewed = reviews.create(&PostParams::default(), &review).await?;
    Ok(reviewed.status.is_some_and(|status| status.allowed))
}
