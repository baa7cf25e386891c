//! Against an API server that does as the tests say.

use std::{
    io::{self, Write},
    time::Duration,
};

use netting_telemetry::Metrics;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::{Instant, advance, pause, resume, timeout};

use super::*;
use crate::{
    index::{Changes, Index},
    objects::{Key, Parsed},
    test_api::{Expired, FakeApi},
    test_cluster::{addr, member, service, slice, with},
};

const CART: &str = "10.96.0.1:80";

/// A catalog's watches, and what they feed.
struct Watched {
    publisher: Arc<Publisher>,
    readiness: Readiness,
    metrics: Metrics,
    drain: Drain,
}

impl Watched {
    fn start(api: &FakeApi) -> Self {
        let watched = Self {
            publisher: Arc::new(Publisher::new()),
            readiness: Readiness::new(),
            metrics: Metrics::new("test", "0"),
            drain: Drain::new(),
        };
        let client = client_of(Config::new(api.uri())).expect("an address is enough");
        let feeding = Feeding {
            publisher: Arc::clone(&watched.publisher),
            metrics: CatalogMetrics::register(&watched.metrics),
            tracer: None,
        };
        start(&client, feeding, &watched.readiness, &watched.drain);
        watched
    }

    async fn synced(&self) {
        let mut synced = self.publisher.synced();
        synced.wait_for(|synced| *synced).await.expect("it lives");
    }

    /// Waits until an address has so many endpoints; `None` for unknown.
    async fn has(&self, address: &str, endpoints: Option<usize>) {
        let mut version = self.publisher.version();
        loop {
            let state = self.publisher.read(|index, _| index.lookup(addr(address)));
            if state.map(|state| state.endpoints.len()) == endpoints {
                return;
            }
            version.changed().await.expect("it lives");
        }
    }

    /// Waits until a series is there.
    async fn counts(&self, series: &str) {
        let exposed = || self.metrics.expose();
        while !exposed().contains(series) {
            tokio::task::yield_now().await;
        }
    }
}

fn cart() -> Value {
    service("cart", "10.96.0.1", json!([{"name": "http", "port": 80}]))
}

fn behind(name: &str, ips: &[&str]) -> Value {
    let members: Vec<Value> = ips.iter().map(|ip| member(ip, "cart-1")).collect();
    let ports = json!([{"name": "http", "port": 8080}]);
    slice(name, "cart", ports, json!(members))
}

#[tokio::test]
async fn says_what_it_may_not_list_and_goes_on_with_the_rest() {
    let api = FakeApi::start().await;
    api.list("services", vec![cart()]);
    api.refuse("endpointslices", Some(403));
    let watched = Watched::start(&api);
    watched
        .counts(r#"watch_errors_total{reason="forbidden",resource="endpointslices"}"#)
        .await;
    watched.has(CART, Some(0)).await;
    assert!(
        watched
            .readiness
            .missing()
            .contains(&"endpointslices listed")
    );
    assert!(!*watched.publisher.synced().borrow());
    api.refuse("endpointslices", None);
    watched.synced().await;
    assert!(watched.readiness.missing().is_empty());
}

#[tokio::test]
async fn refuses_garbage_item_by_item() {
    let api = FakeApi::start().await;
    api.list("services", vec![cart()]);
    let orphan = with(behind("orphan", &[]), "/metadata/labels", json!({}));
    api.list(
        "endpointslices",
        vec![behind("a", &["10.244.0.1", "no address"]), orphan],
    );
    let watched = Watched::start(&api);
    watched.synced().await;
    watched.has(CART, Some(1)).await;
    for reason in ["bad_address", "no_service_name"] {
        let series =
            format!(r#"refused_items_total{{reason="{reason}",resource="endpointslices"}} 1"#);
        watched.counts(&series).await;
    }
}

#[tokio::test]
async fn asks_only_for_what_it_needs() {
    let api = FakeApi::start().await;
    let watched = Watched::start(&api);
    watched.synced().await;
    let asked = api.asked();
    let list = |resource: &str| {
        let list = asked.iter().find(|query| query.starts_with(resource));
        list.expect("each resource is listed").clone()
    };
    assert!(list("pods?").contains("labelSelector=netting.dev%2Finjected%3Dtrue"));
    assert!(list("endpoints?").contains("managed-by%21%3Dendpoint-controller"));
    assert!(list("endpoints?").contains("skip-mirror%21%3Dtrue"));
    assert!(!list("services?").contains("labelSelector"));
    // A slice has up to 1000 endpoints, of half a kilobyte each.
    let slices = list("endpointslices?");
    assert!(slices.split(['?', '&']).any(|pair| pair == "limit=50"));
}

#[tokio::test]
async fn lists_anew_what_cannot_be_watched_from_where_it_was() {
    let api = FakeApi::start().await;
    api.list("services", vec![cart()]);
    let watched = Watched::start(&api);
    watched.synced().await;
    api.watched("endpointslices").await;
    // A store that was restored: it has other objects, and never had that version.
    api.list("endpointslices", vec![behind("a", &["10.244.0.1"])]);
    api.expire("endpointslices", Expired::Refused(400));
    api.end_watches();
    watched.has(CART, Some(1)).await;
    watched
        .counts(r#"watch_errors_total{reason="mistaken",resource="endpointslices"}"#)
        .await;
}

#[tokio::test]
async fn asks_an_api_server_that_is_busy_for_no_more_than_the_watch() {
    let api = FakeApi::start().await;
    api.list("services", vec![cart()]);
    let watched = Watched::start(&api);
    watched.synced().await;
    api.watched("endpointslices").await;
    api.expire("endpointslices", Expired::Refused(500));
    api.end_watches();
    watched
        .counts(r#"watch_errors_total{reason="refused",resource="endpointslices"}"#)
        .await;
    api.watched("endpointslices").await;
    let asked = api.asked();
    let slices = asked.iter().filter(|it| it.starts_with("endpointslices?"));
    let lists = slices.filter(|it| !it.contains("watch=true")).count();
    assert_eq!(lists, 1, "{asked:?}");
}

#[tokio::test]
async fn follows_what_happens_after_the_list() {
    let api = FakeApi::start().await;
    api.list("services", vec![cart()]);
    let watched = Watched::start(&api);
    watched.synced().await;
    api.watched("endpointslices").await;
    api.event("endpointslices", "ADDED", behind("a", &["10.244.0.1"]));
    watched.has(CART, Some(1)).await;
    api.event(
        "endpointslices",
        "MODIFIED",
        behind("a", &["10.244.0.1", "10.244.0.2"]),
    );
    watched.has(CART, Some(2)).await;
    api.event("endpointslices", "DELETED", behind("a", &[]));
    watched.has(CART, Some(0)).await;
}

#[tokio::test]
async fn keeps_what_it_knows_while_the_api_server_is_away() {
    for expired in [Expired::Answer, Expired::Event] {
        keeps_what_it_knows_until(expired).await;
    }
}

async fn keeps_what_it_knows_until(expired: Expired) {
    let api = FakeApi::start().await;
    api.list("services", vec![cart()]);
    api.list(
        "endpointslices",
        vec![behind("a", &["10.244.0.1"]), behind("b", &["10.244.0.2"])],
    );
    let watched = Watched::start(&api);
    watched.synced().await;
    watched.has(CART, Some(2)).await;
    // The watch ends, and so does every attempt to resume it.
    api.refuse("endpointslices", Some(500));
    api.end_watches();
    watched
        .counts(r#"watch_errors_total{reason="refused",resource="endpointslices"}"#)
        .await;
    watched.has(CART, Some(2)).await;
    assert!(
        watched.readiness.missing().is_empty(),
        "it serves what it knows"
    );
    // What happened meanwhile is forgotten there: only a list can tell.
    api.list(
        "endpointslices",
        vec![behind("b", &["10.244.0.2", "10.244.0.3", "10.244.0.4"])],
    );
    api.expire("endpointslices", expired);
    api.refuse("endpointslices", None);
    watched.has(CART, Some(3)).await;
    watched
        .counts(r#"watch_errors_total{reason="expired",resource="endpointslices"}"#)
        .await;
}

/// So many slices with an endpoint each.
fn slices(count: u8) -> Vec<Value> {
    let slice = |n| behind(&format!("cart-{n}"), &[&format!("10.244.0.{n}")]);
    (1..=count).map(slice).collect()
}

#[tokio::test]
async fn takes_a_list_in_as_many_pages_as_it_has() {
    let api = FakeApi::start().await;
    api.list("services", vec![cart()]);
    api.list("endpointslices", slices(120));
    let watched = Watched::start(&api);
    watched.synced().await;
    watched.has(CART, Some(120)).await;
    api.watched("endpointslices").await;
    let asked = api.asked();
    let of_slices = asked.iter().filter(|it| it.starts_with("endpointslices?"));
    let lists: Vec<_> = of_slices.filter(|it| !it.contains("watch=true")).collect();
    assert_eq!(lists.len(), 3, "{asked:?}");
    assert!(lists.iter().all(|it| it.contains("limit=50")), "{lists:?}");
    // What happened since the first page is the watch's to tell.
    api.event("endpointslices", "DELETED", behind("cart-120", &[]));
    watched.has(CART, Some(119)).await;
}

#[tokio::test]
async fn keeps_what_it_knows_until_a_list_has_come_with_all_its_pages() {
    let api = FakeApi::start().await;
    api.list("services", vec![cart()]);
    api.list("endpointslices", slices(2));
    let watched = Watched::start(&api);
    watched.synced().await;
    watched.has(CART, Some(2)).await;
    api.watched("endpointslices").await;
    // It has to list anew, and no list gets beyond its first page.
    api.list("endpointslices", slices(120));
    api.expire_pages("endpointslices", true);
    api.expire("endpointslices", Expired::Answer);
    api.end_watches();
    let next_page = |it: &&String| it.starts_with("endpointslices?") && it.contains("continue=");
    while api.asked().iter().filter(next_page).count() < 3 {
        tokio::task::yield_now().await;
    }
    watched.has(CART, Some(2)).await;
    assert!(
        watched.readiness.missing().is_empty(),
        "it serves what it knows"
    );
    api.expire_pages("endpointslices", false);
    watched.has(CART, Some(120)).await;
}

/// Services that none can be made of.
struct Faulty;

impl Source for Faulty {
    type Resource = core::Service;
    const RESOURCE: &'static str = "services";
    const WATCH: &'static str = "the watch of faults";
    const PAGE: u32 = 500;

    fn parse(_: &core::Service) -> Parsed<Self> {
        panic!("a fault, as the test says");
    }

    fn apply(self, _: &mut Index) -> Changes {
        Changes::default()
    }

    fn delete(_: &Key, _: &mut Index) -> Changes {
        Changes::default()
    }

    fn reset(_: Vec<Self>, _: &mut Index) -> Changes {
        Changes::default()
    }
}

#[tokio::test]
async fn a_watch_that_panics_over_an_object_is_not_lost_in_silence() {
    let api = FakeApi::start().await;
    api.list("services", vec![cart()]);
    let watches = Watches {
        feeding: Feeding {
            publisher: Arc::new(Publisher::new()),
            metrics: CatalogMetrics::register(&Metrics::new("test", "0")),
            tracer: None,
        },
        unlisted: Arc::new(AtomicUsize::new(1)),
    };
    let client = client_of(Config::new(api.uri())).expect("an address is enough");
    let (drain, listed) = (Drain::new(), Readiness::new().condition("listed"));
    watches.spawn::<Faulty>(watches.feed(), Api::all(client), listed, &drain);
    let lost = timeout(Duration::from_secs(10), drain.lost()).await;
    assert_eq!(lost.expect("it is told").task, "the watch of faults");
}

#[tokio::test]
async fn ends_with_the_drain() {
    let api = FakeApi::start().await;
    let watched = Watched::start(&api);
    watched.synced().await;
    let drained = watched
        .drain
        .run(Duration::from_secs(30), std::future::pending());
    assert_eq!(drained.await, netting_runtime::Drained::Complete);
}

#[test]
fn a_list_counts_once_it_is_complete() {
    fn typed(object: &Value) -> core::Service {
        serde_json::from_value(object.clone()).expect("a service")
    }
    let publisher = Arc::new(Publisher::new());
    let mut feed = Feed::<Service>::new(Feeding {
        publisher: Arc::clone(&publisher),
        metrics: CatalogMetrics::register(&Metrics::new("test", "0")),
        tracer: None,
    });
    let knows = |name: &str| {
        publisher.read(|index, _| index.service(&crate::test_cluster::key(name)).is_some())
    };
    let mut take = |event| feed.take(event, SystemTime::now());
    let shelf = service("shelf", "10.96.0.2", json!([]));
    assert!(!take(watcher::Event::Init));
    assert!(!take(watcher::Event::InitApply(typed(&shelf))));
    assert!(!knows("shelf"));
    // It failed half way, and begins again without what was listed.
    assert!(!take(watcher::Event::Init));
    assert!(!take(watcher::Event::InitApply(typed(&cart()))));
    assert!(take(watcher::Event::InitDone));
    assert!(knows("cart") && !knows("shelf"));
    assert!(!take(watcher::Event::Delete(typed(&cart()))));
    assert!(!knows("cart"));
}

/// Log lines, as a test reads them.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_object_with_many_bad_items_is_a_single_line_of_the_log() {
    let metrics = Metrics::new("test", "0");
    let mut feed = Feed::<Slice>::new(Feeding {
        publisher: Arc::new(Publisher::new()),
        metrics: CatalogMetrics::register(&metrics),
        tracer: None,
    });
    let mut bad = vec!["no address"; 999];
    bad.insert(0, "127.0.0.1");
    let slice = serde_json::from_value(behind("a", &bad)).expect("a slice");
    let lines = Lines::default();
    let log = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || log.clone());
    tracing::subscriber::with_default(subscriber.finish(), || {
        feed.take(watcher::Event::Apply(slice), SystemTime::now());
    });
    let text = String::from_utf8(lines.0.lock().clone()).expect("a log is text");
    assert_eq!(text.lines().count(), 1, "{text}");
    for said in ["WARN", "shop/a", "special_address", "127.0.0.1", "1000"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let series = r#"refused_items_total{reason="bad_address",resource="endpointslices"} 999"#;
    assert!(metrics.expose().contains(series), "each is counted");
}

/// Lets so much time pass for whoever sleeps.
async fn pass(time: Duration) {
    pause();
    advance(time).await;
    resume();
}

#[tokio::test]
async fn a_watch_that_was_well_for_a_while_is_asked_for_again_soon() {
    let api = FakeApi::start().await;
    let watched = Watched::start(&api);
    watched.synced().await;
    api.watched("services").await;
    let failures = |count: usize| {
        format!(r#"watch_errors_total{{reason="refused",resource="services"}} {count}"#)
    };
    api.refuse("services", Some(500));
    api.end_watches();
    for count in 1..8 {
        watched.counts(&failures(count)).await;
        // The longest pause.
        pass(Duration::from_secs(15)).await;
    }
    api.refuse("services", None);
    api.watched("services").await;
    // Nothing happens to any Service, and the watch ends.
    pass(Duration::from_secs(20)).await;
    api.expire("services", Expired::Refused(500));
    api.end_watches();
    watched.counts(&failures(8)).await;
    let begun = Instant::now();
    api.watched("services").await;
    let pause = begun.elapsed();
    assert!(pause < backoff::MIN * 4, "{pause:?}");
}

#[tokio::test]
async fn what_annotations_get_wrong_is_said_once_by_an_event_on_the_service() {
    let api = FakeApi::start().await;
    let annotated = |timeout: &str| {
        let annotations = json!({"netting.dev/timeout": timeout, "netting.dev/retries": "3"});
        with(cart(), "/metadata/annotations", annotations)
    };
    api.list("services", vec![annotated("5")]);
    let watched = Watched::start(&api);
    watched.synced().await;
    let event = &api.created(1).await[0];
    assert_eq!(event["regarding"]["kind"], "Service");
    assert_eq!(event["regarding"]["namespace"], "shop");
    assert_eq!(event["regarding"]["name"], "cart");
    assert_eq!(event["type"], "Warning");
    assert_eq!(event["reason"], "AnnotationIgnored");
    let note = event["note"].as_str().expect("it has a note");
    assert!(
        note.starts_with(r#"ignored netting.dev/timeout="5": expected a time"#),
        "{note}"
    );
    watched
        .counts(r#"refused_items_total{reason="bad_annotation",resource="services"} 1"#)
        .await;

    api.watched("services").await;
    api.event("services", "MODIFIED", annotated("5"));
    api.event("services", "MODIFIED", annotated("6"));
    let events = api.created(2).await;
    assert_eq!(events.len(), 2, "the same is not said twice");
    let note = events[1]["note"].as_str().expect("it has a note");
    assert!(note.contains(r#"timeout="6""#), "{note}");
}
