//! Keeps a stream to the catalog open and the view filled.
//!
//! The stream is the only thing that needs the catalog: while it is away, the view
//! stays as it was, and each attempt to open it again waits longer, with jitter, so
//! that a restarted catalog is not met by all sidecars at once.

use std::{path::PathBuf, sync::Arc, time::Duration};

use netting_proto::v1::{self, catalog_client::CatalogClient, stream_request, stream_response};
use netting_runtime::readiness::Condition;
use netting_telemetry::discovery::DiscoveryMetrics;
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::{addr::OriginalDst, args::HostPort, view::View};

mod channel;
mod take_in;

use channel::connect;

/// How long the catalog has to accept the stream, and to say Welcome.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// Silent for so many of its heartbeat intervals, the stream counts as dead.
const SILENT_INTERVALS: u32 = 3;
/// First and longest pause before the stream is opened again.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// A stream that lasted this long was a good one: the next failure starts anew.
const GOOD_STREAM: Duration = Duration::from_secs(10);
/// Addresses in one Subscribe message; keeps it far below any message size limit.
const SUBSCRIPTIONS_IN_A_MESSAGE: usize = 500;
/// A snapshot of some 300,000 endpoints; more than one service should ever have.
const MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Requests that may wait for the stream to take them.
const REQUEST_QUEUE: usize = 16;
/// How often idle addresses are looked for.
const FORGET_INTERVAL: Duration = Duration::from_secs(5);

/// Fills a view from the catalog.
pub struct Subscriber {
    /// What is filled.
    pub view: Arc<View>,
    /// Where the catalog is.
    pub catalog: HostPort,
    /// What its name is looked up with.
    pub resolv_conf: PathBuf,
    /// Who asks.
    pub hello: v1::Hello,
    /// Holds from the first Welcome on.
    pub welcomed: Condition,
    /// Told once the application of this pod has ended for good.
    pub application_ended: Arc<Notify>,
    /// The stream's instruments.
    pub metrics: DiscoveryMetrics,
}

/// Why a stream ended. Another one is opened, whatever the reason.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the catalog could not be reached")]
    Connect(#[source] anyhow::Error),
    #[error("the catalog did not accept the stream within {OPEN_TIMEOUT:?}")]
    NotAccepted,
    #[error("the catalog did not begin with Welcome")]
    NotWelcome,
    #[error("the catalog has been silent for {0:?}")]
    Silent(Duration),
    #[error("the catalog closed the stream")]
    Closed,
    #[error("the catalog ended the stream")]
    Status(#[from] Status),
}

type Requests = mpsc::Sender<v1::StreamRequest>;

impl Subscriber {
    /// Runs until the process ends.
    pub async fn run(self) {
        tokio::join!(self.keep_a_stream(), self.forget());
    }

    async fn keep_a_stream(&self) {
        let mut backoff = BACKOFF_MIN;
        loop {
            let opened = Instant::now();
            let ended = self.stream().await;
            self.view.disconnected();
            self.metrics.connected.set(0);
            if opened.elapsed() >= GOOD_STREAM {
                backoff = BACKOFF_MIN;
            }
            let pause = backoff.mul_f64(0.5 + fastrand::f64());
            log_ended(&ended, pause);
            sleep(pause).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// Forgets idle addresses, with or without a stream: without one, an application
    /// that tries ever new addresses would fill the view up.
    async fn forget(&self) {
        let mut look = interval(FORGET_INTERVAL);
        loop {
            look.tick().await;
            self.view.forget_idle();
            let followed = i64::try_from(self.view.len()).unwrap_or(i64::MAX);
            self.metrics.destinations.set(followed);
        }
    }

    /// One stream, from its opening to its end.
    async fn stream(&self) -> Ended {
        let (requests, mut responses) = match self.open().await {
            Ok(opened) => opened,
            Err(ended) => return ended,
        };
        let heartbeat = match welcome(&mut responses).await {
            Ok(heartbeat) => heartbeat,
            Err(ended) => return ended,
        };
        tracing::info!(catalog = %self.catalog, ?heartbeat, "connected to the catalog");
        self.welcomed.set(true);
        self.metrics.opened();
        self.view.connected();
        self.follow(&requests, &mut responses, heartbeat).await
    }

    async fn open(&self) -> Result<(Requests, Streaming<v1::StreamResponse>), Ended> {
        let channel = connect(&self.catalog, &self.resolv_conf)
            .await
            .map_err(Ended::Connect)?;
        let (requests, queue) = mpsc::channel(REQUEST_QUEUE);
        let hello = stream_request::Kind::Hello(self.hello.clone());
        // The queue is new: there is room.
        let _ = requests.try_send(v1::StreamRequest { kind: Some(hello) });
        let mut client = CatalogClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let opening = client.stream(ReceiverStream::new(queue));
        let opened = timeout(OPEN_TIMEOUT, opening).await;
        let responses = opened.map_err(|_| Ended::NotAccepted)??.into_inner();
        Ok((requests, responses))
    }

    /// Takes in what the catalog says and tells it what the view asks, until one
    /// of them ends.
    async fn follow(
        &self,
        requests: &Requests,
        responses: &mut Streaming<v1::StreamResponse>,
        heartbeat: Duration,
    ) -> Ended {
        let silence = heartbeat * SILENT_INTERVALS;
        let mut beat = interval(heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sequence = 0;
        let mut heard = Instant::now();
        loop {
            let said = tokio::select! {
                response = responses.message() => {
                    match response {
                        Ok(Some(response)) => self.take_in(response),
                        Ok(None) => return Ended::Closed,
                        Err(status) => return Ended::Status(status),
                    }
                    heard = Instant::now();
                    continue;
                }
                () = tokio::time::sleep_until(heard + silence) => return Ended::Silent(silence),
                () = self.view.asked() => self.ask(requests, silence).await,
                _ = beat.tick() => {
                    sequence += 1;
                    let beat = stream_request::Kind::Heartbeat(v1::Heartbeat { sequence });
                    say(requests, beat, silence).await
                }
            };
            if let Err(ended) = said {
                return ended;
            }
        }
    }
}

impl Subscriber {
    /// Tells the catalog which addresses are in use, and which no longer.
    async fn ask(&self, requests: &Requests, patience: Duration) -> Result<(), Ended> {
        let pending = self.view.take_pending();
        for addresses in pending.unsubscribe.chunks(SUBSCRIPTIONS_IN_A_MESSAGE) {
            let addresses = addresses.iter().map(|dst| dst.0.into()).collect();
            let unsubscribe = v1::Unsubscribe { addresses };
            say(
                requests,
                stream_request::Kind::Unsubscribe(unsubscribe),
                patience,
            )
            .await?;
        }
        for addresses in pending.subscribe.chunks(SUBSCRIPTIONS_IN_A_MESSAGE) {
            let subscriptions = addresses
                .iter()
                .map(|dst| self.subscription(*dst))
                .collect();
            let subscribe = v1::Subscribe { subscriptions };
            say(
                requests,
                stream_request::Kind::Subscribe(subscribe),
                patience,
            )
            .await?;
        }
        Ok(())
    }

    fn subscription(&self, dst: OriginalDst) -> v1::Subscription {
        v1::Subscription {
            address: Some(dst.0.into()),
            known_hash: self.view.hash(dst),
        }
    }
}

/// Waits for the first message, which is Welcome, and returns its interval.
async fn welcome(responses: &mut Streaming<v1::StreamResponse>) -> Result<Duration, Ended> {
    let first = timeout(OPEN_TIMEOUT, responses.message()).await;
    let first = first.map_err(|_| Ended::NotAccepted)??;
    match first.ok_or(Ended::Closed)?.kind {
        Some(stream_response::Kind::Welcome(welcome)) => {
            let interval_ms = welcome.heartbeat_interval_ms.max(1);
            Ok(Duration::from_millis(interval_ms.into()))
        }
        _ => Err(Ended::NotWelcome),
    }
}

async fn say(
    requests: &Requests,
    kind: stream_request::Kind,
    patience: Duration,
) -> Result<(), Ended> {
    let request = v1::StreamRequest { kind: Some(kind) };
    match timeout(patience, requests.send(request)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Ended::Closed),
        Err(_) => Err(Ended::Silent(patience)),
    }
}

fn log_ended(ended: &Ended, pause: Duration) {
    let cause = match ended {
        Ended::Connect(error) => format!("{error:#}"),
        Ended::Status(status) => format!("{:?}: {}", status.code(), status.message()),
        _ => String::new(),
    };
    tracing::warn!(error = %ended, cause, ?pause, "no stream to the catalog; keeping what is known");
}

#[cfg(test)]
mod tests;
