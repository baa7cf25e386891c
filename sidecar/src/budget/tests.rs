use std::time::Duration;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn spend(budget: &Budget, now: Instant) -> u64 {
    let mut retries = 0;
    while budget.retry(now) {
        retries += 1;
    }
    retries
}

#[test]
fn without_requests_there_are_ten_retries_for_each_second_of_the_window() {
    let now = Instant::now();
    let budget = Budget::new(now);
    assert_eq!(spend(&budget, now), 100);
    assert!(!budget.retry(now + SECOND * 9));
    assert_eq!(spend(&budget, now + SECOND * 10), 100);
}

#[test]
fn one_in_five_requests_may_be_retried() {
    let now = Instant::now();
    let budget = Budget::new(now);
    for _ in 0..1000 {
        budget.request(now);
    }
    assert_eq!(spend(&budget, now), 100 + 200);
}

#[test]
fn requests_count_for_ten_seconds() {
    let begun = Instant::now();
    let budget = Budget::new(begun);
    for second in 0..20 {
        for _ in 0..50 {
            budget.request(begun + SECOND * second);
        }
    }
    assert_eq!(budget.left(begun + SECOND * 19), 100 + 100);
    assert_eq!(budget.left(begun + SECOND * 24), 100 + 50);
    assert_eq!(budget.left(begun + SECOND * 29), 100);
}

#[test]
fn works_on_after_years() {
    let begun = Instant::now();
    let budget = Budget::new(begun);
    for days in [1, 193, 194, 195, 1000] {
        let now = begun + SECOND * 86_400 * days;
        assert_eq!(spend(&budget, now), 100, "after {days} days");
        assert_eq!(budget.left(now + SECOND * 10), 100, "after {days} days");
    }
}

#[test]
fn counts_no_further_than_its_word_holds() {
    let now = Instant::now();
    let budget = Budget::new(now);
    let counts = Counts {
        second: budget.second(now),
        requests: REQUESTS_MAX,
        retries: RETRIES_MAX,
    };
    assert_eq!(unpack(pack(counts)), counts);
    let slot = &budget.slots[(counts.second % WINDOW_SECONDS) as usize];
    slot.0.store(pack(counts), Ordering::Relaxed);
    budget.request(now);
    assert_eq!(unpack(slot.0.load(Ordering::Relaxed)), counts);
}
