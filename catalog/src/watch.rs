//! Watches the API server and feeds the index.
//!
//! Each resource has a watch of its own. While the API server is away the index
//! stays as it is, and what changed meanwhile is made up for by a new list.

mod announce;
mod backoff;
mod failure;
mod feed;
mod source;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use futures_util::StreamExt as _;
use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use kube::{
    Api, Client, Config,
    runtime::watcher::{self, watcher},
};
use netting_runtime::{Drain, Readiness, readiness::Condition};
use netting_telemetry::{catalog::CatalogMetrics, trace::Tracer};
use tokio::time::sleep;

use crate::{
    objects::{Endpoints, Pod, Service, Slice, pod::watched::Watched},
    publisher::Publisher,
};

use announce::Announcer;
use backoff::Backoff;
use failure::Failure;
use feed::Feed;
use source::Source;

/// The API server ends each watch after this, and it is resumed; one that it
/// hasn't ended 5 seconds later is on a connection that is dead. client-go notices
/// as late (ping after 30 s, timeout 15 s).
const WATCH_SECONDS: u32 = 40;
/// How long the API server may take to be connected to.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest pause in an answer; a watch that nothing happens on ends before.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A client to the API server that notices when that is gone.
///
/// # Errors
/// If there is neither a kubeconfig nor a service account, or they are no good.
pub async fn client() -> anyhow::Result<Client> {
    let config = Config::infer().await.context(
        "cannot find the API server; run in a pod with a service account, or set KUBECONFIG",
    )?;
    client_of(config)
}

fn client_of(mut config: Config) -> anyhow::Result<Client> {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    // Else the time that a connection lay idle would count as the answer's.
    config.reset_reader_on_write = true;
    Client::try_from(config).context("cannot make a client to the API server")
}

/// Whom the watches feed, and who is told of it.
#[derive(Clone, Debug)]
pub struct Feeding {
    /// The index's owner.
    pub publisher: Arc<Publisher>,
    /// Where events, failures and what is held are counted.
    pub metrics: CatalogMetrics,
    /// What begins the spans of changes, if they are sent to anybody.
    pub tracer: Option<Tracer>,
}

/// What the watches share.
#[derive(Clone)]
struct Watches {
    feeding: Feeding,
    /// Resources that have not been listed yet.
    unlisted: Arc<AtomicUsize>,
}

/// Starts to watch all resources, until the drain starts. Each is a condition of
/// `readiness` that holds once it has been listed.
pub fn start(client: &Client, feeding: Feeding, readiness: &Readiness, drain: &Drain) {
    let watches = Watches {
        feeding,
        unlisted: Arc::new(AtomicUsize::new(4)),
    };
    let services: Api<core::Service> = Api::all(client.clone());
    let slices: Api<discovery::EndpointSlice> = Api::all(client.clone());
    let endpoints: Api<core::Endpoints> = Api::all(client.clone());
    let pods: Api<Watched> = Api::all(client.clone());
    let listed = |name| readiness.condition(name);
    let announcer = Announcer::start(client, drain);
    let feed = watches.feed().announcing(announcer);
    watches.spawn::<Service>(feed, services, listed("services listed"), drain);
    let feed = watches.feed();
    watches.spawn::<Slice>(feed, slices, listed("endpointslices listed"), drain);
    let feed = watches.feed();
    watches.spawn::<Endpoints>(feed, endpoints, listed("endpoints listed"), drain);
    let feed = watches.feed();
    watches.spawn::<Pod>(feed, pods, listed("pods listed"), drain);
}

impl Watches {
    fn feed<S: Source>(&self) -> Feed<S> {
        Feed::new(self.feeding.clone())
    }

    fn spawn<S: Source>(
        &self,
        feed: Feed<S>,
        api: Api<S::Resource>,
        listed: Condition,
        drain: &Drain,
    ) {
        let watch = self.clone().watch::<S>(feed, api, listed);
        let stopped = drain.clone();
        let watching = async move {
            tokio::select! {
                () = watch => {}
                () = stopped.started() => {}
            }
        };
        drain.spawn(drain.vital(S::WATCH, watching));
    }

    async fn watch<S: Source>(self, mut feed: Feed<S>, api: Api<S::Resource>, listed: Condition) {
        let config = watcher::Config {
            label_selector: S::SELECTOR.map(str::to_owned),
            page_size: Some(S::PAGE),
            ..watcher::Config::default().timeout(WATCH_SECONDS)
        };
        let mut events = watcher(api.clone(), config.clone()).boxed();
        let mut backoff = Backoff::new();
        let mut listed = Some(listed);
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = backoff.answered() => {
                    well(S::RESOURCE, &mut backoff);
                    continue;
                }
            };
            let heard_at = SystemTime::now();
            match event {
                None => return,
                // Says only that listing begins, which may fail at once.
                Some(Ok(watcher::Event::Init)) => feed.begin(),
                Some(Ok(event)) => {
                    // Of a list that may fail yet, on a later page.
                    let begun = matches!(event, watcher::Event::InitApply(_));
                    if !begun {
                        well(S::RESOURCE, &mut backoff);
                    }
                    if feed.take(event, heard_at)
                        && let Some(listed) = listed.take()
                    {
                        self.listed(S::RESOURCE, &listed);
                    }
                }
                Some(Err(error)) => {
                    let failure = Failure::of(&error);
                    let pause = backoff.failed();
                    failure.log(S::RESOURCE, &error, pause);
                    self.feeding
                        .metrics
                        .watch_error(S::RESOURCE, failure.reason());
                    if failure.wants_list() {
                        // kube lists anew if the watch says so in an event, but not
                        // if it is the answer to the request: it asks the same again.
                        events = watcher(api.clone(), config.clone()).boxed();
                    }
                    sleep(pause).await;
                }
            }
        }
    }

    /// A resource was listed for the first time.
    fn listed(&self, resource: &'static str, condition: &Condition) {
        condition.set(true);
        tracing::info!(resource, "listed");
        if self.unlisted.fetch_sub(1, Ordering::AcqRel) == 1 {
            tracing::info!("everything is listed; answering");
            self.feeding.publisher.set_synced();
        }
    }
}

fn well(resource: &'static str, backoff: &mut Backoff) {
    if let Some(failures) = backoff.recovered() {
        tracing::info!(resource, failures, "watching again");
    }
}

#[cfg(test)]
mod tests;
