use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::time::{Duration, Instant, timeout};

use super::*;

/// A gatherer of bytes for one exporter, and what it is made of.
struct Fixture {
    gatherer: Gatherer<u8>,
    buffer: Arc<Buffer<u8>>,
    queue: Arc<Queue>,
    metrics: Metrics,
    encoded: Arc<AtomicUsize>,
}

fn fixture(queue_bytes: usize) -> Fixture {
    let metrics = Metrics::new("test", "0");
    let buffer = Arc::new(Buffer::new(WAITING_MAX));
    let queue = Arc::new(Queue::new(queue_bytes));
    let encoded = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&encoded);
    let out = Out {
        encode: Box::new(move |items: &[u8]| {
            counted.fetch_add(1, SeqCst);
            Bytes::copy_from_slice(items)
        }),
        queue: Arc::clone(&queue),
        counts: Counts::new(&metrics, "otlp", Signal::Traces),
    };
    Fixture {
        gatherer: Gatherer {
            buffer: Arc::clone(&buffer),
            outs: vec![out],
            stop: CancellationToken::new(),
        },
        buffer,
        queue,
        metrics,
        encoded,
    }
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_room_is_counted_wherever_that_was() {
    let Fixture {
        gatherer,
        buffer,
        queue,
        metrics,
        ..
    } = fixture(2 * BATCH_MAX);
    for _ in 0..WAITING_MAX + 7 {
        buffer.push(0);
    }
    gatherer.gather();
    assert_eq!(queue.items(), 2 * BATCH_MAX as u64);
    let lost = 7 + WAITING_MAX - 2 * BATCH_MAX;
    let expected = format!(
        r#"netting_telemetry_dropped_total{{error_type="queue_full",netting_exporter="otlp",netting_signal="traces"}} {lost}"#
    );
    let exposition = metrics.expose();
    assert!(exposition.contains(&expected), "{exposition}");
}

#[tokio::test(start_paused = true)]
async fn a_few_wait_for_others_and_many_do_not() {
    let Fixture {
        gatherer,
        buffer,
        queue,
        encoded,
        ..
    } = fixture(1 << 20);
    tokio::spawn(gatherer.run());
    let begun = Instant::now();
    buffer.push(1);
    buffer.push(2);
    let batch = queue.pop().await.expect("it is not closed");
    assert_eq!((&batch.body[..], batch.items), (&[1, 2][..], 2));
    assert_eq!(begun.elapsed(), LINGER);
    let begun = Instant::now();
    for _ in 0..WAITING_MAX / 4 {
        buffer.push(3);
    }
    while queue.items() < WAITING_MAX as u64 / 4 {
        tokio::task::yield_now().await;
    }
    assert!(begun.elapsed() < LINGER);
    assert_eq!(encoded.load(SeqCst), 1 + WAITING_MAX / 4 / BATCH_MAX);
}

#[tokio::test(start_paused = true)]
async fn what_is_there_at_the_end_is_still_queued() {
    let Fixture {
        gatherer,
        buffer,
        queue,
        ..
    } = fixture(1 << 20);
    let stop = gatherer.stop.clone();
    let running = tokio::spawn(gatherer.run());
    buffer.push(1);
    stop.cancel();
    let ended = timeout(Duration::from_secs(1), running).await;
    ended.expect("it ends").expect("it does not panic");
    assert_eq!(queue.pop().await.map(|batch| batch.items), Some(1));
    assert_eq!(queue.pop().await, None);
}
