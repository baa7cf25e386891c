//! The CA bundle, kept right in a small API server.
//!
//! Time is paused, and moves on only once nothing is left to do: after some
//! seconds of it everything has settled.

use std::{pin::pin, time::Duration};

use k8s_openapi::ByteString;
use netting_runtime::Readiness;
use netting_webhook::{
    ca_bundle,
    certificate::{
        CaPem,
        serving::{Anchors, Origin},
    },
};
use serde_json::{Value, json};
use tokio::{sync::watch, time::timeout};

use api_server::ApiServer;

#[path = "cluster/api_server.rs"]
#[allow(dead_code, reason = "each test uses a part of it")]
mod api_server;

const PATH: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/netting";
const OWN: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const OTHER: &str = "-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n";
const NEXT: &str = "-----BEGIN CERTIFICATE-----\nCCCC\n-----END CERTIFICATE-----\n";
/// Longer than any retry, shorter than a watch.
const SETTLED: Duration = Duration::from_secs(120);

/// Somebody writes the object, with these bundles in its webhooks.
fn write(server: &ApiServer, bundles: &[&str]) {
    server.lock().put(PATH, configuration(bundles));
}

fn bundles(server: &ApiServer) -> Vec<String> {
    let store = server.lock();
    let object = store.get(PATH).expect("it exists");
    let webhooks = object["webhooks"].as_array().expect("it has webhooks");
    let bundle = |webhook: &Value| {
        let bundle = webhook["clientConfig"]["caBundle"].clone();
        let bundle: ByteString = serde_json::from_value(bundle).expect("it is base64");
        String::from_utf8(bundle.0).expect("it is PEM")
    };
    webhooks.iter().map(bundle).collect()
}

fn configuration(bundles: &[&str]) -> Value {
    let webhook = |bundle: &&str| {
        json!({
            "name": "w",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "clientConfig": {"caBundle": ByteString(bundle.as_bytes().to_vec())},
        })
    };
    json!({
        "kind": "MutatingWebhookConfiguration",
        "apiVersion": "admissionregistration.k8s.io/v1",
        "metadata": {},
        "webhooks": bundles.iter().map(webhook).collect::<Vec<_>>(),
    })
}

fn anchors(origin: Origin, cas: &[&str]) -> Anchors {
    let cas = cas.iter().map(|ca| CaPem((*ca).to_owned())).collect();
    Anchors { cas, origin }
}

/// What a test does to a bundle that is being kept.
struct Kept {
    server: ApiServer,
    anchors: watch::Sender<Option<Anchors>>,
}

type Step<'a> = &'a mut dyn FnMut(&Kept);

/// Keeps the bundle, while `steps` are taken one after another, each of them once
/// all has settled; says after each whether the webhook held itself for trusted, and
/// how many CAs it thought were.
async fn keep_through(server: &ApiServer, steps: &mut [Step<'_>]) -> Vec<(bool, usize)> {
    let readiness = Readiness::new();
    let (sender, receiver) = watch::channel(Some(anchors(Origin::Shared, &[OWN])));
    let (trusted_cas, trusted) = watch::channel(Vec::new());
    let keeper = ca_bundle::Keeper {
        configuration: "netting".to_owned(),
        anchors: receiver,
        trusted_cas,
        trusted: readiness.condition("trusted"),
    };
    let kept = Kept {
        server: server.clone(),
        anchors: sender,
    };
    let mut keep = pin!(keeper.keep(server.client()));
    let mut held = Vec::new();
    for step in steps {
        step(&kept);
        let ended = timeout(SETTLED, keep.as_mut()).await;
        ended.expect_err("it is kept for as long as the process lives");
        held.push((readiness.missing().is_empty(), trusted.borrow().len()));
    }
    held
}

#[tokio::test(start_paused = true)]
async fn is_set_in_every_webhook_and_mended_when_overwritten() {
    let server = ApiServer::default();
    write(&server, &["", ""]);
    let mut overwrite = |kept: &Kept| {
        assert_eq!(bundles(&kept.server), [OWN, OWN]);
        write(&kept.server, &["", OTHER]);
    };
    let held = keep_through(&server, &mut [&mut |_| {}, &mut overwrite]).await;
    assert_eq!(held, [(true, 1), (true, 1)]);
    assert_eq!(bundles(&server), [OWN.to_owned(), format!("{OWN}{OTHER}")]);
    assert_eq!(
        server.lock().writes.len(),
        2,
        "nothing is written that is right already"
    );
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_is_not_there_yet_is_waited_for() {
    let server = ApiServer::default();
    let mut apply = |kept: &Kept| write(&kept.server, &[""]);
    let mut remove = |kept: &Kept| kept.server.lock().delete(PATH);
    let held = keep_through(&server, &mut [&mut |_| {}, &mut apply, &mut remove]).await;
    assert_eq!(held, [(false, 0), (true, 1), (false, 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_change_at_the_same_moment_is_not_lost() {
    let server = ApiServer::default();
    write(&server, &[""]);
    server.lock().race = Some((PATH.to_owned(), configuration(&[OTHER, ""])));
    let held = keep_through(&server, &mut [&mut |_| {}]).await;
    assert_eq!(held, [(true, 1)]);
    assert_eq!(bundles(&server), [format!("{OWN}{OTHER}"), OWN.to_owned()]);
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_until_it_is_right() {
    let server = ApiServer::default();
    write(&server, &[""]);
    server.lock().failing = 7;
    let held = keep_through(&server, &mut [&mut |_| {}]).await;
    assert_eq!(held, [(true, 1)]);
    assert_eq!(bundles(&server), [OWN]);
    assert_eq!(server.lock().writes.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_next_ca_joins_the_current_one_and_the_last_one_leaves_in_the_end() {
    let server = ApiServer::default();
    write(&server, &[""]);
    let mut stage = |kept: &Kept| {
        kept.anchors
            .send_replace(Some(anchors(Origin::Shared, &[NEXT, OWN])));
    };
    let mut forget = |kept: &Kept| {
        assert_eq!(bundles(&kept.server), [format!("{NEXT}{OWN}")]);
        kept.anchors
            .send_replace(Some(anchors(Origin::Shared, &[NEXT])));
    };
    let mut wait = |kept: &Kept| assert_eq!(bundles(&kept.server), [format!("{NEXT}{OWN}")]);
    let mut steps: Vec<Step<'_>> = vec![&mut stage, &mut forget];
    let mut nothing = [(); 5].map(|()| |_: &Kept| {});
    steps.push(&mut wait);
    steps.extend(nothing.iter_mut().map(|step| step as Step<'_>));
    let held = keep_through(&server, &mut steps).await;
    assert_eq!(held[..3], [(true, 2), (true, 2), (true, 2)]);
    assert_eq!(bundles(&server), [NEXT], "it had ten minutes to leave");
    assert_eq!(server.lock().writes.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_bundle_that_cert_manager_keeps_is_left_alone() {
    let server = ApiServer::default();
    let mut object = configuration(&[OTHER]);
    let annotations = json!({"cert-manager.io/inject-ca-from": "netting/netting-webhook"});
    object["metadata"]["annotations"] = annotations.clone();
    server.lock().put(PATH, object);
    let mut inject = |kept: &Kept| {
        assert_eq!(bundles(&kept.server), [OTHER]);
        let mut object = configuration(&[OWN]);
        object["metadata"]["annotations"] = annotations.clone();
        kept.server.lock().put(PATH, object);
    };
    let mut wait_for_next = |kept: &Kept| {
        kept.anchors
            .send_replace(Some(anchors(Origin::Given, &[NEXT, OWN])));
    };
    let mut steps: [Step<'_>; 3] = [&mut |_| {}, &mut inject, &mut wait_for_next];
    let held = keep_through(&server, &mut steps).await;
    // It is not trusted before cert-manager has seen to it; and stays so while another
    // CA is to come.
    assert_eq!(held, [(false, 1), (true, 1), (true, 1)]);
    assert!(server.lock().writes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_given_certificate_without_a_ca_needs_no_bundle_of_ours() {
    let server = ApiServer::default();
    write(&server, &[OTHER]);
    let mut given = |kept: &Kept| {
        kept.anchors.send_replace(Some(anchors(Origin::Given, &[])));
    };
    let held = keep_through(&server, &mut [&mut given]).await;
    assert_eq!(held, [(true, 1)]);
    assert_eq!(bundles(&server), [OTHER]);
}
