use super::*;
use crate::export::sample;

fn encoder(dialect: StatsdDialect, style: TagStyle, bytes_max: usize) -> Statsd {
    Statsd {
        dialect,
        style,
        prefix: "mesh.".to_owned(),
        tags: Tags::with_identity(&[("env".to_owned(), "pro,d".to_owned())], &[]),
        bytes_max,
        deltas: Deltas::default(),
    }
}

#[test]
fn lines_are_as_their_readers_want_them() {
    use StatsdDialect::{Dogstatsd, Statsd};
    for (name, dialect, style) in [
        ("statsd.path.txt", Statsd, TagStyle::Path),
        ("statsd.graphite.txt", Statsd, TagStyle::Graphite),
        ("statsd.influxdb.txt", Statsd, TagStyle::Influxdb),
        ("dogstatsd.txt", Dogstatsd, TagStyle::Dogstatsd),
    ] {
        let encoded = encoder(dialect, style, 8192).encode(&sample::snapshot());
        sample::assert_golden(name, &sample::text(&encoded));
    }
}

#[test]
fn what_was_sent_is_not_sent_again() {
    let mut statsd = encoder(StatsdDialect::Dogstatsd, TagStyle::Dogstatsd, 8192);
    let snapshot = sample::snapshot();
    let first = statsd.encode(&snapshot);
    let second = statsd.encode(&snapshot);
    assert_eq!(first.batches[0].items, 5);
    let second = sample::text(&second);
    assert!(
        second.starts_with("mesh.http.server.active_requests:2.5|g|#"),
        "{second}"
    );
    assert_eq!(second.lines().count(), 1, "{second}");
}

#[test]
fn datagrams_are_no_longer_than_they_may_be() {
    let encoded =
        encoder(StatsdDialect::Dogstatsd, TagStyle::Dogstatsd, 200).encode(&sample::snapshot());
    assert!(encoded.batches.len() > 1);
    assert!(encoded.batches.iter().all(|batch| batch.body.len() <= 200));
    let encoded =
        encoder(StatsdDialect::Dogstatsd, TagStyle::Dogstatsd, 20).encode(&sample::snapshot());
    assert_eq!((encoded.batches.len(), encoded.too_long), (0, 5));
}

#[test]
fn rates_come_back_as_the_counts_they_stand_for() {
    for count in (1..100_000).chain([1_000_003, 123_456_789]) {
        let rate: f64 = rate(count).to_string().parse().expect("a number");
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is what Datadog's agent does"
        )]
        let read = (1.0 / rate) as u64;
        assert_eq!(read, count);
        assert!(!rate.to_string().contains('e'), "{rate}");
    }
}

#[test]
fn a_negative_gauge_is_no_change_of_it() {
    let mut snapshot = sample::snapshot();
    snapshot.metrics.truncate(1);
    if let Data::Gauge(points) = &mut snapshot.metrics[0].data {
        points[0].value = -3.0;
    }
    let mut statsd = encoder(StatsdDialect::Statsd, TagStyle::Path, 8192);
    statsd.tags = Tags::default();
    assert_eq!(
        sample::text(&statsd.encode(&snapshot)),
        "mesh.http.server.active_requests:0|g\nmesh.http.server.active_requests:-3|g\n"
    );
}

#[test]
fn samples_are_from_the_middle_of_their_bucket() {
    let bounds = [1.0, 4.0, 9.0];
    let middles = [0, 1, 2, 3].map(|bucket| middle(&bounds, bucket));
    assert_eq!(middles, [0.5, 2.0, 6.0, 9.0]);
    assert!(middle(&[], 0).abs() < f64::EPSILON);
}
