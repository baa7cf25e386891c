//! Real queries over real sockets.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use netting_telemetry::Metrics;

use super::*;
use crate::test_cluster::{Object, member, service, slice, with};

struct Server {
    addr: std::net::SocketAddr,
    publisher: Arc<Publisher>,
    queries: Queries,
    drain: Drain,
}

struct Answer {
    code: u16,
    index: u64,
    body: String,
}

impl Server {
    async fn start(waiting_max: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("there is a free port");
        let addr = listener
            .local_addr()
            .expect("a bound socket has an address");
        let publisher = Arc::new(Publisher::new());
        let metrics = CatalogMetrics::register(&Metrics::new("test", "0"));
        let drain = Drain::new();
        let queries = Queries::new(Arc::clone(&publisher), metrics, waiting_max, drain.clone());
        drain.spawn(serve(listener, queries.clone().router(), drain.clone()));
        Self {
            addr,
            publisher,
            queries,
            drain,
        }
    }

    /// A catalog that has listed a cart with a ready endpoint and others.
    async fn with_cart() -> Self {
        let server = Self::start(10).await;
        server.publisher.set_synced();
        server.apply(&cart());
        server.apply(&behind());
        server
    }

    fn apply(&self, object: &Value) {
        self.publisher.update(SystemTime::now(), |index| {
            Object::parse(object).apply(index)
        });
    }

    async fn get(&self, path: &str) -> Answer {
        get(self.addr, path).await
    }

    async fn refused(&self, path: &str, code: u16, says: &str) {
        let answer = self.get(path).await;
        assert_eq!(answer.code, code, "{path}");
        assert!(answer.body.contains(says), "{path}: {}", answer.body);
    }

    /// Asks in the background, and returns once the query waits.
    async fn ask(&self, path: &str) -> JoinHandle<Answer> {
        let (addr, path) = (self.addr, path.to_owned());
        let before = self.waiting();
        let asked = tokio::spawn(async move { get(addr, &path).await });
        while self.waiting() == before {
            tokio::task::yield_now().await;
        }
        asked
    }

    fn waiting(&self) -> usize {
        10 - self.queries.waiting.available_permits()
    }
}

async fn get(addr: std::net::SocketAddr, path: &str) -> Answer {
    let mut stream = TcpStream::connect(addr).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: catalog\r\nconnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("it answers in UTF-8");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let index = head
        .lines()
        .find_map(|line| line.strip_prefix("x-consul-index: "));
    Answer {
        code: code.expect("a status line"),
        index: index.map_or(0, |index| index.parse().expect("a number")),
        body: body.to_owned(),
    }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }
}

fn cart() -> Value {
    service(
        "cart",
        "10.96.0.1",
        json!([{"name": "http", "port": 80}, {"name": "db", "port": 3306}]),
    )
}

fn behind() -> Value {
    let conditions = |ready: bool, terminating: bool| json!({"ready": ready, "serving": ready || terminating, "terminating": terminating});
    let with_conditions =
        |ip: &str, pod: &str, said: Value| with(member(ip, pod), "/conditions", said);
    let members = json!([
        with_conditions("10.244.0.1", "cart-1", conditions(true, false)),
        with_conditions("10.244.0.2", "cart-2", conditions(false, false)),
        with_conditions("10.244.0.3", "cart-3", conditions(false, true)),
    ]);
    slice(
        "cart-a",
        "cart",
        json!([{"name": "http", "port": 8080}]),
        members,
    )
}

fn shelf() -> Value {
    let shelf = service("cart", "10.96.0.9", json!([{"port": 80}]));
    with(shelf, "/metadata/namespace", json!("depot"))
}

#[tokio::test]
async fn refuses_what_it_does_not_understand_and_says_what_it_would() {
    let server = Server::with_cart().await;
    for (path, code, says) in [
        ("/", 404, "/v1/catalog/services"),
        ("/v1/catalog/nodes", 404, "/v1/catalog/services"),
        ("/v1/catalog/services?index=abc", 400, "\"abc\""),
        ("/v1/catalog/services?index=-1", 400, "\"-1\""),
        ("/v1/catalog/services?index=1&wait=5", 400, "5m"),
        ("/v1/catalog/services?filter=x", 400, "filter"),
        ("/v1/catalog/service/.shop", 400, "cart.shop"),
        ("/v1/catalog/service/cart.", 400, "cart.shop"),
        (
            "/v1/health/service/cart.shop?ns=depot",
            400,
            "namespace shop",
        ),
    ] {
        server.refused(path, code, says).await;
    }
}

#[tokio::test]
async fn gives_no_wrong_answer_before_everything_was_listed() {
    let server = Server::start(10).await;
    for path in ["/v1/catalog/services", "/v1/health/service/cart"] {
        server.refused(path, 503, "not listed").await;
    }
}

#[tokio::test]
async fn lists_services_with_their_ports_as_tags() {
    let server = Server::with_cart().await;
    server.apply(&shelf());
    let all = server.get("/v1/catalog/services").await;
    assert_eq!(
        all.json(),
        json!({"cart.depot": [], "cart.shop": ["http", "db"]})
    );
    assert!(all.index > 0);
    let one = server.get("/v1/catalog/services?ns=shop").await;
    assert_eq!(one.json(), json!({"cart": ["http", "db"]}));
    let none = server.get("/v1/catalog/services?ns=nowhere").await;
    assert_eq!(none.json(), json!({}));
}

#[tokio::test]
async fn lists_the_endpoints_of_a_service() {
    let server = Server::with_cart().await;
    let answer = server.get("/v1/catalog/service/cart.shop").await;
    let items = answer.json();
    assert_eq!(items.as_array().map(Vec::len), Some(3));
    assert_eq!(items[0]["ServiceID"], json!("shop/cart-1:8080"));
    assert_eq!(items[0]["ServiceName"], json!("cart"));
    assert_eq!(items[0]["Namespace"], json!("shop"));
    assert_eq!(items[0]["ServiceAddress"], json!("10.244.0.1"));
    assert_eq!(items[0]["ServicePort"], json!(8080));
    assert_eq!(items[0]["ServiceTags"], json!(["http"]));
    assert_eq!(
        items[0]["ServiceMeta"],
        json!({"meshed": "false", "pod": "cart-1", "protocol": "http"})
    );
    assert_eq!(items[0]["ModifyIndex"], json!(answer.index));
    for path in ["cart", "cart?ns=shop", "cart.shop?tag=http"] {
        let same = server.get(&format!("/v1/catalog/service/{path}")).await;
        assert_eq!(same.json(), items, "{path}");
    }
    for path in ["nothing", "cart?ns=depot", "cart.shop?tag=db"] {
        let none = server.get(&format!("/v1/catalog/service/{path}")).await;
        assert_eq!((none.code, none.json()), (200, json!([])), "{path}");
    }
}

#[tokio::test]
async fn tells_ready_terminating_and_not_ready_apart() {
    let server = Server::with_cart().await;
    let statuses = async |path: &str| {
        let items = server.get(path).await.json();
        let items = items.as_array().expect("a list").clone();
        let status = |item: &Value| item["Checks"][0]["Status"].as_str().map(str::to_owned);
        items.iter().filter_map(status).collect::<Vec<_>>()
    };
    let all = statuses("/v1/health/service/cart").await;
    assert_eq!(all, ["passing", "critical", "warning"]);
    for path in ["cart?passing", "cart?passing=true", "cart?passing=1"] {
        let passing = statuses(&format!("/v1/health/service/{path}")).await;
        assert_eq!(passing, ["passing"], "{path}");
    }
    assert_eq!(
        statuses("/v1/health/service/cart?passing=false")
            .await
            .len(),
        3
    );
}

#[tokio::test]
async fn waits_for_a_change_of_the_service_that_is_asked_for() {
    let server = Server::with_cart().await;
    let first = server.get("/v1/health/service/cart.shop?passing").await;
    let path = format!(
        "/v1/health/service/cart.shop?passing&index={}&wait=1m",
        first.index
    );
    let waiting = server.ask(&path).await;
    // Not that one.
    server.apply(&shelf());
    let empty = slice("cart-a", "cart", json!([]), json!([]));
    server.apply(&empty);
    let second = waiting.await.expect("the query is answered");
    assert_eq!(second.json(), json!([]));
    assert!(second.index > first.index);
    // The first's index is history: there is nothing to wait for.
    assert_eq!(server.get(&path).await.index, second.index);
}

#[tokio::test]
async fn waits_for_a_service_to_come_and_to_go() {
    let server = Server::start(10).await;
    server.publisher.set_synced();
    let none = server.get("/v1/catalog/services").await;
    assert_eq!((none.index, none.json()), (1, json!({})));
    let list = server.ask("/v1/catalog/services?index=1").await;
    let named = server.ask("/v1/catalog/service/cart?index=1").await;
    // Slices alone are no service.
    server.apply(&behind());
    server.apply(&cart());
    assert_eq!(
        list.await.expect("answered").json(),
        json!({"cart.shop": ["http", "db"]})
    );
    let here = named.await.expect("answered");
    assert_eq!(here.json().as_array().map(Vec::len), Some(3));

    let path = format!("/v1/catalog/service/cart?index={}", here.index);
    let gone = server.ask(&path).await;
    server.publisher.update(SystemTime::now(), |index| {
        Object::parse(&cart()).delete(index)
    });
    let gone = gone.await.expect("answered");
    assert_eq!(gone.json(), json!([]));
    assert!(gone.index > here.index);
}

#[tokio::test]
async fn an_endpoint_that_changes_wakes_nobody_who_waits_for_the_list() {
    let server = Server::with_cart().await;
    let list = server.get("/v1/catalog/services").await;
    server.apply(&slice("cart-a", "cart", json!([]), json!([])));
    assert_eq!(server.get("/v1/catalog/services").await.index, list.index);
}

#[tokio::test]
async fn an_index_from_a_replica_that_is_ahead_is_answered_at_once() {
    let server = Server::with_cart().await;
    let path = format!("/v1/catalog/service/cart?index={}", u64::MAX);
    let answer = server.get(&path).await;
    assert!(answer.index < u64::MAX);
    assert_eq!(answer.json().as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn gives_the_same_answer_when_the_wait_is_over() {
    let server = Server::with_cart().await;
    let first = server.get("/v1/catalog/service/cart").await;
    let path = format!("/v1/catalog/service/cart?index={}&wait=50ms", first.index);
    let again = server.get(&path).await;
    assert_eq!((again.index, again.json()), (first.index, first.json()));
}

#[tokio::test]
async fn refuses_to_keep_more_waiting_than_it_may() {
    let server = Server::with_cart().await;
    let index = server.get("/v1/catalog/services").await.index;
    let path = format!("/v1/catalog/services?index={index}");
    let mut waiting = Vec::new();
    for _ in 0..10 {
        waiting.push(server.ask(&path).await);
    }
    server.refused(&path, 429, "later").await;
    // Whoever doesn't wait is answered all the same.
    assert_eq!(server.get("/v1/catalog/services").await.code, 200);
    server.apply(&shelf());
    for answered in waiting {
        assert_eq!(answered.await.expect("answered").code, 200);
    }
}

#[tokio::test]
async fn a_drain_answers_those_who_wait() {
    let server = Server::with_cart().await;
    let index = server.get("/v1/catalog/services").await.index;
    let waiting = server
        .ask(&format!("/v1/catalog/services?index={index}"))
        .await;
    let drained = server
        .drain
        .run(Duration::from_secs(30), std::future::pending());
    assert_eq!(drained.await, netting_runtime::Drained::Complete);
    assert_eq!(waiting.await.expect("answered").code, 200);
}

#[tokio::test]
async fn a_client_that_talks_nonsense_disturbs_nobody() {
    let server = Server::with_cart().await;
    let silent = TcpStream::connect(server.addr).await.expect("it listens");
    let mut garbled = TcpStream::connect(server.addr).await.expect("it listens");
    garbled
        .write_all(b"\x16\x03\x01 half a hello")
        .await
        .expect("it is read");
    assert_eq!(server.get("/v1/catalog/services").await.code, 200);
    drop(silent);
}

#[tokio::test]
async fn tells_a_services_policy_and_what_is_wrong_with_it() {
    let server = Server::with_cart().await;
    let annotations = json!({"netting.dev/timeout": "5s", "netting.dev/retries": "often"});
    server.apply(&with(cart(), "/metadata/annotations", annotations));
    let answer = server.get("/v1/catalog/service/cart.shop?tag=http").await;
    let meta = &answer.json()[0]["ServiceMeta"];
    assert_eq!(meta["policy"], "timeout=5s");
    let expected = r#"netting.dev/retries="often": expected a number from 0 to 10"#;
    assert_eq!(meta["ignored-annotations"], expected);
}
