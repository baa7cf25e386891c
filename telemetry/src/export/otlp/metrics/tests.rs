use std::collections::BTreeMap;

use prost::Message as _;

use super::*;
use crate::{
    Metrics,
    connections::Direction,
    export::sample,
    proto::opentelemetry::proto::{
        collector::metrics::v1::ExportMetricsServiceRequest, common::v1::any_value,
    },
    requests::Method,
    traffic::TrafficMetrics,
};

fn additions(histograms: Histograms) -> Additions {
    Additions {
        resource: vec![("service.name".to_owned(), "shop".to_owned())],
        histograms,
        temporality: Temporality::Cumulative,
    }
}

fn request(encoded: &Encoded, index: usize) -> ExportMetricsServiceRequest {
    ExportMetricsServiceRequest::decode(&*encoded.batches[index].body).expect("a request")
}

#[test]
fn requests_are_as_the_protocol_has_them() {
    for (name, histograms) in [
        ("otlp.txt", Histograms::Explicit),
        ("otlp.exponential.txt", Histograms::Exponential),
    ] {
        let encoded = encode(&sample::snapshot(), &additions(histograms));
        assert_eq!((encoded.batches.len(), encoded.batches[0].items), (1, 3));
        sample::assert_golden(name, &format!("{:#?}\n", request(&encoded, 0)));
    }
}

#[test]
fn statuses_are_numbers() {
    let label = crate::snapshot::Label {
        key: "http.response.status_code",
        value: "200".into(),
    };
    let value = |attribute: KeyValue| attribute.value.and_then(|value| value.value);
    assert_eq!(
        value(attribute(&label)),
        Some(any_value::Value::IntValue(200))
    );
    let other = crate::snapshot::Label {
        key: "http.response.status_code",
        value: "other".into(),
    };
    let expected = any_value::Value::StringValue("other".to_owned());
    assert_eq!(value(attribute(&other)), Some(expected));
}

/// The kinds of what a process and its traffic have, by OTLP.
fn kinds(encoded: &Encoded) -> BTreeMap<String, metric::Data> {
    let metrics = request(encoded, 0).resource_metrics.remove(0).scope_metrics;
    let metrics = metrics.into_iter().flat_map(|scope| scope.metrics);
    let kind = |metric: Metric| Some((metric.name, metric.data?));
    metrics.filter_map(kind).collect()
}

#[test]
fn what_may_be_added_up_is_a_sum_and_all_else_that_goes_down_a_gauge() {
    let metrics = Metrics::new("test", "0");
    let traffic = TrafficMetrics::register(&metrics);
    for direction in [Direction::Inbound, Direction::Outbound] {
        drop(traffic.of(direction).requests.begin(Method::Get));
    }
    let kinds = kinds(&encode(
        &metrics.snapshot(),
        &additions(Histograms::Explicit),
    ));
    for name in ADDED_UP {
        let metric::Data::Sum(sum) = &kinds[name] else {
            panic!("{name} is {:?}", kinds[name]);
        };
        assert!(!sum.is_monotonic, "{name}");
        assert_eq!(sum.aggregation_temporality, CUMULATIVE, "{name}");
    }
    let gauges = kinds
        .iter()
        .filter(|(_, data)| matches!(data, metric::Data::Gauge(_)));
    let gauges: Vec<_> = gauges.map(|(name, _)| name.as_str()).collect();
    assert_eq!(gauges, ["netting.build.info", "netting.telemetry.series"]);
}

#[test]
fn many_series_go_into_several_requests() {
    let mut snapshot = sample::snapshot();
    if let Data::Counter(points) = &mut snapshot.metrics[2].data {
        let point = points[0].clone();
        points.resize(2 * POINTS_MAX, point);
    }
    let encoded = encode(&snapshot, &additions(Histograms::Explicit));
    let items: Vec<_> = encoded.batches.iter().map(|batch| batch.items).collect();
    assert_eq!(items, [500, 500, 2]);
    for index in 0..3 {
        let resource = &request(&encoded, index).resource_metrics[0];
        assert!(resource.resource.is_some());
        assert_eq!(
            resource.scope_metrics[0].metrics.len(),
            if index == 0 { 3 } else { 1 }
        );
    }
}
