//! The certificate's Secret, shared by replicas in a small API server: each of them
//! keeps the Secret and the bundle, and serves TLS; the API server's side trusts what
//! is in the bundle and nothing else.
//!
//! Time is paused for the tasks; certificates go by the clock, so that an old one is
//! made as one of months ago.

use std::{
    collections::{BTreeMap, VecDeque},
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

/// Two API servers: one hears of a change at once, the other half a minute later.
#[tokio::test(start_paused = true)]
async fn a_change_of_the_teams_is_served_once_every_api_server_trusts_it() {
    let server = cluster();
    let given = made_days_ago(61).data();
    server.lock().put(SECRET, secret(&given, false));
    let replicas = [(); 2].map(|()| Replica::start(&server));
    settle().await;
    let first = replicas[0].trusted().await.expect("it is trusted");
    let given = made_days_ago(0).data();
    server.lock().put(SECRET, secret(&given, false));
    let (mut late, mut seen) = (VecDeque::new(), Vec::new());
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        late.push_back(replicas[0].bundle());
        let old = late[late.len().saturating_sub(30)].clone();
        for replica in &replicas {
            let leaf = replica.trusted().await;
            seen.push(leaf.expect("the bundle has what is served, at every moment"));
            let leaf = replica.trusted_by(&old).await;
            assert!(leaf.is_some(), "and had it before, after {} s", late.len());
        }
    }
    assert_eq!(seen[0], first);
    assert_ne!(seen[399], first, "the new one is served in the end");
    let writes = &server.lock().writes;
    assert!(writes.iter().all(|(_, path)| path != SECRET), "{writes:?}");
}

/// Of another name, of another CA, over, and not valid yet.
fn wrong() -> Vec<(&'static str, BTreeMap<String, ByteString>)> {
    let now = SystemTime::now();
    let fresh = |host, when| {
        let made = self_made::make(host, when).expect("it is a name");
        Shared::fresh(made).expect("it is usable").data()
    };
    let mut of_another_ca = fresh(HOST, now);
    let ca = fresh(HOST, now).remove(CAS).expect("it is there");
    of_another_ca.insert(CAS.to_owned(), ca);
    vec![
        ("another name", fresh("netting-webhook.netting", now)),
        ("another CA", of_another_ca),
        ("expired", fresh(HOST, now - 100 * DAY)),
        ("not valid yet", fresh(HOST, now + 2 * DAY)),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_wrong_one_of_the_team_never_replaces_one_that_works() {
    for (what, wrong) in wrong() {
        for ours_before in [true, false] {
            let server = cluster();
            let before = secret(&made_days_ago(1).data(), ours_before);
            server.lock().put(SECRET, before);
            let replica = Replica::start(&server);
            settle().await;
            let served = replica.trusted().await.expect("it is trusted");
            server.lock().put(SECRET, secret(&wrong, false));
            settle().await;
            assert_eq!(replica.trusted().await.as_ref(), Some(&served), "{what}");
            assert!(replica.is_ready(), "{what}");
            let exposed = replica.exposed();
            assert!(
                exposed.contains("netting_certificate_refused 1\n"),
                "{what}"
            );
            assert_eq!(data(&server), wrong, "it is the team's to mend");

            let right = secret(&made_days_ago(0).data(), false);
            server.lock().put(SECRET, right);
            settle().await;
            let mended = replica.trusted().await.expect("the right one is served");
            assert_ne!(mended, served, "{what}");
            assert!(
                replica
                    .exposed()
                    .contains("netting_certificate_refused 0\n")
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_a_wrong_one_is_all_there_is_each_replica_makes_one() {
    for (what, wrong) in wrong() {
        let server = cluster();
        server.lock().put(SECRET, secret(&wrong, false));
        let replicas = [(); 2].map(|()| Replica::start(&server));
        settle().await;
        for replica in &replicas {
            assert!(replica.trusted().await.is_some(), "{what}");
            assert!(replica.is_ready(), "{what}");
        }
        assert_eq!(data(&server), wrong, "it is the team's to mend");
    }
}

/// What cert-manager's ca-injector does: it knows one CA at a time.
fn inject_ca(server: &ApiServer, ca: &ByteString) {
    let mut object = configuration();
    let annotation = json!({"cert-manager.io/inject-ca-from": "netting/netting-webhook"});
    object["metadata"]["annotations"] = annotation;
    object["webhooks"][0]["clientConfig"]["caBundle"] = json!(ca);
    server.lock().put(BUNDLE, object);
}

#[tokio::test(start_paused = true)]
async fn a_new_ca_of_cert_managers_is_served_from_when_it_has_been_injected() {
    let server = cluster();
    let (first, second) = (made_days_ago(61).data(), made_days_ago(0).data());
    inject_ca(&server, &ByteString(Vec::new()));
    server.lock().put(SECRET, secret(&first, false));
    let replica = Replica::start(&server);
    settle().await;
    assert!(!replica.is_ready(), "the API server does not trust it yet");
    inject_ca(&server, &first[CAS]);
    settle().await;
    let old = replica.trusted().await.expect("now it does");
    assert!(replica.is_ready());

    server.lock().put(SECRET, secret(&second, false));
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(replica.trusted().await.as_ref(), Some(&old));
        assert!(replica.is_ready(), "what is served is still trusted");
    }
    inject_ca(&server, &second[CAS]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let new = replica
        .trusted()
        .await
        .expect("there is nothing to wait for");
    assert_ne!(new, old);
    assert!(replica.is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_only_has_a_certificate_that_nobody_trusts_is_not_ready() {
    let server = cluster();
    let (_, wrong) = wrong().remove(0);
    inject_ca(&server, &wrong[CAS]);
    server.lock().put(SECRET, secret(&wrong, false));
    let replica = Replica::start(&server);
    settle().await;
    assert_eq!(replica.trusted().await, None);
    assert!(!replica.is_ready(), "a rollout stops here");
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
