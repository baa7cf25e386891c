//! What the catalog tells of its work in spans, as a receiver gets it.

use std::{net::SocketAddr, sync::Mutex};

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use serde_json::Value;

use super::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

type Spans = Arc<Mutex<Vec<Value>>>;

/// Takes spans as Zipkin has them.
async fn receiver() -> (SocketAddr, Spans) {
    let (listener, addr) = free_port().await;
    let spans = Spans::default();
    let take = async |State(spans): State<Spans>, Json(batch): Json<Vec<Value>>| {
        spans.lock().expect("nobody panics").extend(batch);
        StatusCode::ACCEPTED
    };
    let routes = Router::new()
        .route("/api/v2/spans", post(take))
        .with_state(Arc::clone(&spans));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (addr, spans)
}

/// The tags of the one span of a name for which that holds of its tags.
fn tags<'s>(spans: &'s [Value], name: &str, tag: (&str, &str)) -> &'s Value {
    let named = spans.iter().filter(|span| span["name"] == name);
    let named: Vec<_> = named.filter(|span| span["tags"][tag.0] == tag.1).collect();
    match named[..] {
        [span] => &span["tags"],
        _ => panic!("{name} with {tag:?}: {named:#?} of {spans:#?}"),
    }
}

#[tokio::test]
async fn changes_subscriptions_and_queries_are_told_in_spans() {
    let (receiver, spans) = receiver().await;
    let api = FakeApi::start().await;
    let ports = json!([{"name": "http", "port": 80}]);
    api.list("services", vec![service("cart", "10.96.0.1", ports)]);
    let client = Client::try_from(Config::new(api.uri())).expect("an address is enough");
    let args = args(&format!("zipkin=http://{receiver}/api/v2/spans"));
    let (readiness, drain) = (Readiness::new(), Drain::new());
    let ((grpc, grpc_addr), (http, http_addr)) = (free_port().await, free_port().await);
    let listeners = Listeners { grpc, http };
    let telemetry = telemetry(&args, &drain);
    serve(&args, &client, listeners, &telemetry, &readiness, &drain);

    let (stream, mut responses) = subscribe(grpc_addr, "10.96.0.1:80").await;
    assert!(matches!(hear(&mut responses).await, Message::Welcome(_)));
    assert!(matches!(hear(&mut responses).await, Message::Snapshot(_)));
    api.watched("endpointslices").await;
    let ports = json!([{"name": "http", "port": 8080}]);
    let members = json!([member("10.244.0.1", "cart-1")]);
    let slice = slice("a", "cart", ports, members);
    api.event("endpointslices", "ADDED", slice);
    assert!(matches!(hear(&mut responses).await, Message::Snapshot(_)));
    let parent = format!("traceparent: 00-{TRACE}-{CALLER}-01\r\n");
    ask(http_addr, "/v1/catalog/service/cart?ns=shop", &parent).await;
    drop((stream, responses));
    drain
        .run(Duration::from_secs(30), std::future::pending())
        .await;
    telemetry.flush(Duration::from_secs(30)).await;

    let spans = spans.lock().expect("nobody panics").clone();
    let listed = tags(
        &spans,
        "update index",
        ("netting.catalog.resource", "services"),
    );
    assert_eq!(listed["netting.catalog.event"], "list");
    assert_eq!(listed["netting.catalog.objects"], "1");
    let applied = tags(&spans, "update index", ("netting.catalog.event", "apply"));
    assert_eq!(applied["netting.catalog.object.namespace"], "shop");
    assert_eq!(applied["netting.catalog.changed_addresses"], "1");
    assert_eq!(applied["netting.catalog.marked_streams"], "1");
    let asked = tags(&spans, "subscribe", ("netting.sidecar.pod", "web-1"));
    assert_eq!(asked["netting.sidecar.namespace"], "shop");
    assert_eq!(asked["netting.catalog.addresses"], "1");
    assert_eq!(asked["netting.catalog.snapshots"], "1");
    assert_eq!(asked["k8s.container.name"], "netting-catalog");
    let query = spans
        .iter()
        .find(|span| span["kind"] == "SERVER" && span["traceId"] == TRACE);
    let query = query.expect("the trace goes on");
    assert_eq!(query["parentId"], CALLER);
    assert_eq!(query["name"], "get /v1/catalog/service/{name}");
    assert_eq!(query["tags"]["http.response.status_code"], "200");
    assert_eq!(query["tags"]["url.path"], "/v1/catalog/service/cart");
    assert_eq!(query["remoteEndpoint"]["ipv4"], "127.0.0.1");
}
