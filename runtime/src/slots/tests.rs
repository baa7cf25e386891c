use tokio::time::{advance, timeout};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn client(number: u8) -> IpAddr {
    [10, 0, 0, number].into()
}

/// Gives a slot back when it is told to.
async fn taken(slots: &Slots, number: u8) -> Holder {
    let slot = slots.take(client(number)).await.expect("there is one");
    // Each is a moment older than the next.
    advance(SECOND).await;
    let holder = slot.holder().clone();
    tokio::spawn(async move {
        slot.holder().revoked().await;
    });
    holder
}

fn told_to_go(holders: &[Holder]) -> Vec<bool> {
    let told = holders.iter().map(|it| it.revoked.is_cancelled());
    told.collect()
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_free_again_once_it_is_dropped() {
    let slots = Slots::new("connections", 1);
    for _ in 0..3 {
        let slot = slots.take(client(1)).await.expect("it is free");
        let _work = slot.holder().at_work();
        assert!(slots.take(client(2)).await.is_none(), "it is at work");
        drop(slot);
    }
    assert!(slots.lock().clients.is_empty(), "nothing is left of them");
}

#[tokio::test(start_paused = true)]
async fn who_has_most_idle_ones_gives_the_oldest_up() {
    let slots = Slots::new("connections", 5);
    let mut holders = Vec::new();
    for number in [1, 2, 2, 2, 2] {
        holders.push(taken(&slots, number).await);
    }
    let _work = holders[1].at_work();
    holders.push(taken(&slots, 3).await);
    assert_eq!(
        told_to_go(&holders),
        [false, false, true, false, false, false]
    );
    // Its client has no say in that.
    holders.push(taken(&slots, 2).await);
    let told = [false, false, true, true, false, false, false];
    assert_eq!(told_to_go(&holders), told);
}

#[tokio::test(start_paused = true)]
async fn who_has_been_at_work_lately_is_idle_since_then() {
    let slots = Slots::new("connections", 2);
    let (one, other) = (taken(&slots, 1).await, taken(&slots, 1).await);
    drop(one.at_work());
    let _third = taken(&slots, 2).await;
    assert_eq!(told_to_go(&[one, other]), [false, true]);
}

#[tokio::test(start_paused = true)]
async fn of_those_who_have_as_many_the_oldest_goes() {
    let slots = Slots::new("connections", 3);
    let mut holders = Vec::new();
    for number in [3, 1, 2, 4] {
        holders.push(taken(&slots, number).await);
    }
    assert_eq!(told_to_go(&holders), [true, false, false, false]);
}

#[tokio::test(start_paused = true)]
async fn work_is_ended_only_where_somebody_else_has_much_less() {
    let slots = Slots::new("connections", 4);
    let mut holders = Vec::new();
    let mut work = Vec::new();
    let mut take = async |number| {
        let holder = taken(&slots, number).await;
        work.push(holder.at_work());
        holders.push(holder);
        told_to_go(&holders)
    };
    for number in [1, 2, 2] {
        take(number).await;
    }
    assert_eq!(take(2).await, [false, false, false, false]);
    assert!(slots.take(client(2)).await.is_none(), "it has most");
    // The newest: what has gone on for long is what it was meant to be.
    let told = [false, false, false, true, false];
    assert_eq!(take(3).await, told);
    assert!(slots.take(client(3)).await.is_none(), "they have as many");
    assert!(slots.take(client(1)).await.is_none(), "they have as many");
}

#[tokio::test(start_paused = true)]
async fn who_has_few_keeps_them_while_they_are_idle() {
    let slots = Slots::new("connections", 2 * MANY);
    let few = taken(&slots, 1).await;
    let mut many = Vec::new();
    for _ in 1..2 * MANY {
        many.push(taken(&slots, 2).await);
    }
    let _work: Vec<_> = many.iter().map(Holder::at_work).collect();
    assert!(slots.take(client(2)).await.is_none(), "it has many");
    for another in [3, 1] {
        let _slot = slots.take(client(another)).await.expect("it has few");
    }
    let told = told_to_go(&many);
    assert_eq!(
        told.iter().filter(|told| **told).count(),
        1,
        "the rest is free by now"
    );
    assert!(!few.revoked.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn an_ipv4_address_is_one_client_however_it_is_written() {
    let slots = Slots::new("connections", 2);
    let mapped: IpAddr = "::ffff:10.0.0.1".parse().expect("it is an address");
    let one = slots.take(client(1)).await.expect("it is free");
    let other = slots.take(mapped).await.expect("it is free");
    let _work = (one.holder().at_work(), other.holder().at_work());
    assert_eq!(slots.lock().clients.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn idle_time_counts_from_the_last_work() {
    let slots = Slots::new("connections", 1);
    let slot = slots.take(client(1)).await.expect("it is free");
    let holder = slot.holder();
    let begun = Instant::now();
    holder.idle_for(10 * SECOND).await;
    assert_eq!(begun.elapsed(), 10 * SECOND);

    let work = holder.at_work();
    let much_later = timeout(100 * SECOND, holder.idle_for(10 * SECOND)).await;
    assert!(much_later.is_err(), "it is at work");
    drop(work);
    let begun = Instant::now();
    holder.idle_for(10 * SECOND).await;
    assert_eq!(begun.elapsed(), 10 * SECOND);
}
