use super::*;

const BASE: Duration = Duration::from_secs(10);
/// Neither longer nor shorter.
const EVEN: f64 = 0.5;

#[test]
fn each_ejection_lasts_twice_as_long_up_to_a_limit() {
    let mut now = Instant::now();
    let mut ejections = Ejections::default();
    for seconds in [10, 20, 40, 80, 160, 300, 300] {
        let until = ejections.eject(BASE, EVEN, now);
        assert_eq!(until - now, Duration::from_secs(seconds));
        assert_eq!(ejections.until(now), Some(until));
        now = until;
        assert_eq!(ejections.until(now), None);
    }
}

#[test]
fn one_failure_is_enough_until_it_has_been_well_as_long_as_it_was_out() {
    let now = Instant::now();
    let mut ejections = Ejections::default();
    assert!(!ejections.is_on_probation(now));
    let back = ejections.eject(BASE, EVEN, now);
    assert!(!ejections.is_on_probation(now));
    assert!(ejections.is_on_probation(back));
    let well = back + BASE;
    assert!(!ejections.is_on_probation(well));
    assert_eq!(
        ejections.eject(BASE, EVEN, well),
        well + BASE,
        "it starts anew"
    );
}

#[test]
fn jitter_stays_within_a_fifth() {
    let now = Instant::now();
    for (jitter, millis) in [(0.0, 8_000), (1.0, 12_000)] {
        let until = Ejections::default().eject(BASE, jitter, now);
        assert_eq!(until - now, Duration::from_millis(millis));
    }
}

#[test]
fn a_base_beyond_the_limit_is_kept() {
    let now = Instant::now();
    let hour = Duration::from_secs(3600);
    let mut ejections = Ejections::default();
    assert_eq!(ejections.eject(hour, EVEN, now), now + hour);
    assert_eq!(ejections.eject(hour, EVEN, now + hour), now + hour * 2);
}

#[test]
fn at_least_half_of_the_endpoints_stay() {
    for (endpoints, most) in [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (10, 5)] {
        let ejected = (0..=endpoints).take_while(|n| may_eject_one_more(*n, endpoints));
        assert_eq!(ejected.count(), most, "of {endpoints}");
    }
}

#[test]
fn only_what_the_endpoint_is_to_blame_for_is_a_failure() {
    for (status, failure) in [
        (200, Some(false)),
        (404, Some(false)),
        (429, Some(false)),
        (500, None),
        (501, None),
        (502, Some(true)),
        (503, Some(true)),
        (504, Some(true)),
    ] {
        assert_eq!(Outcome::of_status(status).is_failure(), failure, "{status}");
    }
    for (code, failure) in [
        (0, Some(false)),
        (5, Some(false)),
        (13, None),
        (14, Some(true)),
    ] {
        assert_eq!(
            Outcome::of_grpc_status(code).is_failure(),
            failure,
            "{code}"
        );
    }
    assert_eq!(Outcome::Cancelled.is_failure(), None);
    assert_eq!(Outcome::Refused.is_failure(), None);
}
