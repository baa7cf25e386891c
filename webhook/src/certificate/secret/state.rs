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
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            held: Held::Nothing,
            secret: None,
            retry: None,
            backoff: Duration::ZERO,
            said_forbidden: false,
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

    /// Lets go of a given certificate whose time is over, and says so.
    pub(super) fn let_go_of_expired(&mut self, now: SystemTime) -> bool {
        let expired = matches!(
            &self.held,
            Held::Given(given) if given.certificate.validity().expired(now)
        );
        if expired {
            self.held = Held::Nothing;
        }
        expired
    }

    /// Has the Secret read again at a time that comes by itself.
    pub(super) fn read_again_at(&mut self, time: SystemTime) {
        let left = time.duration_since(SystemTime::now()).unwrap_or_default();
        let left = left.clamp(FIRST_RETRY, LOOK_AGAIN);
        self.retry = Some(Instant::now() + left);
    }

    /// What is self-made, and what is to be done about it. What could not be written
    /// is not tried again before it has been read again.
    pub(super) fn due(&self, now: SystemTime, trusted: &[CaPem]) -> Option<(&Shared, Step)> {
        let (shared, origin) = match &self.held {
            Held::Secret(shared) if self.retry.is_none() => (shared, Origin::Shared),
            Held::Memory(shared) => (shared, Origin::Memory),
            Held::Nothing | Held::Secret(_) | Held::Given(_) => return None,
        };
        let needed = shared.anchors(origin, now).cas;
        let settled = needed.iter().all(|ca| trusted.contains(ca));
        Some((shared, shared.step(now, settled)))
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
    pub(super) fn wake_at(&self, trusted: &[CaPem]) -> Instant {
        let (now, time) = (Instant::now(), SystemTime::now());
        let until = |at: SystemTime| at.duration_since(time).unwrap_or_default().min(LOOK_AGAIN);
        let step = match (self.due(time, trusted), &self.held) {
            (Some((_, Step::Wait(at))), _) => now + until(at),
            (Some(_), _) => now,
            (None, Held::Given(given)) => now + until(given.certificate.validity().not_after),
            (None, _) => now + LOOK_AGAIN,
        };
        self.retry.map_or(step, |retry| retry.min(step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::{Named, self_made};

    #[test]
    fn a_given_certificate_is_let_go_of_when_it_has_expired() {
        let now = SystemTime::now();
        let made = self_made::make("webhook.test.svc", now).expect("it is a name");
        let named = |name, text| Named { name, text };
        let certificate = ServingCertificate::parse(
            named("tls.crt", made.pair.chain.as_bytes()),
            named("tls.key", made.pair.key.as_bytes()),
        );
        let certificate = certificate.expect("they belong together");
        let over = certificate.validity().not_after;
        let anchors = Anchors {
            cas: vec![made.ca],
            origin: Origin::Given,
        };
        let mut state = State::new();
        state.hold(Held::Given(Given {
            certificate,
            anchors,
        }));
        assert!(!state.let_go_of_expired(now));
        assert!(state.held.offered(now).is_some());
        assert!(state.let_go_of_expired(over));
        assert!(!state.let_go_of_expired(over), "it is said once");
        assert!(state.held.offered(over).is_none());
    }
}
