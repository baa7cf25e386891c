//! Keeps the CAs that the webhook's certificate needs in its
//! `MutatingWebhookConfiguration`, so that the API server trusts it.

use std::{
    pin::pin,
    time::{Duration, SystemTime},
};

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
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::certificate::{
    CaPem,
    serving::{Anchors, Origin},
};
use bundle::Strangers;
use spread::Spread;

mod bundle;
mod spread;

pub use spread::SPREAD;

const FIELD_MANAGER: &str = "netting-webhook";
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// With one of these on the configuration, cert-manager's ca-injector keeps its
/// bundles, and would take out again whatever else is put there.
/// <https://cert-manager.io/docs/concepts/ca-injector/>
const CA_INJECTOR: [&str; 3] = [
    "cert-manager.io/inject-ca-from",
    "cert-manager.io/inject-ca-from-secret",
    "cert-manager.io/inject-apiserver-ca",
];

/// What keeping a bundle needs to know and tells.
pub struct Keeper {
    /// Name of the configuration.
    pub configuration: String,
    /// What the API server is to trust.
    pub anchors: watch::Receiver<Option<Anchors>>,
    /// The CAs that every API server trusts by now: those that have been in each of the
    /// configuration's bundles for [`SPREAD`]. Where cert-manager keeps the bundles, they
    /// count at once: it takes the old CA out as it puts the new one in, so that waiting
    /// would only make the gap longer.
    pub trusted_cas: watch::Sender<Vec<CaPem>>,
    /// Holds while the bundles are right, or have a CA of ours if somebody else keeps them.
    pub trusted: Condition,
}

/// The configuration as it was last seen, and when to try again after a failure.
#[derive(Default)]
struct State {
    current: Option<MutatingWebhookConfiguration>,
    strangers: Strangers,
    spread: Spread,
    retry: Option<(Instant, Duration)>,
    /// When something is to be done although nothing has failed.
    wake_at: Option<Instant>,
    left_alone: bool,
    /// Its CAs have been in all bundles.
    was_right: bool,
    said_crowded: bool,
}

impl Keeper {
    /// Watches the configuration and mends its bundles, for as long as it is polled.
    /// A failure is logged and tried again.
    pub async fn keep(mut self, client: Client) {
        let api: Api<MutatingWebhookConfiguration> = Api::all(client);
        let changes = watcher::watch_object(api.clone(), &self.configuration);
        let mut changes = pin!(changes.default_backoff());
        let mut state = State::default();
        loop {
            tokio::select! {
                change = changes.next() => match change {
                    Some(Ok(current)) => self.seen(&mut state, current),
                    Some(Err(error)) => {
                        let configuration = &self.configuration;
                        tracing::warn!(
                            %error,
                            configuration,
                            "could not watch the webhook configuration"
                        );
                    }
                    None => return,
                },
                changed = self.anchors.changed() => if changed.is_err() {
                    return;
                },
                () = state.wake() => {}
            }
            self.mend(&api, &mut state).await;
        }
    }

    fn seen(&self, state: &mut State, current: Option<MutatingWebhookConfiguration>) {
        if current.is_none() {
            let configuration = &self.configuration;
            tracing::warn!(
                configuration,
                "there is no such webhook configuration yet; apply k8s/base"
            );
        }
        state.current = current;
        state.retry = None;
    }

    /// Makes the bundles right, or sees that they are.
    async fn mend(&mut self, api: &Api<MutatingWebhookConfiguration>, state: &mut State) {
        let Some(anchors) = self.anchors.borrow_and_update().clone() else {
            return;
        };
        if let Some((at, _)) = state.retry {
            if Instant::now() < at {
                return;
            }
            // Somebody else may have changed it meanwhile, which is what a conflict is.
            if let Ok(newest) = api.get_opt(&self.configuration).await {
                state.current = newest;
            }
        }
        let now = (SystemTime::now(), Instant::now());
        let Some(current) = &state.current else {
            state.spread.look(&[], now.1);
            state.rest(None);
            return self.settled(Vec::new(), false);
        };
        state.spread.look(&bundles(current), now.1);
        if self.is_left_alone(current, &anchors, &mut state.left_alone) {
            let there = state.spread.there_for(Duration::ZERO, now.1);
            // Of two certificates, while one waits: the other's CA may be all there is.
            let trusted = anchors.cas.is_empty() || anchors.cas.iter().any(|ca| there.contains(ca));
            state.rest(None);
            return self.settled(there, trusted);
        }
        state.strangers.look(&bundles(current), &anchors, now.1);
        let full = |bundle: &&[u8]| bundle::is_full_of_others(bundle, &anchors.cas);
        if state.was_right && bundles(current).iter().any(full) && !state.said_crowded {
            state.said_crowded = true;
            let configuration = &self.configuration;
            tracing::warn!(
                configuration,
                cas = bundle::BUNDLE_MAX,
                "too many replicas, each with a CA of its own, take each other's out of the CA \
                 bundle; give them the Role netting-webhook, to share one in its Secret"
            );
        }
        let Some(patch) = correction(current, &anchors, &state.strangers, now) else {
            return self.right(state, &anchors, now.1);
        };
        let patch: api::Patch<Value> = api::Patch::Json(patch);
        let configuration = current.name_any();
        match api
            .patch(&configuration, &PatchParams::apply(FIELD_MANAGER), &patch)
            .await
        {
            Ok(newest) => {
                let cas = anchors.cas.len();
                tracing::info!(configuration, cas, "set the CA bundle of each webhook");
                state.spread.look(&bundles(&newest), now.1);
                state.current = Some(newest);
                self.right(state, &anchors, now.1);
            }
            Err(error) => {
                let retry = state.retry.map_or(FIRST_RETRY, |(_, last)| last * 2);
                let retry = retry.min(LAST_RETRY);
                state.retry = Some((Instant::now() + retry, retry));
                tracing::warn!(%error, configuration, ?retry, "could not set the CA bundle");
            }
        }
    }

    /// The bundles are right as they are now.
    fn right(&self, state: &mut State, anchors: &Anchors, now: Instant) {
        state.was_right = true;
        let goes = state.strangers.next_to_go(anchors.origin);
        state.rest(goes.into_iter().chain(state.spread.next(now)).min());
        self.settled(state.spread.there_for(SPREAD, now), true);
    }

    fn settled(&self, cas: Vec<CaPem>, trusted: bool) {
        self.trusted_cas.send_if_modified(|before| {
            let changed = *before != cas;
            *before = cas;
            changed
        });
        self.trusted.set(trusted);
    }

    /// Whether the bundle is somebody else's to keep.
    fn is_left_alone(
        &self,
        current: &MutatingWebhookConfiguration,
        anchors: &Anchors,
        said: &mut bool,
    ) -> bool {
        if anchors.cas.is_empty() {
            return true;
        }
        let injector = CA_INJECTOR
            .iter()
            .find(|key| current.annotations().contains_key(**key));
        let Some(annotation) = injector else {
            *said = false;
            return false;
        };
        if !std::mem::replace(said, true) {
            let configuration = &self.configuration;
            if anchors.origin == Origin::Given {
                tracing::info!(
                    configuration,
                    annotation,
                    "the CA bundle is left to cert-manager"
                );
            } else {
                tracing::error!(
                    configuration,
                    annotation,
                    "the CA bundle is left to cert-manager, but the certificate is self-made, \
                     which the API server will not trust; remove the annotation, or let \
                     cert-manager write the certificate's Secret too"
                );
            }
        }
        true
    }
}

impl State {
    /// All is done for now.
    fn rest(&mut self, wake_at: Option<Instant>) {
        self.retry = None;
        self.wake_at = wake_at;
    }

    /// Resolves when there is something to do without anything having changed.
    async fn wake(&self) {
        match self.retry.map(|(at, _)| at).or(self.wake_at) {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}

fn bundles(current: &MutatingWebhookConfiguration) -> Vec<&[u8]> {
    let webhooks = current.webhooks.as_deref().unwrap_or_default();
    let bundles = webhooks.iter().map(|webhook| {
        let bundle = webhook.client_config.ca_bundle.as_ref();
        bundle.map_or(&[] as &[u8], |bundle| &bundle.0)
    });
    bundles.collect()
}

/// What makes every webhook's bundle right; `None` if all of them are.
///
/// The patch goes by index, so it holds for the resource version that it was made
/// from alone.
fn correction(
    current: &MutatingWebhookConfiguration,
    anchors: &Anchors,
    strangers: &Strangers,
    now: (SystemTime, Instant),
) -> Option<Patch> {
    let bundles = bundles(current);
    let corrections = bundles.into_iter().enumerate().filter_map(|(index, is)| {
        let right = bundle::text(&strangers.right(is, anchors, now));
        (right.as_bytes() != is).then(|| set_bundle(index, right))
    });
    let corrections: Vec<_> = corrections.collect();
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

#[cfg(test)]
mod tests;
