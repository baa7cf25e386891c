//! What is said of addresses.

use super::*;

#[tokio::test]
async fn a_service_comes_as_a_snapshot_and_changes_by_deltas() {
    let server = Server::synced().await;
    server.apply(&cart());
    server.apply(&behind(&pods(3, 0)));
    let mut client = server.welcomed().await;
    client.subscribe(CART, &[]).await;
    let snapshot = client.snapshot().await;
    assert_eq!(snapshot.address, Some(addr(CART).into()));
    assert_eq!(snapshot.endpoints.len(), 3);
    assert_eq!(snapshot.changed_at_us, 0);
    let destination = snapshot.destination.expect("a snapshot has a destination");
    assert_eq!(destination.kind(), v1::DestinationKind::Service);
    assert_eq!(
        (&*destination.namespace, &*destination.name),
        ("shop", "cart")
    );

    server.apply(&behind(&pods(3, 1)));
    let delta = client.delta().await;
    assert_eq!(delta.base_hash, snapshot.hash);
    assert_eq!((delta.upserted.len(), delta.removed.len()), (1, 0));
    assert!(!delta.upserted[0].ready);
    assert!(delta.destination.is_none());
    assert!(delta.changed_at_us > 0);

    server.apply(&behind(&pods(2, 1)));
    let next = client.delta().await;
    assert_eq!(next.base_hash, delta.hash);
    assert_eq!(next.removed, [addr("10.244.0.3:8080").into()]);
}

#[tokio::test]
async fn a_service_without_endpoints_is_empty_and_then_unknown_when_it_is_gone() {
    let server = Server::synced().await;
    server.apply(&cart());
    let mut client = server.welcomed().await;
    client.subscribe(CART, &[]).await;
    assert!(client.snapshot().await.endpoints.is_empty());
    server.delete(&cart());
    let Message::Unknown(unknown) = client.hear().await else {
        panic!("the service is gone");
    };
    assert!(unknown.changed_at_us > 0);
    server.apply(&cart());
    assert!(client.snapshot().await.changed_at_us > 0);
}

#[tokio::test]
async fn what_is_unknown_is_said_and_followed() {
    let server = Server::synced().await;
    let mut client = server.welcomed().await;
    client.subscribe(CART, &[]).await;
    let unknown = v1::Unknown {
        address: Some(addr(CART).into()),
        changed_at_us: 0,
    };
    assert_eq!(client.hear().await, Message::Unknown(unknown));
    server.apply(&cart());
    assert_eq!(client.snapshot().await.address, Some(addr(CART).into()));
}

#[tokio::test]
async fn a_sidecar_that_comes_back_is_told_only_what_differs() {
    let (one, other) = (Server::synced().await, Server::synced().await);
    one.apply(&behind(&pods(3, 0)));
    one.apply(&cart());
    // The other replica heard of it in another order.
    other.apply(&cart());
    other.apply(&behind(&pods(3, 0)));
    let mut before = one.welcomed().await;
    before.subscribe(CART, &[]).await;
    let held = before.snapshot().await.hash;
    drop(before);

    let mut after = other.welcomed().await;
    after.subscribe(CART, &held).await;
    let unchanged = v1::Unchanged {
        address: Some(addr(CART).into()),
    };
    assert_eq!(after.hear().await, Message::Unchanged(unchanged));
    other.apply(&behind(&pods(3, 1)));
    let delta = after.delta().await;
    assert_eq!(delta.base_hash, held);
    drop(after);

    let mut late = other.welcomed().await;
    late.subscribe(CART, &held).await;
    assert_eq!(late.snapshot().await.hash, delta.hash);
}

#[tokio::test]
async fn what_is_unsubscribed_is_not_heard_of_again() {
    let server = Server::synced().await;
    server.apply(&cart());
    server.apply(&service("shelf", "10.96.0.2", json!([{"port": 80}])));
    let mut client = server.welcomed().await;
    for address in [CART, "10.96.0.2:80"] {
        client.subscribe(address, &[]).await;
        client.snapshot().await;
    }
    let addresses = vec![addr(CART).into()];
    client
        .say(Kind::Unsubscribe(v1::Unsubscribe { addresses }))
        .await;
    // Requests are heard in their order: this answer comes after that.
    client.beat(1).await;
    assert!(matches!(client.hear().await, Message::Heartbeat(_)));
    server.delete(&cart());
    server.delete(&service("shelf", "", json!([])));
    let Message::Unknown(unknown) = client.hear().await else {
        panic!("the other service is gone");
    };
    assert_eq!(unknown.address, Some(addr("10.96.0.2:80").into()));
    server.assert_counted("netting_catalog_subscriptions 1\n");
}

#[tokio::test]
async fn ten_thousand_subscriptions_in_a_message_are_each_answered_in_order() {
    let limits = Limits {
        subscriptions_max: 10_000,
        ..limits()
    };
    let server = Server::with(limits, true).await;
    let mut client = server.welcomed().await;
    let subscription = |at: u32| v1::Subscription {
        address: Some(SocketAddr::from((std::net::Ipv4Addr::from(at), 80)).into()),
        known_hash: vec![7; 16],
    };
    let subscriptions: Vec<_> = (1..=10_000).map(subscription).collect();
    let expected: Vec<_> = subscriptions.iter().map(|s| s.address.clone()).collect();
    client
        .say(Kind::Subscribe(v1::Subscribe { subscriptions }))
        .await;
    for address in expected {
        let Message::Unknown(unknown) = client.hear().await else {
            panic!("nothing is known");
        };
        assert_eq!(unknown.address, address);
    }
}

fn job(name: &str, state: Value) -> Value {
    let mut job = with(
        pod(name, "10.244.0.7"),
        "/spec/restartPolicy",
        json!("Never"),
    );
    job["spec"]["containers"] = json!([{"name": "app"}, {"name": "netting-sidecar"}]);
    job["status"]["containerStatuses"] = json!([{"name": "app", "state": state}]);
    job
}

#[tokio::test]
async fn a_sidecar_is_told_when_the_application_of_its_own_pod_has_ended() {
    let server = Server::synced().await;
    let ended = || json!({"terminated": {"exitCode": 0}});
    server.apply(&job("job-1", json!({"running": {}})));
    server.apply(&job("job-2", ended()));
    let mut before = server.welcomed_as("job-1").await;
    let mut other = server.welcomed_as("job-3").await;
    let mut after = server.welcomed_as("job-2").await;
    assert!(matches!(after.hear().await, Message::ApplicationEnded(_)));
    server.apply(&job("job-1", ended()));
    assert!(matches!(before.hear().await, Message::ApplicationEnded(_)));
    other.beat(7).await;
    assert!(matches!(other.hear().await, Message::Heartbeat(_)));
}

#[tokio::test]
async fn a_sidecar_is_told_its_zone_as_soon_as_it_is_known() {
    let server = Server::synced().await;
    let mut early = server.welcomed_on("node-a").await;
    let labels = json!({"netting.dev/injected": "true", "topology.kubernetes.io/zone": "zone-1"});
    server.apply(&with(
        pod("web-1", "10.244.0.7"),
        "/metadata/labels",
        labels,
    ));
    let mut late = server.welcomed_on("node-a").await;
    let mut elsewhere = server.welcomed_on("node-b").await;
    for client in [&mut early, &mut late] {
        client.beat(7).await;
        let Message::Place(place) = client.hear().await else {
            panic!("its zone is known");
        };
        assert_eq!(place.zone, "zone-1");
        assert!(matches!(client.hear().await, Message::Heartbeat(_)));
    }
    elsewhere.beat(7).await;
    assert!(matches!(elsewhere.hear().await, Message::Heartbeat(_)));
}
