use std::future::poll_fn;

use tokio::time::sleep;

use super::*;

const PATIENCE: Patience = Patience {
    idle: Duration::from_secs(60),
    head: Duration::from_secs(10),
    draining: Duration::from_secs(1),
    tcp_retries: 9,
};

/// How long a waiter waits, and why no longer.
async fn wait(waiters: &Rc<Waiters>, what: WaitsFor) -> (Reason, Duration) {
    let waiter = waiters.join();
    waiter.waits_for(what);
    let begun = Instant::now();
    let over = poll_fn(|cx| waiter.poll_over(cx));
    let watch = async {
        loop {
            sleep(LOOK_EVERY).await;
            waiters.look();
        }
    };
    let reason = tokio::select! {
        reason = over => reason,
        () = watch => unreachable!("it looks forever"),
    };
    (reason, begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn each_wait_has_its_own_end() {
    let waiters = Rc::new(Waiters::new(PATIENCE));
    let (reason, waited) = wait(&waiters, WaitsFor::Head).await;
    assert_eq!(reason, Reason::RequestHeadTimeout);
    assert!(
        waited.abs_diff(PATIENCE.head) <= LOOK_EVERY * 2,
        "{waited:?}"
    );
    let (reason, waited) = wait(&waiters, WaitsFor::Request).await;
    assert_eq!(reason, Reason::IdleTimeout);
    assert!(
        waited.abs_diff(PATIENCE.idle) <= LOOK_EVERY * 2,
        "{waited:?}"
    );
    waiters.drain();
    let (reason, waited) = wait(&waiters, WaitsFor::Request).await;
    assert_eq!(reason, Reason::Draining);
    assert!(waited.abs_diff(PATIENCE.draining) <= LOOK_EVERY * 2);
    assert!(waiters.all.borrow().is_empty());
}

#[test]
fn sides_are_asked_sooner_if_there_is_less_patience_and_never_without_a_limit() {
    let every = |tcp_retries| {
        Patience {
            tcp_retries,
            ..PATIENCE
        }
        .ask_every()
    };
    assert_eq!(every(0), ASK_EVERY);
    assert_eq!(every(3), Duration::from_millis(1400));
    assert_eq!(every(9), ASK_EVERY);
    assert_eq!(every(u8::MAX), ASK_EVERY);
}

#[tokio::test(start_paused = true)]
async fn two_sides_that_are_there_are_left_alone() {
    let (listener, addr) = crate::proxy::chain::listen().await;
    let near = TcpStream::connect(addr).await.expect("it listens");
    let (far, _) = listener.accept().await.expect("it connects");
    let waiters = Rc::new(Waiters::new(PATIENCE));
    let waiter = waiters.join();
    waiter.waits_for(WaitsFor::Request);
    waiter.waits_for(WaitsFor::Sides);
    let mut nobody = Context::from_waker(Waker::noop());
    for _ in 0..3 {
        tokio::time::advance(ASK_EVERY).await;
        waiters.look();
        assert!(waiter.waiting.over.get().is_some(), "it is asked");
        let vanished = waiter.poll_vanished(&mut nobody, (&near, &far));
        assert!(vanished.is_pending() && waiter.waiting.waker.borrow().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_has_its_time_in_however_many_pieces_it_comes() {
    let patience = Patience {
        idle: Duration::from_secs(60),
        head: Duration::from_secs(2),
        draining: Duration::from_secs(1),
        tcp_retries: 0,
    };
    let waiters = Rc::new(Waiters::new(patience));
    let waiter = waiters.join();
    for _ in 0..2 {
        waiter.waits_for(WaitsFor::Head);
        tokio::time::advance(Duration::from_secs(1)).await;
        waiters.look();
    }
    let over = waiter.poll_over(&mut Context::from_waker(Waker::noop()));
    assert_eq!(over, Poll::Ready(Reason::RequestHeadTimeout));
}
