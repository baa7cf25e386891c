//! Scripts of who is in the pod, with paused time.

use std::future::pending;

use netting_runtime::Drained;
use tokio::time::Instant;

use super::*;

const SHORTEST: Duration = Duration::from_millis(500);
const DEADLINE: Duration = Duration::from_secs(28);

/// A drain that has just started, with somebody who lingers in it.
struct Lingering {
    drain: Drain,
    ended: Arc<Notify>,
    begun: Instant,
}

impl Lingering {
    fn among(script: impl Fn(Duration) -> Others + Send + 'static) -> Self {
        let (drain, ended) = (Drain::new(), Arc::new(Notify::new()));
        let begun = Instant::now();
        let look = move || script(begun.elapsed());
        drain.spawn(linger(drain.clone(), SHORTEST, Arc::clone(&ended), look));
        Self {
            drain,
            ended,
            begun,
        }
    }

    /// How long it stays, and whether it goes by itself.
    async fn stays(self) -> (Duration, Drained) {
        let drained = self.drain.run(DEADLINE, pending()).await;
        (self.begun.elapsed(), drained)
    }
}

#[tokio::test(start_paused = true)]
async fn a_native_sidecar_goes_when_it_was_quiet_for_a_moment() {
    let lingering = Lingering::among(|_| Others::Ended);
    let drain = lingering.drain.clone();
    let running = Duration::from_secs(2);
    drain.spawn(sleep(running));
    let (stayed, drained) = lingering.stays().await;
    assert_eq!(drained, Drained::Complete);
    assert!(
        stayed >= running + SHORTEST - SHORTEST / LOOKS,
        "{stayed:?}"
    );
    assert!(stayed < running + SHORTEST * 2, "{stayed:?}");
}

#[tokio::test(start_paused = true)]
async fn stays_while_somebody_has_a_socket_and_a_moment_longer() {
    let hook = Duration::from_secs(5);
    let lingering = Lingering::among(move |at| {
        if at < hook {
            Others::WithSockets
        } else {
            Others::WithoutSockets
        }
    });
    let (stayed, drained) = lingering.stays().await;
    assert_eq!(drained, Drained::Complete);
    assert!(stayed >= hook + WITHOUT_SOCKETS, "{stayed:?}");
    assert!(stayed < hook + WITHOUT_SOCKETS * 2, "{stayed:?}");
}

#[tokio::test(start_paused = true)]
async fn stays_no_longer_than_the_drain_may_take() {
    let lingering = Lingering::among(|_| Others::WithSockets);
    assert_eq!(
        lingering.stays().await,
        (DEADLINE, Drained::Aborted { tasks: 1 })
    );
}

#[tokio::test(start_paused = true)]
async fn a_connection_begins_the_quiet_time_anew() {
    for (others, quiet) in [
        (Others::WithoutSockets, WITHOUT_SOCKETS),
        (Others::Unseen, UNSEEN),
    ] {
        let lingering = Lingering::among(move |_| others);
        let drain = lingering.drain.clone();
        let late = quiet - quiet / 3;
        tokio::spawn(async move {
            sleep(late).await;
            // One that ends at once.
            drain.spawn(async {});
        });
        let (stayed, drained) = lingering.stays().await;
        assert_eq!(drained, Drained::Complete);
        assert!(stayed >= late + quiet, "{others:?}: {stayed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn goes_soon_once_the_catalog_says_that_the_application_has_ended() {
    for told in [Duration::ZERO, Duration::from_secs(4)] {
        let lingering = Lingering::among(|_| Others::WithSockets);
        let ended = Arc::clone(&lingering.ended);
        tokio::spawn(async move {
            sleep(told).await;
            ended.notify_one();
        });
        let (stayed, drained) = lingering.stays().await;
        assert_eq!(drained, Drained::Complete);
        assert!(stayed < told + SHORTEST * 2, "{stayed:?}");
    }
}
