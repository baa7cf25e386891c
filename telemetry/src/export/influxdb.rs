//! InfluxDB's line protocol
//! (<https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/>), with the
//! fields that Telegraf gives Prometheus' metrics: `counter`, `gauge`, and of
//! histograms `count`, `sum` and one for each upper bound.

use std::fmt::Write as _;

use super::{
    encoded::{Encoded, Packer},
    otlp::metrics::nanos,
    tags::Tags,
};
use crate::snapshot::{Data, Distribution, Labels, Snapshot};

/// Of a request. InfluxDB advises 5,000 lines.
pub(crate) const BODY_BYTES_MAX: usize = 512 * 1024;

/// All series as lines, in datagrams or bodies.
pub(crate) fn encode(snapshot: &Snapshot, tags: &Tags, mut packer: Packer) -> Encoded {
    let at = nanos(snapshot.at);
    for metric in &snapshot.metrics {
        let measurement = escaped(metric.descriptor.name, ", ");
        let mut line = |labels: &Labels, fields: &str| {
            let tags = tagged(&tags.of(labels, &snapshot.resource));
            packer.line(&format!("{measurement}{tags} {fields} {at}"));
        };
        match &metric.data {
            Data::Counter(points) => {
                for point in points {
                    line(&point.labels, &format!("counter={}", point.value));
                }
            }
            Data::Gauge(points) => {
                for point in points.iter().filter(|point| point.value.is_finite()) {
                    line(&point.labels, &format!("gauge={}", point.value));
                }
            }
            Data::Histogram(points) => {
                for point in points {
                    line(&point.labels, &fields(&point.value));
                }
            }
        }
    }
    packer.finish()
}

fn fields(distribution: &Distribution) -> String {
    let mut fields = format!("count={},sum={}", distribution.count(), distribution.sum);
    for (bound, below) in distribution.cumulative() {
        let _ = write!(fields, ",{bound}={below}");
    }
    fields
}

fn tagged(tags: &[(&str, &str)]) -> String {
    let one =
        |(key, value): &(&str, &str)| format!(",{}={}", escaped(key, ",= "), escaped(value, ",= "));
    tags.iter().map(one).collect()
}

/// With a backslash before what has a meaning. There is none for line breaks, and a
/// backslash at the end would take the next character's.
fn escaped(text: &str, meaningful: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            escaped.push('_');
            continue;
        }
        if meaningful.contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    if escaped.ends_with('\\') {
        escaped.push('_');
    }
    escaped
}

#[cfg(test)]
mod tests;
