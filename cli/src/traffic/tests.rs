//! Two looks, and what happened in between.

use super::*;

fn requests(ended: f64, failed: f64) -> Requests {
    let mut durations = Histogram::default();
    durations.add(0.1, ended);
    Requests {
        ended,
        failed,
        durations,
    }
}

/// What a sidecar has counted of these series, which come to it.
fn inbound(series: &[(&str, Requests)]) -> Counted {
    let requests = series.iter().map(|(name, requests)| {
        let series = Series {
            way: Way::Inbound,
            name: (*name).to_owned(),
        };
        (series, requests.clone())
    });
    Counted {
        requests: requests.collect(),
        ..Counted::default()
    }
}

#[test]
fn nothing_has_no_success() {
    assert_eq!(Requests::default().success(), None);
}

#[test]
fn a_counter_that_began_anew_is_not_subtracted_from() {
    let before = inbound(&[("get", requests(100.0, 10.0))]);
    let grown = inbound(&[("get", requests(150.0, 20.0))]).since(&before);
    assert_eq!(grown.inbound, requests(50.0, 10.0));
    let rate = grown.inbound.per_second(Duration::from_secs(10));
    assert!((rate - 5.0).abs() < 1e-9, "{rate}");
    let anew = inbound(&[("get", requests(5.0, 1.0))]).since(&before);
    assert_eq!(anew.inbound, requests(5.0, 1.0));
    assert_eq!(anew.inbound.success(), Some(0.8));
}

#[test]
fn a_series_that_is_gone_takes_nothing_from_the_others() {
    let get = |ended| ("get", requests(ended, 0.0));
    // One that is more than all the others, and one that is less than what they grew by.
    for gone in [1_000_000.0, 10.0] {
        let before = inbound(&[get(400_000.0), ("post", requests(gone, gone))]);
        let after = inbound(&[get(400_050.0)]);
        assert_eq!(after.since(&before).inbound, requests(50.0, 0.0), "{gone}");
        // It comes back with what it has counted since then.
        let again = inbound(&[get(400_060.0), ("post", requests(3.0, 3.0))]);
        assert_eq!(again.since(&after).inbound, requests(13.0, 3.0), "{gone}");
    }
}

#[test]
fn requests_to_a_known_peer_are_the_applications_too() {
    let peer = Peer {
        namespace: "shop".to_owned(),
        name: "echo".to_owned(),
        port: 80,
    };
    let series = |way| Series {
        way,
        name: "get".to_owned(),
    };
    let counted = Counted {
        requests: [
            (series(Way::To(peer.clone())), requests(7.0, 1.0)),
            (series(Way::Outbound), requests(2.0, 0.0)),
        ]
        .into(),
        ..Counted::default()
    };
    let counts = counted.since(&Counted::default());
    assert_eq!(counts.outbound, requests(9.0, 1.0));
    assert_eq!(counts.peers, [(peer, requests(7.0, 1.0))].into());
    assert_eq!(counts.inbound, Requests::default());
}

#[test]
fn counts_of_several_sidecars_are_summed() {
    let one = Counted {
        connections_open: 2.0,
        connections: 3.0,
        ..inbound(&[("get", requests(10.0, 1.0))])
    };
    let one = one.since(&Counted::default());
    let mut sum = one.clone();
    sum.add(&one);
    assert_eq!(sum.inbound, requests(20.0, 2.0));
    assert!((sum.connections_open - 4.0).abs() < 1e-9);
    assert!((sum.connections - 6.0).abs() < 1e-9);
}
