//! What the webhook looks up in the cluster and writes there, with a small API
//! server: namespaces' annotations, its version, and Events.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::Method;
use netting_telemetry::{Metrics, admission::EventMetrics};
use netting_webhook::{
    SkipReason, Verdict, api_version,
    events::Events,
    namespaces::{ASK_TIMEOUT, Namespaces},
    review::Review,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use api_server::ApiServer;

#[path = "cluster/api_server.rs"]
#[allow(dead_code, reason = "each test uses a part of it")]
mod api_server;

/// Longer than it takes to count an Event up, shorter than it is remembered.
const SETTLED: Duration = Duration::from_secs(60);

fn namespace(log_level: &str) -> Value {
    json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"annotations": {
        "netting.dev/log-level": log_level,
        "kubectl.kubernetes.io/last-applied-configuration": "long",
    }}})
}

async fn log_level(namespaces: &Namespaces, name: &str) -> Option<String> {
    let annotations = namespaces.known(name).await.annotations;
    assert!(
        annotations
            .keys()
            .all(|key| key.starts_with("netting.dev/"))
    );
    annotations.get("netting.dev/log-level").cloned()
}

#[tokio::test(start_paused = true)]
async fn annotations_of_namespaces_are_followed() {
    let server = ApiServer::default();
    server
        .lock()
        .put("/api/v1/namespaces/shop", namespace("debug"));
    let (namespaces, following) = Namespaces::follow(server.client());
    tokio::spawn(following);
    sleep(SETTLED).await;
    // From here on only what was followed can answer.
    server.lock().forbidden = vec![(Method::GET, "/namespaces/")];
    assert_eq!(
        log_level(&namespaces, "shop").await.as_deref(),
        Some("debug")
    );
    server
        .lock()
        .put("/api/v1/namespaces/shop", namespace("trace"));
    server
        .lock()
        .put("/api/v1/namespaces/bank", namespace("warn"));
    sleep(SETTLED).await;
    assert_eq!(
        log_level(&namespaces, "shop").await.as_deref(),
        Some("trace")
    );
    assert_eq!(
        log_level(&namespaces, "bank").await.as_deref(),
        Some("warn")
    );
    server.lock().delete("/api/v1/namespaces/bank");
    sleep(SETTLED).await;
    assert_eq!(log_level(&namespaces, "bank").await, None);
}

#[tokio::test(start_paused = true)]
async fn the_pod_security_standard_of_a_namespace_is_followed_too() {
    let server = ApiServer::default();
    let enforcing = |level: &str| {
        json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"labels": {
            "app": "shop",
            "pod-security.kubernetes.io/enforce": level,
        }}})
    };
    let path = "/api/v1/namespaces/shop";
    server.lock().put(path, enforcing("restricted"));
    let (namespaces, following) = Namespaces::follow(server.client());
    let level = async || namespaces.known("shop").await.pod_security;
    assert_eq!(
        level().await.as_deref(),
        Some("restricted"),
        "it is asked for"
    );
    tokio::spawn(following);
    sleep(SETTLED).await;
    server.lock().forbidden = vec![(Method::GET, "/namespaces/")];
    assert_eq!(level().await.as_deref(), Some("restricted"));
    server.lock().put(path, enforcing("privileged"));
    sleep(SETTLED).await;
    assert_eq!(level().await.as_deref(), Some("privileged"));
}

#[tokio::test(start_paused = true)]
async fn limit_ranges_bound_the_pods_of_their_own_namespace() {
    let server = ApiServer::default();
    let range = |namespace: &str, min: &str| {
        json!({"kind": "LimitRange", "apiVersion": "v1",
            "metadata": {"namespace": namespace},
            "spec": {"limits": [{"type": "Container", "min": {"memory": min}}]}})
    };
    // The API server lists all of them in one place too.
    let path = |name: &str| format!("/api/v1/limitranges/{name}");
    for name in ["shop", "bank", "elsewhere"] {
        let path = format!("/api/v1/namespaces/{name}");
        server.lock().put(&path, namespace("info"));
    }
    server.lock().put(&path("one"), range("shop", "32Mi"));
    server.lock().put(&path("other"), range("bank", "1Gi"));
    let (namespaces, following) = Namespaces::follow(server.client());
    let early = timeout(SETTLED, namespaces.listed()).await;
    assert!(early.is_err(), "nothing has been listed");
    tokio::spawn(following);
    namespaces.listed().await;
    let min = async |name: &str| {
        let min = namespaces.known(name).await.bounds.memory.container.min;
        min.map(|min| min.to_string())
    };
    assert_eq!(min("shop").await.as_deref(), Some("32Mi"));
    assert_eq!(min("bank").await.as_deref(), Some("1Gi"));
    assert_eq!(min("elsewhere").await, None);
    server.lock().delete(&path("one"));
    sleep(SETTLED).await;
    assert_eq!(min("shop").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_not_known_yet_is_asked_for_and_waited_for_no_longer_than_that() {
    let server = ApiServer::default();
    server
        .lock()
        .put("/api/v1/namespaces/shop", namespace("debug"));
    let range = json!({"kind": "LimitRange", "apiVersion": "v1", "metadata": {},
        "spec": {"limits": [{"type": "Container", "min": {"memory": "32Mi"}}]}});
    server
        .lock()
        .put("/api/v1/namespaces/shop/limitranges/one", range);
    let (namespaces, _not_polled) = Namespaces::follow(server.client());
    let known = namespaces.known("shop").await;
    let min = known.bounds.memory.container.min;
    assert_eq!(min.map(|min| min.to_string()).as_deref(), Some("32Mi"));
    assert_eq!(known.annotations["netting.dev/log-level"], "debug");
    assert!(!known.unanswered);

    let unknown = async |name: &str| {
        let known = namespaces.known(name).await;
        known.unanswered && known.annotations.is_empty()
    };
    assert!(unknown("nowhere").await);
    server.lock().forbidden = vec![(Method::GET, "/namespaces")];
    assert!(unknown("shop").await);

    server.lock().forbidden = Vec::new();
    server.lock().silent = true;
    let begun = Instant::now();
    assert!(unknown("shop").await);
    assert_eq!(begun.elapsed(), ASK_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn pods_of_one_namespace_that_wait_share_a_question() {
    let server = ApiServer::default();
    server.lock().silent = true;
    let (namespaces, _not_polled) = Namespaces::follow(server.client());
    let wait = async |name: &str| namespaces.known(name).await.unanswered;
    let waited = tokio::join!(wait("shop"), wait("bank"), wait("shop"), wait("shop"));
    assert_eq!(waited, (true, true, true, true));
    let asked_for = |name: &str| {
        let path = format!("/api/v1/namespaces/{name}");
        let server = server.lock();
        server.asked.iter().filter(|asked| **asked == path).count()
    };
    assert_eq!((asked_for("shop"), asked_for("bank")), (1, 1));

    server.lock().silent = false;
    server
        .lock()
        .put("/api/v1/namespaces/shop", namespace("debug"));
    assert!(!wait("shop").await, "what failed is asked anew");
}

/// What was said of native sidecars, in turn.
type Said = Arc<Mutex<Vec<bool>>>;

fn follow_version(server: &ApiServer) -> Said {
    let said = Said::default();
    let saying = Arc::clone(&said);
    tokio::spawn(api_version::follow(
        server.client(),
        move |native_sidecars| {
            let mut said = saying.lock().expect("nobody panics with it");
            said.push(native_sidecars);
        },
    ));
    said
}

fn version(minor: &str) -> Value {
    json!({"major": "1", "minor": minor, "gitVersion": format!("v1.{minor}.0"),
        "gitCommit": "", "gitTreeState": "", "buildDate": "", "goVersion": "",
        "compiler": "", "platform": ""})
}

fn node(kubelet: &str) -> Value {
    json!({"kind": "Node", "apiVersion": "v1", "status": {"nodeInfo": {
        "kubeletVersion": kubelet, "architecture": "", "bootID": "", "containerRuntimeVersion": "",
        "kernelVersion": "", "kubeProxyVersion": "", "machineID": "", "operatingSystem": "",
        "osImage": "", "systemUUID": "",
    }}})
}

#[tokio::test(start_paused = true)]
async fn the_version_is_asked_for_until_it_is_told_and_again_after_an_upgrade() {
    let server = ApiServer::default();
    let said = follow_version(&server);
    let said = || said.lock().expect("nobody panics with it").clone();
    sleep(SETTLED).await;
    assert!(said().is_empty());
    for (minor, expected) in [
        ("28+", vec![false]),
        ("28+", vec![false]),
        ("32", vec![false, true]),
    ] {
        server.lock().kubernetes = Some(version(minor));
        sleep(10 * SETTLED).await;
        assert_eq!(said(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn sidecars_are_native_once_every_kubelet_has_been_upgraded_too() {
    let server = ApiServer::default();
    server.lock().kubernetes = Some(version("31"));
    server.lock().forbidden = vec![(Method::GET, "/nodes")];
    let said = follow_version(&server);
    let said = || said.lock().expect("nobody panics with it").clone();
    sleep(10 * SETTLED).await;
    assert!(said().is_empty(), "nobody may say what the kubelets are");

    server.lock().forbidden = Vec::new();
    let put = |name: &str, kubelet: &str| {
        let path = format!("/api/v1/nodes/{name}");
        server.lock().put(&path, node(kubelet));
    };
    put("new", "v1.31.2");
    put("old", "v1.28.15-eks-113cf36");
    sleep(10 * SETTLED).await;
    assert_eq!(said(), [false]);

    put("old", "v1.29.0");
    sleep(10 * SETTLED).await;
    assert_eq!(said(), [false, true]);
}

/// A retry comes within half a minute, and then all that was asked for has been answered.
const RETRIED: Duration = Duration::from_secs(40);

#[tokio::test(start_paused = true)]
async fn what_is_known_of_native_sidecars_stays_known_while_the_api_server_does_not_say() {
    let server = ApiServer::default();
    server.lock().kubernetes = Some(version("31"));
    let put = |kubelet: &str| {
        server.lock().put("/api/v1/nodes/one", node(kubelet));
    };
    put("v1.31.2");
    let said = follow_version(&server);
    let said = || said.lock().expect("nobody panics with it").clone();
    sleep(SETTLED).await;
    assert_eq!(said(), [true]);

    let unreadable = json!({"major": "", "minor": "", "gitVersion": "master"});
    let mut expected = vec![true];
    for (kubelet, native) in [("v1.28.15", false), ("v1.29.0", true)] {
        for fault in ["refused", "silent", "unreadable"] {
            let before = server.lock().kubernetes.clone();
            match fault {
                "refused" => server.lock().forbidden = vec![(Method::GET, "/nodes")],
                "silent" => server.lock().silent = true,
                _ => server.lock().kubernetes = Some(unreadable.clone()),
            }
            sleep(10 * SETTLED).await;
            assert_eq!(said(), expected, "{fault}");
            let mut server = server.lock();
            server.forbidden = Vec::new();
            server.silent = false;
            server.kubernetes = before;
        }
        // Still before the next look that nothing was wrong with.
        put(kubelet);
        expected.push(native);
        sleep(RETRIED).await;
        assert_eq!(said(), expected, "it is asked again soon");
    }
}

fn review(pod: usize) -> Review {
    let review = json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": pod.to_string(), "operation": "CREATE", "namespace": "shop",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "object": {"metadata": {"generateName": "web-1-", "ownerReferences": [
                {"controller": true, "apiVersion": "apps/v1", "kind": "ReplicaSet",
                    "name": "web-1", "uid": "u"},
            ]}},
        },
    });
    Review::parse(review.to_string().as_bytes()).expect("it is a review")
}

fn verdict(warning: &str) -> Verdict {
    let mut verdict = Verdict::skip(SkipReason::HostNetwork);
    verdict.warnings = vec![warning.to_owned()];
    verdict
}

fn events(server: &ApiServer) -> (Events, Metrics) {
    let metrics = Metrics::new("webhook", "0");
    let (events, writer) = Events::new(EventMetrics::register(&metrics), "webhook-1");
    tokio::spawn(writer.write(server.client()));
    (events, metrics)
}

fn count(metrics: &Metrics, series: &str) -> u64 {
    let exposition = metrics.expose();
    let line = exposition
        .lines()
        .find_map(|line| line.strip_prefix(series));
    let number = line.expect("the series is there").trim();
    number.parse().expect("a counter is a number")
}

#[tokio::test(start_paused = true)]
async fn a_hundred_replicas_with_one_mistake_are_one_event_about_their_controller() {
    let server = ApiServer::default();
    let (events, metrics) = events(&server);
    for pod in 0..100 {
        events.tell(&review(pod), &verdict("pod not injected"));
    }
    sleep(SETTLED).await;
    let store = server.lock();
    let written = store.all("events");
    assert_eq!(written.len(), 1);
    let event = written[0];
    assert_eq!(event["metadata"]["namespace"], "shop");
    assert_eq!(event["type"], "Warning");
    assert_eq!(event["reason"], "NettingNotInjected");
    assert_eq!(event["note"], "pod not injected");
    assert_eq!(event["regarding"]["kind"], "ReplicaSet");
    assert_eq!(event["regarding"]["name"], "web-1");
    assert_eq!(event["reportingInstance"], "webhook-1");
    assert_eq!(event["series"]["count"], 100);
    assert_eq!(store.writes.len(), 2, "one creates it and one counts it up");
    assert_eq!(count(&metrics, "netting_events_dropped_total"), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_or_refused_is_dropped_and_counted() {
    let server = ApiServer::default();
    let (events, metrics) = events(&server);
    for pod in 0..1000 {
        events.tell(&review(pod), &verdict(&format!("mistake {pod}")));
    }
    sleep(SETTLED).await;
    let written = server.lock().all("events").len();
    assert!((1..=30).contains(&written), "{written}");
    let dropped = count(&metrics, "netting_events_dropped_total");
    assert_eq!(dropped + u64::try_from(written).expect("few"), 1000);

    server.lock().forbidden = vec![(Method::POST, "/events")];
    events.tell(&review(0), &verdict("refused"));
    sleep(SETTLED).await;
    assert_eq!(count(&metrics, "netting_events_dropped_total"), dropped + 1);
    server.lock().forbidden.clear();
    events.tell(&review(0), &verdict("refused"));
    sleep(SETTLED).await;
    assert_eq!(server.lock().all("events").len(), written + 1);
}
