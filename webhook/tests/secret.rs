//! The certificate's Secret, shared by replicas in a small API server: each of them
//! keeps the Secret and the bundle, and serves TLS; the API server's side trusts what
//! is in the bundle and nothing else.
//!
//! Time is paused for the tasks; certificates go by the clock, so that an old one is
//! made as one of months ago.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use http::Method;
use k8s_openapi::ByteString;
use netting_webhook::certificate::{
    CaPem, self_made,
    shared::{CAS, CHAIN, KEY, NEXT_KEY, Shared},
};
use serde_json::{Value, json};

use api_server::ApiServer;
use replica::{BUNDLE, HOST, Replica, configuration};

#[path = "cluster/api_server.rs"]
#[allow(dead_code, reason = "each test uses a part of it")]
mod api_server;
#[path = "cluster/replica.rs"]
mod replica;

const SECRET: &str = "/api/v1/namespaces/netting/secrets/netting-webhook-tls";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Longer than any retry but that of what is forbidden, and than CAs take to spread.
const SETTLED: Duration = Duration::from_secs(120);

fn cluster() -> ApiServer {
    let server = ApiServer::default();
    server.lock().put(BUNDLE, configuration());
    server
}

fn made_days_ago(days: u32) -> Shared {
    let made = self_made::make(HOST, SystemTime::now() - days * DAY).expect("it is a name");
    Shared::fresh(made).expect("it is usable")
}

fn secret(data: &BTreeMap<String, ByteString>, ours: bool) -> Value {
    let by = if ours { "netting-webhook" } else { "somebody" };
    json!({
        "kind": "Secret", "apiVersion": "v1", "type": "kubernetes.io/tls",
        "metadata": {"labels": {"app.kubernetes.io/managed-by": by}},
        "data": data,
    })
}

fn data(server: &ApiServer) -> BTreeMap<String, ByteString> {
    let store = server.lock();
    let secret = store.get(SECRET).expect("it is there");
    serde_json::from_value(secret["data"].clone()).expect("it has data")
}

async fn settle() {
    tokio::time::sleep(SETTLED).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_replica_makes_it_and_all_serve_with_it() {
    let server = cluster();
    let replicas = [(); 3].map(|()| Replica::start(&server));
    settle().await;
    let served = replicas[0].trusted().await.expect("it is trusted");
    for replica in &replicas {
        assert_eq!(replica.trusted().await.as_ref(), Some(&served));
        assert!(replica.is_ready());
    }
    let created = |(method, path): &&(Method, String)| *method == Method::POST && path == SECRET;
    assert_eq!(server.lock().writes.iter().filter(created).count(), 1);
    assert!(Shared::read(&data(&server), HOST).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_renewal_is_never_served_before_it_is_trusted_and_drops_nobody() {
    let server = cluster();
    server
        .lock()
        .put(SECRET, secret(&made_days_ago(61).data(), true));
    let replicas = [(); 2].map(|()| Replica::start(&server));
    let mut seen = Vec::new();
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        for replica in &replicas {
            let leaf = replica.trusted().await;
            seen.push(leaf.expect("the bundle has what is served, at every moment"));
        }
    }
    let (old, new) = (seen[0].clone(), seen[399].clone());
    assert_ne!(old, new, "it was renewed");
    let change = seen
        .iter()
        .position(|leaf| *leaf == new)
        .expect("it is there");
    assert!(change > 100, "not before every API server has heard of it");
    assert!(seen[change + 2..].iter().all(|leaf| *leaf == new));
    let data = data(&server);
    assert_eq!(CaPem::all_in(&data[CAS].0).len(), 2);
    assert!(!data.contains_key(NEXT_KEY));
    let replaced = server
        .lock()
        .writes
        .iter()
        .filter(|(_, path)| path == SECRET)
        .count();
    assert_eq!(replaced, 2, "one stages it, and one promotes it");
}

#[tokio::test(start_paused = true)]
async fn one_that_has_expired_is_replaced_at_once() {
    let server = cluster();
    server
        .lock()
        .put(SECRET, secret(&made_days_ago(100).data(), true));
    let replica = Replica::start(&server);
    settle().await;
    assert!(replica.trusted().await.is_some());
    assert_eq!(CaPem::all_in(&data(&server)[CAS].0).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_of_the_team_is_served_and_never_written() {
    let server = cluster();
    let given = secret(&made_days_ago(61).data(), false);
    server.lock().put(SECRET, given);
    let replica = Replica::start(&server);
    settle().await;
    let first = replica
        .trusted()
        .await
        .expect("its ca.crt is in the bundle");
    server
        .lock()
        .put(SECRET, secret(&made_days_ago(0).data(), false));
    settle().await;
    let second = replica.trusted().await.expect("the new ca.crt is too");
    assert_ne!(first, second);
    let writes = &server.lock().writes;
    assert!(writes.iter().all(|(_, path)| path != SECRET), "{writes:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_cert_manager_has_taken_over_is_not_ours() {
    let server = cluster();
    let mut taken = secret(&made_days_ago(61).data(), true);
    taken["metadata"]["annotations"] = json!({"cert-manager.io/certificate-name": "webhook"});
    server.lock().put(SECRET, taken);
    let _replica = Replica::start(&server);
    settle().await;
    let writes = &server.lock().writes;
    assert!(writes.iter().all(|(_, path)| path != SECRET), "{writes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_one_is_mended_if_it_is_ours_and_done_without_if_not() {
    for ours in [true, false] {
        let server = cluster();
        let mut damaged = made_days_ago(0).data();
        damaged.insert(KEY.to_owned(), ByteString(b"garbage".to_vec()));
        server.lock().put(SECRET, secret(&damaged, ours));
        let replica = Replica::start(&server);
        settle().await;
        assert!(replica.trusted().await.is_some(), "ours: {ours}");
        assert_eq!(data(&server) == damaged, !ours, "ours: {ours}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_the_team_damages_later_changes_nothing() {
    let server = cluster();
    let replica = Replica::start(&server);
    settle().await;
    let served = replica.trusted().await.expect("it is trusted");
    let mut damaged = made_days_ago(61).data();
    damaged.remove(CHAIN);
    server.lock().put(SECRET, secret(&damaged, false));
    settle().await;
    assert_eq!(replica.trusted().await, Some(served));
    assert_eq!(data(&server), damaged);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_deleted_is_made_anew_without_a_gap() {
    let server = cluster();
    let replicas = [(); 2].map(|()| Replica::start(&server));
    settle().await;
    let old = replicas[0].trusted().await.expect("it is trusted");
    server.lock().delete(SECRET);
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_secs(3)).await;
        for replica in &replicas {
            assert!(replica.trusted().await.is_some());
        }
    }
    let new = replicas[0].trusted().await;
    assert_ne!(new, Some(old));
    assert_eq!(replicas[1].trusted().await, new);
}

#[tokio::test(start_paused = true)]
async fn without_rights_each_replica_has_its_own_until_it_gets_them() {
    for forbidden in [
        vec![(Method::GET, "/secrets")],
        vec![(Method::POST, "/secrets")],
    ] {
        let server = cluster();
        server.lock().forbidden = forbidden;
        let replicas = [(); 2].map(|()| Replica::start(&server));
        settle().await;
        let own = replicas[0].trusted().await.expect("it is trusted");
        let other = replicas[1].trusted().await.expect("it is trusted");
        assert_ne!(own, other);
        server.lock().forbidden.clear();
        for _ in 0..60 {
            tokio::time::sleep(Duration::from_secs(15)).await;
            assert!(replicas[0].trusted().await.is_some());
            assert!(replicas[1].trusted().await.is_some());
        }
        let shared = replicas[0].trusted().await;
        assert_eq!(replicas[1].trusted().await, shared);
        assert!(Shared::read(&data(&server), HOST).is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_fails_is_asked_again() {
    let server = cluster();
    server.lock().failing = 9;
    let replica = Replica::start(&server);
    settle().await;
    assert!(replica.trusted().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_change_at_the_same_moment_is_not_overwritten() {
    let server = cluster();
    server
        .lock()
        .put(SECRET, secret(&made_days_ago(61).data(), true));
    let given = made_days_ago(0).data();
    server.lock().race = Some((SECRET.to_owned(), secret(&given, false)));
    let replica = Replica::start(&server);
    settle().await;
    assert_eq!(data(&server), given);
    assert!(replica.trusted().await.is_some());
}
