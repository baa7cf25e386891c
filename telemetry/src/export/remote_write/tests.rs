use std::fmt::Write as _;

use super::*;
use crate::export::sample;

fn encoder(histograms: Histograms) -> RemoteWrite {
    RemoteWrite {
        tags: vec![("env.name".to_owned(), "prod".to_owned())],
        resource: vec![("service.namespace".to_owned(), "shops".to_owned())],
        histograms,
        known: HashSet::new(),
    }
}

fn series(encoded: &Encoded) -> Vec<TimeSeries> {
    let requests = encoded.batches.iter().map(|batch| {
        let body = snap::raw::Decoder::new().decompress_vec(&batch.body);
        WriteRequest::decode(&*body.expect("it is compressed")).expect("a request")
    });
    requests.flat_map(|request| request.timeseries).collect()
}

/// As Prometheus would show them.
fn text(encoded: &Encoded) -> String {
    let mut text = String::new();
    for series in series(encoded) {
        let labels: Vec<_> = series
            .labels
            .iter()
            .map(|l| format!("{}={:?}", l.name, l.value))
            .collect();
        let _ = write!(text, "{{{}}}", labels.join(", "));
        for sample in &series.samples {
            let _ = write!(text, " {} @{}", sample.value, sample.timestamp);
        }
        for histogram in &series.histograms {
            let _ = write!(text, " {histogram:?}");
        }
        for exemplar in &series.exemplars {
            let _ = write!(
                text,
                " # {} {}={}",
                exemplar.value, exemplar.labels[1].name, exemplar.labels[1].value
            );
        }
        text.push('\n');
    }
    text
}

#[test]
fn series_are_as_prometheus_has_them() {
    for (name, histograms) in [
        ("remote_write.txt", Histograms::Explicit),
        ("remote_write.native.txt", Histograms::Exponential),
    ] {
        let encoded = encoder(histograms).encode(&sample::snapshot());
        sample::assert_golden(name, &text(&encoded));
    }
}

#[test]
fn labels_are_sorted_and_no_two_are_of_one_name() {
    let encoded = encoder(Histograms::Explicit).encode(&sample::snapshot());
    for series in series(&encoded) {
        let names: Vec<_> = series.labels.iter().map(|label| &label.name).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    }
}

#[test]
fn a_series_that_is_gone_is_said_to_be_so_once() {
    let mut remote_write = encoder(Histograms::Explicit);
    let mut snapshot = sample::snapshot();
    let all = series(&remote_write.encode(&snapshot)).len();
    snapshot.metrics.pop();
    let stale = |encoded: &Encoded| {
        let is_stale = |series: &&TimeSeries| series.samples[0].value.to_bits() == STALE.to_bits();
        series(encoded).iter().filter(is_stale).count()
    };
    let second = remote_write.encode(&snapshot);
    assert_eq!((series(&second).len(), stale(&second)), (all, 1));
    assert_eq!(stale(&remote_write.encode(&snapshot)), 0);
    let end = remote_write.end(snapshot.at);
    assert_eq!((series(&end).len(), stale(&end)), (all - 1, all - 1));
}
