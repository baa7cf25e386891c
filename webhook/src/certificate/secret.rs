//! The Secret that all replicas share: made by the first, renewed by whichever comes
//! first, followed by all. One that the team has put there is served as it is, if the
//! API server would accept it. If not, what is served already goes on being served; and
//! if nothing is, this replica makes a certificate for itself: with a sidecar that a pod
//! asked for, nobody has to wait for the right one to be put there. (Where cert-manager
//! keeps the bundle nobody trusts that, so the replica is not ready, which stops a
//! rollout before it takes away the last one that works.)
//!
//! Writes are conditional: a Secret is created only if there is none, and replaced
//! only as the version that was read. Who loses takes what the other one wrote. What
//! may not be read or written is done without: then this replica serves with a
//! certificate of its own, which it renews in the same steps.

use std::{collections::BTreeMap, pin::pin, time::SystemTime};

use futures_util::StreamExt as _;
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, ResourceExt as _,
    api::PostParams,
    core::Status,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::{sync::watch, time::sleep_until};

use super::{
    CaPem,
    self_made::{self, SelfMade},
    serving::{Offer, Server},
    shared::{Damaged, Shared, Step},
};
use content::Content;
use state::{Held, State};

mod content;
mod state;

pub use content::is_ours;

/// What keeping the Secret needs to know.
pub struct Keeper {
    /// The Secrets of the webhook's namespace.
    pub secrets: Api<Secret>,
    /// Name of the Secret.
    pub name: String,
    /// Whom a certificate is for: `netting-webhook.netting.svc`.
    pub host: String,
    /// Where it is served.
    pub server: Server,
    /// The CAs that are in the bundle.
    pub trusted_cas: watch::Receiver<Vec<CaPem>>,
}

impl Keeper {
    /// Follows and renews the Secret for as long as it is polled.
    pub async fn keep(mut self) {
        let changes = watcher::watch_object(self.secrets.clone(), &self.name);
        let mut changes = pin!(changes.default_backoff());
        let mut state = State::new();
        loop {
            let trusted = self.trusted_cas.borrow().clone();
            tokio::select! {
                change = changes.next() => match change {
                    Some(Ok(secret)) => self.seen(&mut state, secret).await,
                    Some(Err(error)) => self.unseen(&mut state, &error),
                    None => return,
                },
                changed = self.trusted_cas.changed() => if changed.is_err() {
                    return;
                },
                () = sleep_until(state.wake_at(&trusted)) => {}
            }
            self.go_on(&mut state).await;
        }
    }

    /// The Secret is there or has changed, or it is gone.
    async fn seen(&mut self, state: &mut State, secret: Option<Secret>) {
        state.retry = None;
        let Some(secret) = secret else {
            state.secret = None;
            self.server.refuses(false);
            return self.create(state).await;
        };
        let content = Content::read(&secret, &self.host, SystemTime::now());
        self.server
            .refuses(matches!(content, Content::Given(Err(_))));
        state.secret = Some(secret);
        match content {
            Content::Ours(Ok(shared)) => state.hold(Held::Secret(shared)),
            Content::Ours(Err(damaged)) => self.mend(state, &damaged).await,
            Content::Given(Ok(given)) => state.hold(Held::Given(given)),
            Content::Given(Err(damaged)) => self.refuse(state, &damaged),
        }
    }

    /// The Secret is somebody else's, and what is in it would stop all admissions.
    fn refuse(&mut self, state: &mut State, damaged: &Damaged) {
        let secret = &self.name;
        tracing::error!(
            %damaged,
            secret,
            "the given certificate is not served; put a right one into the Secret, or delete \
             the Secret to have one made"
        );
        state.leave_the_secret_alone();
        if let Some(at) = content::right_at(damaged) {
            state.read_again_at(at);
        }
        self.fall_back(state);
    }

    /// The Secret can't be watched.
    fn unseen(&mut self, state: &mut State, error: &watcher::Error) {
        let secret = &self.name;
        if is_forbidden(error) {
            if !std::mem::replace(&mut state.said_forbidden, true) {
                tracing::warn!(
                    %error,
                    secret,
                    "may not watch the certificate's Secret; give the service account the Role \
                     of k8s/base, without which each replica has a certificate of its own"
                );
            }
            self.fall_back(state);
        } else {
            tracing::warn!(%error, secret, "could not watch the certificate's Secret");
        }
    }

    /// Does what is due about what is held, and offers it to be served.
    async fn go_on(&mut self, state: &mut State) {
        self.trusted_cas.borrow_and_update();
        if state.retry_is_due() {
            // What failed was meant for a Secret that may be another one by now.
            match self.secrets.get_opt(&self.name).await {
                Ok(secret) => self.seen(state, secret).await,
                Err(error) => self.failed(state, &error),
            }
        }
        let now = SystemTime::now();
        if state.let_go_of_expired(now) {
            let secret = &self.name;
            self.server.refuses(true);
            tracing::error!(
                secret,
                "the given certificate has expired; put a new one into the Secret"
            );
        }
        if matches!(state.held, Held::Nothing) && state.secret.is_some() && state.retry.is_none() {
            self.fall_back(state);
        }
        loop {
            let now = SystemTime::now();
            let trusted = self.offer(state, now);
            let Some((shared, step)) = state.due(now, &trusted) else {
                return;
            };
            let next = match step {
                Step::Wait(_) => return,
                Step::Stage => self
                    .make(now)
                    .and_then(|made| shared.staged(made, now).ok()),
                Step::Promote => Some(shared.promoted(now)),
                Step::Renew => self.make(now).and_then(|made| Shared::fresh(made).ok()),
            };
            match next {
                Some(next) if matches!(state.held, Held::Memory(_)) => {
                    state.hold(Held::Memory(next));
                }
                Some(next) => self.write(state, next).await,
                None => return,
            }
        }
    }

    /// Offers what is held, and says which CAs are trusted by now.
    fn offer(&mut self, state: &State, now: SystemTime) -> Vec<CaPem> {
        let trusted = self.trusted_cas.borrow().clone();
        if let Some((certificate, anchors)) = state.held.offered(now) {
            let offer = Offer {
                certificate,
                anchors,
            };
            self.server.offer(offer, &trusted, now);
        }
        trusted
    }

    /// Replaces the Secret's content, if it still is what was read.
    async fn write(&mut self, state: &mut State, next: Shared) {
        let Some(mut secret) = state.secret.clone() else {
            return self.create(state).await;
        };
        secret.data = Some(next.data());
        label(&mut secret);
        let params = PostParams::default();
        match self.secrets.replace(&self.name, &params, &secret).await {
            Ok(written) => {
                let secret = &self.name;
                tracing::info!(secret, "wrote the certificate's Secret");
                state.written(written, next);
            }
            Err(error) => self.failed(state, &error),
        }
    }

    /// Makes a Secret where there is none. What is served now stays the current one
    /// until the API server trusts the next.
    async fn create(&mut self, state: &mut State) {
        let now = SystemTime::now();
        let Some(shared) = self.successor(state, now) else {
            return;
        };
        let mut secret = Secret {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            },
            type_: Some("kubernetes.io/tls".to_owned()),
            data: Some(shared.data()),
            ..Secret::default()
        };
        label(&mut secret);
        match self.secrets.create(&PostParams::default(), &secret).await {
            Ok(created) => {
                let secret = &self.name;
                tracing::info!(secret, "made a certificate and a Secret for it");
                state.written(created, shared);
            }
            Err(error) => self.failed(state, &error),
        }
    }

    /// Replaces a Secret of ours that can't be served with.
    async fn mend(&mut self, state: &mut State, damaged: &Damaged) {
        let secret = &self.name;
        tracing::error!(
            %damaged,
            secret,
            "the self-made certificate's Secret is damaged and made anew; to use a certificate \
             of your own, remove the label app.kubernetes.io/managed-by"
        );
        if let Some(next) = self.successor(state, SystemTime::now()) {
            self.write(state, next).await;
        }
    }

    /// What a Secret is made with: a certificate that follows on the one that is
    /// held, if that still holds, and one that begins anew otherwise.
    fn successor(&self, state: &State, now: SystemTime) -> Option<Shared> {
        let made = self.make(now)?;
        let next = match &state.held {
            Held::Secret(shared) | Held::Memory(shared)
                if !shared.certificate().validity().expired(now) =>
            {
                shared.staged(made, now)
            }
            _ => Shared::fresh(made),
        };
        next.ok()
    }

    /// Goes on without a Secret, if nothing is served yet or that has expired.
    fn fall_back(&mut self, state: &mut State) {
        let now = SystemTime::now();
        if self.server.serves(now) {
            return;
        }
        let made = self.make(now).map(Shared::fresh);
        if let Some(Ok(shared)) = made {
            tracing::warn!(
                secret = self.name,
                "serving with a certificate that only this replica has"
            );
            let retry = state.retry;
            state.hold(Held::Memory(shared));
            state.retry = retry;
        }
    }

    fn make(&self, now: SystemTime) -> Option<SelfMade> {
        let made = self_made::make(&self.host, now);
        made.inspect_err(|error| tracing::error!(%error, "could not make a certificate"))
            .ok()
    }

    /// The Secret could not be read or written.
    fn failed(&mut self, state: &mut State, error: &kube::Error) {
        let secret = &self.name;
        let refused = matches!(error, kube::Error::Api(status) if is_refusal(status));
        let retry = state.try_again(refused);
        match error {
            kube::Error::Api(status) if status.is_conflict() || status.is_already_exists() => {
                tracing::debug!(secret, "another replica was faster");
            }
            _ if refused => {
                tracing::warn!(
                    %error,
                    secret,
                    ?retry,
                    "may not write the certificate's Secret; give the service account the Role \
                     of k8s/base, and look for a policy or a quota that refuses it"
                );
                self.fall_back(state);
            }
            _ => tracing::warn!(%error, secret, ?retry, "could not keep the certificate's Secret"),
        }
    }
}

/// Whether the same request would be refused again: by RBAC, a policy, a quota.
fn is_refusal(status: &Status) -> bool {
    status.is_forbidden() || status.is_invalid() || status.code == 400
}

/// Marks a Secret as ours.
fn label(secret: &mut Secret) {
    let labels = [
        ("app.kubernetes.io/name", "netting-webhook"),
        ("app.kubernetes.io/part-of", "netting"),
        (content::MANAGED_BY, content::OURS),
    ];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    secret.labels_mut().extend(BTreeMap::from(labels));
}

fn is_forbidden(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.is_forbidden(),
        watcher::Error::WatchError(status) => status.is_forbidden(),
        _ => false,
    }
}
