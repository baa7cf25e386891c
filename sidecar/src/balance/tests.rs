use super::*;

const SECOND: Duration = Duration::from_secs(1);
const FAST: Duration = Duration::from_millis(10);
const SLOW: Duration = Duration::from_millis(500);

fn load(seconds: Option<f32>, pending: usize, weight: u32) -> Load {
    Load {
        seconds,
        pending,
        weight,
    }
}

#[test]
fn nothing_is_known_before_the_first_measurement() {
    assert_eq!(PeakEwma::default().seconds(SECOND), None);
}

#[test]
fn a_peak_counts_at_once_and_wears_off_slowly() {
    let ewma = PeakEwma::default();
    ewma.observe(FAST, SECOND);
    ewma.observe(SLOW, SECOND * 2);
    assert_eq!(ewma.seconds(SECOND * 2), Some(0.5));
    for second in 3..=12 {
        ewma.observe(FAST, SECOND * second);
    }
    let after_decay = ewma.seconds(SECOND * 12).expect("it is fresh");
    // 1/e of it is left: 10 ms + 490 ms / e.
    assert!((0.185..0.195).contains(&after_decay), "{after_decay}");
}

#[test]
fn an_old_measurement_counts_no_more() {
    let ewma = PeakEwma::default();
    ewma.observe(SLOW, SECOND);
    assert_eq!(ewma.seconds(SECOND + FRESH_FOR), None);
    ewma.observe(FAST, SECOND + FRESH_FOR);
    assert_eq!(ewma.seconds(SECOND + FRESH_FOR), Some(0.01));
}

#[test]
fn what_was_given_up_can_only_make_slower() {
    let ewma = PeakEwma::default();
    ewma.observe_at_least(SLOW, SECOND);
    assert_eq!(ewma.seconds(SECOND), None, "nothing answered yet");
    ewma.observe(SLOW, SECOND);
    ewma.observe_at_least(FAST, SECOND);
    assert_eq!(ewma.seconds(SECOND), Some(0.5));
    ewma.observe_at_least(SECOND, SECOND);
    assert_eq!(ewma.seconds(SECOND), Some(1.0));
}

#[test]
fn a_measurement_that_another_thread_overtook_is_no_old_one() {
    let ewma = PeakEwma::default();
    ewma.observe(SLOW, SECOND * 2);
    assert_eq!(ewma.seconds(SECOND), Some(0.5));
}

#[test]
fn counts_on_when_its_clock_wraps() {
    let ewma = PeakEwma::default();
    let wraps = Duration::from_millis(u64::from(u32::MAX));
    ewma.observe(SLOW, wraps);
    assert_eq!(ewma.seconds(wraps + SECOND), Some(0.5));
    assert_eq!(ewma.seconds(wraps + FRESH_FOR), None);
}

#[test]
fn load_is_time_times_pending_for_each_unit_of_weight() {
    let idle = load(Some(0.1), 0, 1);
    for (other, times) in [
        (load(Some(0.1), 0, 1), 1.0),
        (load(Some(0.15), 0, 1), 1.0),
        (load(Some(0.06), 0, 1), 1.0),
        (load(Some(0.3), 0, 1), 3.0),
        (load(Some(0.025), 0, 1), 0.25),
        (load(Some(0.1), 3, 1), 4.0),
        (load(Some(0.1), 3, 4), 1.0),
        (load(None, 3, 1), 4.0),
    ] {
        let relative = other.relative_to(&idle, Unit::Request);
        assert!((relative - times).abs() < 1e-6, "{other:?}: {relative}");
    }
}

#[test]
fn connects_within_a_cluster_count_as_equally_fast() {
    let (near, far) = (load(Some(0.0001), 0, 1), load(Some(0.004), 0, 1));
    assert_eq!(far.relative_to(&near, Unit::Connection), 1.0);
    let abroad = load(Some(0.05), 0, 1);
    assert!(abroad.relative_to(&near, Unit::Connection) > 9.0);
}
