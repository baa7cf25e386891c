use netting_proto::v1;

use super::{resolved::Answer, *};
use crate::destination::BadUpdate;

const LIMITS: ViewLimits = ViewLimits {
    destinations_max: 2,
    discovery_timeout: Duration::from_millis(100),
    idle: Duration::from_secs(300),
};

fn view() -> Arc<View> {
    Arc::new(View::new(LIMITS, "node-a"))
}

fn dst(text: &str) -> OriginalDst {
    OriginalDst(text.parse().expect("a literal address"))
}

fn snapshot(of: OriginalDst, hash: &str, endpoints: &[&str]) -> v1::Snapshot {
    let endpoint = |at: &&str| v1::Endpoint {
        address: Some(dst(at).0.into()),
        ready: true,
        serving: true,
        ..Default::default()
    };
    v1::Snapshot {
        address: Some(of.0.into()),
        destination: Some(v1::Destination::default()),
        endpoints: endpoints.iter().map(endpoint).collect(),
        hash: hash.into(),
        ..Default::default()
    }
}

fn unknown(of: OriginalDst) -> v1::Unknown {
    v1::Unknown {
        address: Some(of.0.into()),
        ..Default::default()
    }
}

async fn passed_through(view: &View, to: OriginalDst) -> Reason {
    match view.resolve(to).await {
        Answer::PassThrough(reason) => reason,
        Answer::Endpoint(..) => panic!("{to} is not passed through"),
    }
}

async fn endpoint(view: &View, of: OriginalDst) -> OriginalDst {
    match view.resolve(of).await {
        Answer::Endpoint(_, first) => OriginalDst(first.addr().0),
        Answer::PassThrough(reason) => panic!("{of} is passed through: {reason}"),
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_catalog_nobody_waits() {
    let view = view();
    let begun = Instant::now();
    let web = dst("10.96.0.1:80");
    assert_eq!(passed_through(&view, web).await, Reason::CatalogUnavailable);
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_silent_catalog_delays_a_destination_once() {
    let view = view();
    view.connected();
    let begun = Instant::now();
    let web = dst("10.96.0.1:80");
    assert_eq!(passed_through(&view, web).await, Reason::CatalogSilent);
    assert_eq!(begun.elapsed(), LIMITS.discovery_timeout);
    assert_eq!(passed_through(&view, web).await, Reason::CatalogSilent);
    assert_eq!(
        begun.elapsed(),
        LIMITS.discovery_timeout,
        "the second does not wait"
    );
}

#[tokio::test(start_paused = true)]
async fn a_connection_waits_for_the_first_answer() {
    let view = view();
    view.connected();
    let web = dst("10.96.0.1:80");
    let asking = tokio::spawn({
        let view = Arc::clone(&view);
        async move { endpoint(&view, web).await }
    });
    view.asked().await;
    // The wake-up of connected() and that of the question may come as one.
    while view.is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(view.take_pending().subscribe, [web]);
    view.snapshot(snapshot(web, "one", &["10.0.0.1:8080"]))
        .expect("a good snapshot");
    assert_eq!(
        asking.await.expect("it does not panic"),
        dst("10.0.0.1:8080")
    );
}

#[tokio::test(start_paused = true)]
async fn tells_unknown_from_empty() {
    let view = view();
    view.connected();
    let (web, other) = (dst("10.96.0.1:80"), dst("192.0.2.1:443"));
    tokio::join!(view.resolve(web), view.resolve(other));
    view.snapshot(snapshot(web, "one", &[]))
        .expect("a good snapshot");
    view.unknown(&unknown(other)).expect("a good message");
    assert_eq!(passed_through(&view, web).await, Reason::NoEndpoints);
    assert_eq!(passed_through(&view, other).await, Reason::UnknownAddress);
}

#[tokio::test(start_paused = true)]
async fn keeps_what_it_knows_when_the_catalog_goes() {
    let view = view();
    view.connected();
    let web = dst("10.96.0.1:80");
    let _ = view.resolve(web).await;
    view.snapshot(snapshot(web, "one", &["10.0.0.1:8080"]))
        .expect("a good snapshot");
    view.disconnected();
    assert_eq!(endpoint(&view, web).await, dst("10.0.0.1:8080"));
    let new = dst("10.96.0.2:80");
    assert_eq!(passed_through(&view, new).await, Reason::CatalogUnavailable);
    let _ = view.take_pending();
    view.connected();
    let mut subscribed = view.take_pending().subscribe;
    subscribed.sort();
    assert_eq!(
        subscribed,
        [web, new],
        "both are subscribed on the new stream"
    );
    assert_eq!(view.hash(web), b"one");
    assert_eq!(view.hash(new), b"");
}

#[tokio::test(start_paused = true)]
async fn a_delta_that_does_not_fit_asks_anew_and_keeps_the_old_state() {
    let view = view();
    view.connected();
    let web = dst("10.96.0.1:80");
    let _ = view.resolve(web).await;
    view.snapshot(snapshot(web, "one", &["10.0.0.1:8080"]))
        .expect("a good snapshot");
    let _ = view.take_pending();
    let delta = v1::Delta {
        address: Some(web.0.into()),
        base_hash: b"zero".to_vec(),
        ..Default::default()
    };
    assert_eq!(view.delta(delta), Err(BadUpdate::OtherBase));
    assert_eq!(view.take_pending().subscribe, [web]);
    assert_eq!(endpoint(&view, web).await, dst("10.0.0.1:8080"));
}

#[tokio::test(start_paused = true)]
async fn garbage_changes_nothing() {
    let view = view();
    let nowhere = v1::Snapshot {
        address: None,
        ..snapshot(dst("10.0.0.1:1"), "x", &[])
    };
    assert!(matches!(view.snapshot(nowhere), Err(BadUpdate::Address(_))));
    assert!(view.unknown(&v1::Unknown::default()).is_err());
    let unasked = snapshot(dst("10.96.0.9:80"), "x", &["10.0.0.1:80"]);
    view.snapshot(unasked).expect("a good snapshot");
    assert!(view.is_empty(), "what nobody asked for is not kept");
}

#[tokio::test(start_paused = true)]
async fn follows_no_more_addresses_than_it_may() {
    let view = view();
    for known in ["10.96.0.1:80", "10.96.0.2:80"] {
        assert_eq!(
            passed_through(&view, dst(known)).await,
            Reason::CatalogUnavailable
        );
    }
    let third = dst("10.96.0.3:80");
    assert_eq!(
        passed_through(&view, third).await,
        Reason::TooManyDestinations
    );
    assert_eq!(view.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn forgets_an_address_only_when_no_connection_uses_it() {
    let view = view();
    view.connected();
    let (web, idle) = (dst("10.96.0.1:80"), dst("10.96.0.2:80"));
    let _ = tokio::join!(view.resolve(web), view.resolve(idle));
    view.snapshot(snapshot(web, "one", &["10.0.0.1:8080"]))
        .expect("a good snapshot");
    let in_use = view.resolve(web).await;
    let _ = view.take_pending();

    tokio::time::advance(LIMITS.idle).await;
    view.forget_idle();
    assert_eq!(view.take_pending().unsubscribe, [idle]);
    assert_eq!(view.len(), 1);

    drop(in_use);
    view.forget_idle();
    assert_eq!(
        view.len(),
        1,
        "its time begins when its last connection ends"
    );
    tokio::time::advance(LIMITS.idle).await;
    view.forget_idle();
    assert!(view.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_service_with_affinity_is_followed_for_as_long_unless_there_is_no_room() {
    const AFFINITY: Duration = Duration::from_secs(3 * 60 * 60);
    let view = view();
    view.connected();
    let web = dst("10.96.0.1:80");
    let _ = view.resolve(web).await;
    let mut kept = snapshot(web, "one", &["10.0.0.1:8080", "10.0.0.2:8080"]);
    kept.destination = Some(v1::Destination {
        session_affinity_seconds: 3 * 60 * 60,
        ..Default::default()
    });
    view.snapshot(kept).expect("a good snapshot");
    let first = endpoint(&view, web).await;
    for _ in 0..10 {
        tokio::time::advance(LIMITS.idle * 2).await;
        view.forget_idle();
        assert_eq!(endpoint(&view, web).await, first);
    }
    let _ = view.resolve(dst("10.96.0.2:80")).await;
    tokio::time::advance(LIMITS.idle / 2).await;
    view.forget_idle();
    assert_eq!(view.len(), 2, "all were used lately");
    tokio::time::advance(AFFINITY - LIMITS.idle).await;
    let third = dst("10.96.0.3:80");
    assert_eq!(
        passed_through(&view, third).await,
        Reason::TooManyDestinations
    );
    view.forget_idle();
    assert!(view.is_empty(), "others need the room");
}

#[tokio::test(start_paused = true)]
async fn a_service_with_affinity_is_forgotten_when_that_is_over() {
    let view = view();
    view.connected();
    let web = dst("10.96.0.1:80");
    let _ = view.resolve(web).await;
    let mut kept = snapshot(web, "one", &["10.0.0.1:8080"]);
    kept.destination = Some(v1::Destination {
        session_affinity_seconds: 600,
        ..Default::default()
    });
    view.snapshot(kept).expect("a good snapshot");
    for (after, followed) in [(599, 1), (1, 0)] {
        tokio::time::advance(Duration::from_secs(after)).await;
        view.forget_idle();
        assert_eq!(view.len(), followed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_lasts_sees_the_current_state() {
    let view = view();
    view.connected();
    let web = dst("10.96.0.1:80");
    let _ = view.resolve(web).await;
    view.snapshot(snapshot(web, "one", &["10.0.0.1:8080"]))
        .expect("a good snapshot");
    let Found::Destination(used, _) = view.find(web).await else {
        panic!("it is known");
    };
    let before = used.current().expect("it is known");
    view.snapshot(snapshot(web, "two", &["10.0.0.2:8080"]))
        .expect("a good snapshot");
    let after = used.current().expect("it is known");
    assert_eq!(after.hash, b"two");
    assert!(!before.endpoints[0].is_current());
    assert!(after.endpoints[0].is_current());
    view.unknown(&unknown(web)).expect("a good message");
    assert!(used.current().is_none());
    assert!(!after.endpoints[0].is_current());
}

#[tokio::test(start_paused = true)]
async fn what_it_knows_moves_with_the_sidecar() {
    let view = view();
    view.connected();
    let web = dst("10.96.0.1:80");
    let _ = view.resolve(web).await;
    let mut near = snapshot(web, "one", &["10.0.0.1:8080", "10.0.0.2:8080"]);
    for (endpoint, zone) in near.endpoints.iter_mut().zip(["zone-1", "zone-2"]) {
        endpoint.for_zones = vec![zone.to_owned()];
    }
    view.snapshot(near).expect("a good snapshot");
    for (zone, at) in [("zone-2", "10.0.0.2:8080"), ("zone-1", "10.0.0.1:8080")] {
        view.is_in_zone(zone);
        for _ in 0..50 {
            assert_eq!(endpoint(&view, web).await, dst(at));
        }
    }
}
