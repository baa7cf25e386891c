//! Patches of configurations, without an API server.

use super::*;

fn pem(body: &str) -> CaPem {
    let text = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
    CaPem(text)
}

fn shared(ca: &CaPem) -> Anchors {
    let cas = vec![ca.clone()];
    let origin = Origin::Shared;
    Anchors { cas, origin }
}

fn configuration(bundles: &[&str]) -> MutatingWebhookConfiguration {
    let webhook = |bundle: &&str| {
        let bundle = k8s_openapi::ByteString(bundle.as_bytes().to_vec());
        json!({"name": "w", "clientConfig": {"caBundle": bundle}})
    };
    let webhooks: Vec<_> = bundles.iter().map(webhook).collect();
    serde_json::from_value(json!({
        "metadata": {"name": "netting", "resourceVersion": "7"},
        "webhooks": webhooks,
    }))
    .expect("it is a configuration")
}

fn corrected(current: &MutatingWebhookConfiguration, ca: &CaPem) -> Option<Patch> {
    let now = (SystemTime::now(), Instant::now());
    correction(current, &shared(ca), &Strangers::default(), now)
}

#[test]
fn every_webhook_gets_the_bundle_and_then_nothing_changes() {
    let own = pem("AAAA");
    let current = configuration(&["", ""]);
    let patch = corrected(&current, &own).expect("both lack it");
    let mut raw = serde_json::to_value(&current).expect("a configuration is JSON");
    json_patch::patch(&mut raw, &patch).expect("the patch fits its version");
    let mended: MutatingWebhookConfiguration =
        serde_json::from_value(raw).expect("it still is a configuration");
    assert_eq!(bundles(&mended), [own.0.as_bytes(), own.0.as_bytes()]);
    assert_eq!(corrected(&mended, &own), None);
}

#[test]
fn only_the_webhook_that_is_wrong_is_mended() {
    let own = pem("AAAA");
    let current = configuration(&[&own.0, "garbage"]);
    let patch = corrected(&current, &own).expect("one is wrong");
    let paths: Vec<_> = patch
        .iter()
        .map(|operation| operation.path().to_string())
        .collect();
    assert_eq!(
        paths,
        [
            "/metadata/resourceVersion",
            "/webhooks/1/clientConfig/caBundle"
        ]
    );
}

#[test]
fn a_configuration_without_webhooks_needs_nothing() {
    assert_eq!(corrected(&configuration(&[]), &pem("AAAA")), None);
}
