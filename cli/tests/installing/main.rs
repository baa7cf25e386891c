//! `install`, `upgrade` and `uninstall` against an API server that is not as one would
//! wish: whatever goes wrong, the same command finishes it, and nothing is left.

#[path = "../observing/command.rs"]
mod command;
mod gateway;
mod objects;

use std::collections::{BTreeMap, BTreeSet};

use command::Said;
use futures_util::{StreamExt as _, stream};
use gateway::{Faults, Gateway, Lost, Trial};
use http::StatusCode;
use objects::{apply, everything};
use serde_json::{Value, json};

/// How many clusters there are at a time.
const CLUSTERS_MAX: usize = 6;
const INSTALL: &str = "install --no-wait";
const UPGRADE: &str = "upgrade --no-wait --ha --log-format=json";
const UNINSTALL: &str = "uninstall --yes";

fn ended_with(said: &Said, code: i32, says: &str) {
    assert_eq!(said.code, Some(code), "{said:#?}");
    assert!(said.stderr.contains(says), "{says}: {said:#?}");
}

/// A cluster in which these commands have been run.
async fn after(commands: &[&str]) -> Gateway {
    let gateway = Gateway::start().await;
    for command in commands {
        ended_with(&gateway.netting(command).await, 0, "");
    }
    gateway.fail(Faults::default()).await;
    gateway
}

/// The changes that a command makes after others.
async fn changes_of(before: &[&str], command: &str) -> usize {
    let gateway = after(before).await;
    ended_with(&gateway.netting(command).await, 0, "");
    gateway.changes().await.len()
}

/// Lets a command break off after each number of changes, each time in a cluster of its
/// own, and then has it run again without trouble.
async fn broken_off(
    before: &'static [&str],
    command: &'static str,
    expect: impl AsyncFn(&Gateway),
) {
    let changes = changes_of(before, command).await;
    assert!(changes > 10, "{command} changes {changes} times");
    // The next change lost, or the answer to the last: each state is left behind once.
    let places = (0..changes).map(|after| (after, Lost::Request));
    let places = places.chain([(changes - 1, Lost::Answer)]);
    let expect = &expect;
    let runs = stream::iter(places).map(async |(after, lost)| {
        let gateway = self::after(before).await;
        let breaks_off = Some((after, lost));
        gateway
            .fail(Faults {
                breaks_off,
                ..Faults::default()
            })
            .await;
        let broken = gateway.netting(command).await;
        ended_with(&broken, 1, "the same command goes on from there");
        gateway.fail(Faults::default()).await;
        let finished = gateway.netting(command).await;
        assert_eq!(
            finished.code,
            Some(0),
            "{after} {lost:?}: {broken:#?}\n{finished:#?}"
        );
        expect(&gateway).await;
    });
    runs.buffer_unordered(CLUSTERS_MAX)
        .collect::<Vec<()>>()
        .await;
}

/// That another run of it has nothing to do.
async fn is_whole(gateway: &Gateway, command: &str) {
    let again = gateway.netting(command).await;
    ended_with(&again, 0, "unchanged  Deployment netting/netting-webhook");
    for done in ["created ", "changed ", "removed "] {
        let line = again
            .stderr
            .lines()
            .find(|line| line.trim_start().starts_with(done));
        assert_eq!(line, None, "{again:#?}");
    }
}

#[tokio::test]
async fn an_installation_that_breaks_off_anywhere_is_finished_by_the_same_command() {
    broken_off(&[], INSTALL, async |gateway| {
        is_whole(gateway, INSTALL).await
    })
    .await;
}

#[tokio::test]
async fn an_upgrade_that_breaks_off_anywhere_is_finished_by_the_same_command() {
    broken_off(&[INSTALL], UPGRADE, async |gateway| {
        is_whole(gateway, UPGRADE).await
    })
    .await;
}

#[tokio::test]
async fn a_removal_that_breaks_off_anywhere_is_finished_by_the_same_command() {
    let before = everything(&Gateway::start().await.client).await;
    let titles: Vec<&String> = before.keys().collect();
    broken_off(&[INSTALL], UNINSTALL, async |gateway| {
        let after = everything(&gateway.client).await;
        assert_eq!(after.keys().collect::<Vec<_>>(), titles);
    })
    .await;
}

#[tokio::test]
async fn what_is_removed_leaves_every_object_byte_for_byte_but_for_versions() {
    let gateway = Gateway::start().await;
    let before = everything(&gateway.client).await;
    for command in [INSTALL, UPGRADE, UNINSTALL] {
        ended_with(&gateway.netting(command).await, 0, "");
    }
    assert_eq!(everything(&gateway.client).await, before);
}

/// What a command asks to be allowed, after others.
async fn rights_for(before: &[&str], command: &str) -> BTreeSet<String> {
    let gateway = after(before).await;
    // Without patience: there are no nodes that pods could run on.
    let asked = gateway.netting(&format!("{command} --timeout=0s")).await;
    assert_ne!(asked.code, Some(2), "{asked:#?}");
    gateway.rights().await
}

#[tokio::test]
async fn each_right_that_is_missing_is_named_and_nothing_is_begun() {
    for (before, command) in [
        (&[][..], "install"),
        (&[INSTALL], UPGRADE),
        (&[INSTALL], UNINSTALL),
    ] {
        let rights = rights_for(before, command).await;
        assert!(rights.len() > 10, "{command}: {rights:?}");
        let gateway = after(before).await;
        for right in rights {
            gateway
                .fail(Faults {
                    missing_right: Some(right.clone()),
                    ..Faults::default()
                })
                .await;
            let refused = gateway.netting(command).await;
            ended_with(&refused, 2, "nothing was begun");
            ended_with(&refused, 2, &format!("missing are {right};"));
            assert_eq!(gateway.changes().await, Vec::<String>::new(), "{right}");
        }
    }
}

#[tokio::test]
async fn what_is_refused_of_a_pod_on_trial_is_no_fault_of_the_installation_unless_it_is_the_sidecar()
 {
    for (trial, code, says) in [
        (
            Trial::Created(
                "netting: pod not injected: its namespace enforces Pod Security baseline",
            ),
            0,
            "of a pod in the namespace default it says: its namespace enforces Pod Security baseline",
        ),
        (
            Trial::Refused(
                StatusCode::BAD_REQUEST,
                "admission webhook \"images.example.com\" denied the request: unknown registry",
            ),
            0,
            "untried    pods on trial are refused: admission webhook \"images.example.com\"",
        ),
        (
            Trial::Refused(
                StatusCode::FORBIDDEN,
                "violates PodSecurity \"baseline:latest\": container \"netting-init\"",
            ),
            1,
            "pods with a sidecar are refused here",
        ),
        (Trial::Created("of something else"), 1, "a firewall rule"),
    ] {
        let gateway = Gateway::start().await;
        gateway
            .fail(Faults {
                trial: Some(trial),
                ..Faults::default()
            })
            .await;
        let installed = gateway.netting("install --timeout=0s").await;
        ended_with(&installed, code, says);
    }
}

#[tokio::test]
async fn rights_that_may_not_be_granted_are_named_and_nothing_is_begun() {
    // Of a ClusterRole, and of a Role, whose namespace is not there yet.
    for (before, rule, title) in [
        (&[][..], "limitranges", "ClusterRole netting-webhook"),
        (&[], "netting-webhook-tls", "Role netting/netting-webhook"),
        (
            &[INSTALL],
            "netting-webhook-tls",
            "Role netting/netting-webhook",
        ),
    ] {
        let gateway = after(before).await;
        gateway
            .fail(Faults {
                not_held: Some(rule),
                ..Faults::default()
            })
            .await;
        let command = if before.is_empty() { INSTALL } else { UPGRADE };
        let refused = gateway.netting(command).await;
        ended_with(
            &refused,
            2,
            "not allowed to grant the control plane its rights",
        );
        ended_with(&refused, 2, &format!("{title}: user \"me\" is attempting"));
        assert_eq!(gateway.changes().await, Vec::<String>::new(), "{title}");
    }
}

#[tokio::test]
async fn a_namespace_that_was_there_before_is_neither_labelled_nor_removed() {
    let gateway = Gateway::start().await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": "netting", "labels": {"team": "platform"}}});
    apply(&gateway.client, &namespace.to_string()).await;
    let before = everything(&gateway.client).await;
    let installed = gateway.netting(INSTALL).await;
    ended_with(
        &installed,
        0,
        "kept       Namespace netting: it was there before",
    );
    let there = everything(&gateway.client).await;
    let labels = |objects: &BTreeMap<String, Value>| {
        objects["Namespace /netting"]["metadata"]["labels"].clone()
    };
    assert_eq!(labels(&there), labels(&before));
    ended_with(&gateway.netting(UPGRADE).await, 0, "");
    let there = everything(&gateway.client).await;
    assert_eq!(labels(&there), labels(&before));
    let note = &there["Namespace /netting"]["metadata"]["annotations"];
    assert!(note["netting.dev/settings"].is_string(), "{note}");

    let removed = gateway.netting(UNINSTALL).await;
    ended_with(&removed, 0, "because it was not made by Netting");
    // Besides there is what controllers put into every namespace, sooner or later.
    let left = everything(&gateway.client).await;
    let own = "Namespace /netting";
    assert_eq!(labels(&left), labels(&before));
    let note = &left[own]["metadata"]["annotations"]["netting.dev/settings"];
    assert!(note.is_null(), "{note}");
    let is_ours = |title: &&String| title.contains("netting-") || title.ends_with(" /netting");
    let ours: Vec<&String> = left.keys().filter(is_ours).collect();
    assert_eq!(ours, [own]);
    ended_with(
        &gateway.netting(UNINSTALL).await,
        0,
        "Nothing of Netting is in",
    );
}

#[tokio::test]
async fn what_cannot_be_listed_is_named_and_nothing_is_begun() {
    let gateway = Gateway::start().await;
    for plural in [
        "mutatingwebhookconfigurations",
        "deployments",
        "secrets",
        "rolebindings",
    ] {
        gateway
            .fail(Faults {
                unlisted: Some(plural),
                ..Faults::default()
            })
            .await;
        for command in ["install", "upgrade", UNINSTALL] {
            let refused = gateway.netting(command).await;
            ended_with(&refused, 2, &format!("not allowed to list {plural}"));
        }
        assert_eq!(gateway.changes().await, Vec::<String>::new(), "{plural}");
    }
}

#[tokio::test]
async fn an_api_server_from_2020_is_refused_before_anything_is_begun() {
    let gateway = Gateway::start().await;
    gateway
        .fail(Faults {
            minor: Some(19),
            ..Faults::default()
        })
        .await;
    for command in ["install", "install --dry-run"] {
        let refused = gateway.netting(command).await;
        ended_with(
            &refused,
            1,
            "Netting needs Kubernetes 1.22 or later: upgrade the cluster first",
        );
    }
    ended_with(&gateway.netting("upgrade").await, 1, "use netting install");
    ended_with(&gateway.netting(UNINSTALL).await, 0, "Nothing of Netting");
    assert_eq!(gateway.changes().await, Vec::<String>::new());
}

#[tokio::test]
async fn two_installations_are_told_apart_and_removed_one_after_the_other() {
    for order in [["netting", "mesh"], ["mesh", "netting"]] {
        let gateway = Gateway::start().await;
        let before = everything(&gateway.client).await;
        ended_with(&gateway.netting(INSTALL).await, 0, "");
        // As somebody's pipeline would, which doesn't look first.
        let other = gateway.netting("render --system-namespace=mesh").await;
        apply(&gateway.client, &other.stdout).await;

        for [own, other] in [["netting", "mesh"], ["mesh", "netting"]] {
            for command in [INSTALL, "upgrade --no-wait"] {
                let command = format!("{command} --system-namespace={own}");
                let refused = gateway.netting(&command).await;
                let says = format!("netting uninstall --system-namespace {other}");
                ended_with(&refused, 1, &says);
            }
        }
        let [first, last] = order;
        let removed = gateway
            .netting(&format!("{UNINSTALL} --system-namespace={first}"))
            .await;
        ended_with(&removed, 0, &format!("Another is in the namespace {last}"));
        let left = everything(&gateway.client).await;
        assert!(
            !left.contains_key(&format!("Namespace /{first}")),
            "{removed:#?}"
        );
        let webhook = format!("Deployment {last}/netting-webhook");
        assert!(left.contains_key(&webhook), "{removed:#?}");
        // What API server and pods need of it is whole, if it was the one in force.
        let in_force = left.contains_key("MutatingWebhookConfiguration /netting");
        assert_eq!(in_force, last == "mesh", "{removed:#?}");

        let removed = gateway
            .netting(&format!("{UNINSTALL} --system-namespace={last}"))
            .await;
        ended_with(&removed, 0, "Nothing of Netting is left.");
        assert_eq!(everything(&gateway.client).await, before);
    }
}

#[tokio::test]
async fn a_namespace_with_something_of_somebody_elses_stays_with_it() {
    for stranger in [
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "registry"}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "notes"}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "robot"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole", "name": "netting-catalog"}}),
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": "robot"}, "spec": {"maxUnavailable": 1}}),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": "closed"}, "spec": {"podSelector": {}}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "other"},
            "spec": {"ports": [{"port": 80}]}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "idle"},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "idle"}},
                "template": {"metadata": {"labels": {"app": "idle"}},
                    "spec": {"containers": [{"name": "app", "image": "app"}]}}}}),
    ] {
        let gateway = after(&[INSTALL]).await;
        let mut object = stranger.clone();
        object["metadata"]["namespace"] = "netting".into();
        apply(&gateway.client, &object.to_string()).await;

        let name = &object["metadata"]["name"];
        let title = format!("{} {}", object["kind"], name).replace('"', "");
        let says =
            format!("The namespace netting stays, because not all in it is Netting's: {title}");
        let removed = gateway.netting(UNINSTALL).await;
        ended_with(&removed, 0, &says);
        ended_with(
            &removed,
            0,
            "Nothing of Netting is left but the namespace netting",
        );
        ended_with(&gateway.netting(UNINSTALL).await, 0, &says);
        let left = everything(&gateway.client).await;
        let title = title.replace(' ', " netting/");
        assert!(left.contains_key(&title), "{title}: {:?}", left.keys());
        assert!(
            !left.keys().any(|title| title.contains("netting-webhook")),
            "{:?}",
            left.keys()
        );
    }
}
