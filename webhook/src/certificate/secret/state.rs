//! What a replica knows of the Secret, and what is due when.

use std::time::{Duration, SystemTime};

use k8s_openapi::api::core::v1::Secret;
use tokio::time::Instant;

use super::content::Given;
use crate::certificate::{
    CaPem, ServingCertificate,
    serving::{Anchors, Origin},
    shared::{Shared, Step},
};

/// For so long all CAs are in the bundle before the next certificate is served: until
/// each API server has heard of it.
pub const SPREAD: Duration = Duration::from_secs(60);
/// The time is looked at so often at least, should the machine have slept.
const LOOK_AGAIN: Duration = Duration::from_secs(60 * 60);
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// What is refused stays so until somebody changes a Role or a policy.
const REFUSED_RETRY: Duration = Duration::from_secs(10 * 60);

/// What a certificate is taken from.
pub(super) enum Held {
    /// Nothing is known yet.
    Nothing,
    /// Our Secret.
    Secret(Shared),
    /// What this process made for itself.
    Memory(Shared),
    /// The team's Secret.
    Given(Given),
}

impl Held {
    /// What is to be served.
    pub(super) fn offered(&self, now: SystemTime) -> Option<(&ServingCertificate, Anchors)> {
        match self {
            Self::Nothing => None,
            Self::Secret(shared) => {
                Some((shared.certificate(), shared.anchors(Origin::Shared, now)))
            }
            Self::Memory(shared) => {
                Some((shared.certificate(), shared.anchors(Origin::Memory, now)))
            }
            Self::Given(given) => Some((&given.certificate, given.anchors.clone())),
        }
    }
}

/// What is held, and what the Secret says.
pub(super) struct State {
    pub(super) held: Held,
    /// The Secret as it was last read or written; `None` if there is none.
    pub(super) secret: Option<Secret>,
    /// When to read it again after a failure.
    pub(super) retry: Option<Instant>,
    /// How long the last retry was put off; nothing since all went well.
    backoff: Duration,
    pub(super) said_forbidden: bool,
    /// What is needed, and since when the bundle has had all of it.
    needed: Vec<CaPem>,
    trusted_since: Option<Instant>,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            held: Held::Nothing,
            secret: None,
            retry: None,
            backoff: Duration::ZERO,
            said_forbidden: false,
            needed: Vec::new(),
            trusted_since: None,
        }
    }

    pub(super) fn hold(&mut self, held: Held) {
        self.held = held;
        self.retry = None;
    }

    /// Takes note of the Secret as it was written.
    pub(super) fn written(&mut self, secret: Secret, shared: Shared) {
        self.secret = Some(secret);
        self.backoff = Duration::ZERO;
        self.hold(Held::Secret(shared));
    }

    /// The Secret is somebody else's now: what was in it goes on in memory alone.
    pub(super) fn leave_the_secret_alone(&mut self) {
        if let Held::Secret(shared) = &self.held {
            self.held = Held::Memory(shared.clone());
        }
    }

    /// Takes note of whether the bundle has all that is needed.
    pub(super) fn look_at_trust(&mut self, needed: &[CaPem], trusted: &[CaPem]) {
        if self.needed != needed {
            self.needed = needed.to_vec();
            self.trusted_since = None;
        }
        let all = needed.iter().all(|ca| trusted.contains(ca));
        self.trusted_since = all.then(|| self.trusted_since.unwrap_or_else(Instant::now));
    }

    fn settled(&self) -> bool {
        self.trusted_since
            .is_some_and(|since| since.elapsed() >= SPREAD)
    }

    /// What is self-made, and what is to be done about it. What could not be written
    /// is not tried again before it has been read again.
    pub(super) fn due(&self, now: SystemTime) -> Option<(&Shared, Step)> {
        let shared = match &self.held {
            Held::Secret(shared) if self.retry.is_none() => shared,
            Held::Memory(shared) => shared,
            Held::Nothing | Held::Secret(_) | Held::Given(_) => return None,
        };
        Some((shared, shared.step(now, self.settled())))
    }

    pub(super) fn try_again(&mut self, refused: bool) -> Duration {
        self.backoff = if refused {
            REFUSED_RETRY
        } else {
            (self.backoff * 2).clamp(FIRST_RETRY, LAST_RETRY)
        };
        self.retry = Some(Instant::now() + self.backoff);
        self.backoff
    }

    pub(super) fn retry_is_due(&self) -> bool {
        self.retry.is_some_and(|at| at <= Instant::now())
    }

    /// When to look again although nothing has changed.
    pub(super) fn wake_at(&self) -> Instant {
        let (now, time) = (Instant::now(), SystemTime::now());
        let step = match self.due(time) {
            Some((_, Step::Wait(until))) => {
                now + until
                    .duration_since(time)
                    .unwrap_or_default()
                    .min(LOOK_AGAIN)
            }
            Some(_) => now,
            None => now + LOOK_AGAIN,
        };
        let settled = self.trusted_since.map(|since| since + SPREAD);
        let settled = settled.filter(|at| *at > now);
        settled
            .into_iter()
            .chain(self.retry)
            .fold(step, Instant::min)
    }
}
