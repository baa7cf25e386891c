//! Keeps the webhook's CA in its `MutatingWebhookConfiguration`, so that the API
//! server trusts it.

use std::{pin::pin, time::Duration};

use futures_util::StreamExt as _;
use json_patch::{
    AddOperation, Patch, PatchOperation, TestOperation,
    jsonptr::{PointerBuf, Token},
};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::{
    Api, Client, ResourceExt as _,
    api::{self, PatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use netting_runtime::readiness::Condition;
use serde_json::{Value, json};

use crate::certificate::CaPem;

const FIELD_MANAGER: &str = "netting-webhook";
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(30);

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Each replica has its own CA, and so has its successor in a rollout: all of
/// them must be trusted at the same time. The oldest beyond this many are dropped.
const BUNDLE_MAX: usize = 8;

/// Watches the configuration and mends its bundles, for as long as it is polled.
/// `trusted` holds once they are right. A failure is logged and tried again.
pub async fn keep(client: Client, configuration: &str, ca: &CaPem, trusted: &Condition) {
    let api: Api<MutatingWebhookConfiguration> = Api::all(client);
    let mut changes = pin!(watcher::watch_object(api.clone(), configuration).default_backoff());
    while let Some(change) = changes.next().await {
        match change {
            Ok(Some(current)) => {
                let mended = mend(&api, current, ca).await;
                trusted.set(mended);
            }
            Ok(None) => {
                trusted.set(false);
                tracing::warn!(
                    configuration,
                    "there is no such webhook configuration yet; apply k8s/base"
                );
            }
            Err(error) => {
                tracing::warn!(
                    %error,
                    configuration,
                    "could not watch the webhook configuration"
                );
            }
        }
    }
}

/// Returns once the bundles are right: `true`; or the configuration is gone: `false`.
async fn mend(
    api: &Api<MutatingWebhookConfiguration>,
    mut current: MutatingWebhookConfiguration,
    ca: &CaPem,
) -> bool {
    let mut retry = FIRST_RETRY;
    let name = current.name_any();
    while let Some(patch) = correction(&current, ca) {
        let patch: api::Patch<Value> = api::Patch::Json(patch);
        match api
            .patch(&name, &PatchParams::apply(FIELD_MANAGER), &patch)
            .await
        {
            Ok(_) => {
                tracing::info!(
                    configuration = name,
                    "the API server trusts this webhook from now on"
                );
                return true;
            }
            Err(error) => {
                tracing::warn!(
                    %error,
                    configuration = name,
                    ?retry,
                    "could not set the CA bundle"
                );
            }
        }
        tokio::time::sleep(retry).await;
        retry = LAST_RETRY.min(retry * 2);
        // Somebody else may have changed it meanwhile, which is what a conflict is.
        match api.get_opt(&name).await {
            Ok(Some(newest)) => current = newest,
            Ok(None) => return false,
            Err(_) => {}
        }
    }
    true
}

/// What makes every webhook's bundle contain the CA; `None` if all of them do.
///
/// The patch goes by index, so it holds for the resource version that it was made
/// from alone.
fn correction(current: &MutatingWebhookConfiguration, ca: &CaPem) -> Option<Patch> {
    let webhooks = current.webhooks.as_deref().unwrap_or_default();
    let corrections: Vec<_> = webhooks
        .iter()
        .enumerate()
        .filter_map(|(index, webhook)| {
            let bundle = webhook.client_config.ca_bundle.as_ref();
            let bundle = bundle.map_or(&[] as &[u8], |bundle| &bundle.0);
            let right = with_ca(bundle, ca);
            (right.as_bytes() != bundle).then(|| set_bundle(index, right))
        })
        .collect();
    if corrections.is_empty() {
        return None;
    }
    let version = current.metadata.resource_version.clone();
    let same_version = PatchOperation::Test(TestOperation {
        path: PointerBuf::from_tokens(["metadata", "resourceVersion"]),
        value: json!(version),
    });
    Some(Patch(
        std::iter::once(same_version).chain(corrections).collect(),
    ))
}

fn set_bundle(index: usize, bundle: String) -> PatchOperation {
    let bundle = k8s_openapi::ByteString(bundle.into_bytes());
    PatchOperation::Add(AddOperation {
        path: PointerBuf::from_tokens([
            Token::from("webhooks"),
            Token::from(index),
            Token::from("clientConfig"),
            Token::from("caBundle"),
        ]),
        value: serde_json::to_value(bundle).expect("bytes are a base64 string"),
    })
}

/// The bundle with the CA in it: as it is if it is there already, else in front of
/// the newest of the others. What is not a certificate block is dropped; the API
/// server would refuse to connect over it.
fn with_ca(bundle: &[u8], ca: &CaPem) -> String {
    let bundle = String::from_utf8_lossy(bundle);
    let others = blocks(&bundle);
    let own = blocks(&ca.0);
    if own.iter().all(|block| others.contains(block)) {
        return others.concat();
    }
    own.into_iter().chain(others).take(BUNDLE_MAX).collect()
}

/// The certificate blocks of a PEM text, each ended by a newline.
fn blocks(pem: &str) -> Vec<String> {
    pem.split(BEGIN)
        .skip(1)
        .filter_map(|rest| rest.split_once(END))
        .map(|(base64, _)| format!("{BEGIN}\n{}\n{END}\n", base64.replace('\r', "").trim()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ca(body: &str) -> CaPem {
        CaPem(format!("{BEGIN}\n{body}\n{END}\n"))
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

    fn corrected(mut current: MutatingWebhookConfiguration, ca: &CaPem) -> Vec<String> {
        if let Some(patch) = correction(&current, ca) {
            let mut raw = serde_json::to_value(&current).expect("a configuration is JSON");
            json_patch::patch(&mut raw, &patch).expect("the patch fits its version");
            current = serde_json::from_value(raw).expect("it still is a configuration");
        }
        let webhooks = current.webhooks.unwrap_or_default().into_iter();
        let bundle =
            |bundle: k8s_openapi::ByteString| String::from_utf8(bundle.0).expect("PEM is ASCII");
        webhooks
            .map(|webhook| {
                webhook
                    .client_config
                    .ca_bundle
                    .map(bundle)
                    .unwrap_or_default()
            })
            .collect()
    }

    #[test]
    fn every_webhook_gets_the_bundle_and_then_nothing_changes() {
        let own = ca("AAAA");
        let bundles = corrected(configuration(&["", ""]), &own);
        assert_eq!(bundles, [own.0.as_str(), &own.0]);
        assert_eq!(correction(&configuration(&[&own.0, &own.0]), &own), None);
    }

    #[test]
    fn only_the_webhook_that_is_wrong_is_mended() {
        let own = ca("AAAA");
        let patch = correction(&configuration(&[&own.0, "garbage"]), &own).expect("one is wrong");
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
    fn the_cas_of_other_replicas_are_kept_and_the_oldest_dropped() {
        let mut bundle = String::new();
        for replica in 0..20 {
            bundle = with_ca(bundle.as_bytes(), &ca(&format!("AAA{replica}")));
        }
        let kept = blocks(&bundle);
        assert_eq!(kept.len(), BUNDLE_MAX);
        assert_eq!(kept[0], ca("AAA19").0);
        assert_eq!(with_ca(bundle.as_bytes(), &ca("AAA15")), bundle);
    }

    #[test]
    fn what_is_no_certificate_is_dropped() {
        let own = ca("AAAA");
        for garbage in [
            "\u{fffd}",
            "Cg==",
            "-----BEGIN CERTIFICATE-----",
            "-----END CERTIFICATE-----",
        ] {
            assert_eq!(with_ca(garbage.as_bytes(), &own), own.0, "{garbage:?}");
        }
        assert_eq!(with_ca(&[0xff, 0xfe], &own), own.0);
        let windows = own.0.replace('\n', "\r\n");
        assert_eq!(with_ca(windows.as_bytes(), &own), own.0);
    }

    #[test]
    fn a_configuration_without_webhooks_needs_nothing() {
        assert_eq!(correction(&configuration(&[]), &ca("AAAA")), None);
    }
}
