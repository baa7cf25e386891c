//! Writes a snapshot as text.

use std::{
    collections::BTreeMap,
    fmt::{Display, Write as _},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    Format, SCOPE,
    names::{label_name, metric_name, write_name},
};
use crate::snapshot::{Data, Distribution, Exemplar, Label, Labels, Metric, Point, Snapshot};

/// What all series of a snapshot are in Prometheus' text format, or in OpenMetrics.
#[must_use]
pub fn text(snapshot: &Snapshot, format: Format) -> String {
    Exposition::new(format).of(snapshot)
}

/// The same for scrapers, which have metrics of others too: each series says whose it is.
#[must_use]
pub fn scraped(snapshot: &Snapshot, format: Format) -> String {
    Exposition::scoped(format).of(snapshot)
}

/// The series of a metric alone, to be scraped beside others of its family.
pub(super) fn series(metric: &Metric, format: Format) -> String {
    let mut exposition = Exposition::scoped(format);
    exposition.series(metric, &metric_name(metric).family);
    exposition.out
}

/// What a metric's family is called.
pub(super) fn called(metric: &Metric, format: Format) -> String {
    let family = metric_name(metric).family;
    match (&metric.data, format) {
        (Data::Counter(_), Format::Text) => format!("{family}_total"),
        _ => family,
    }
}

/// Its type.
pub(super) fn kind(metric: &Metric) -> &'static str {
    match metric.data {
        Data::Counter(_) => "counter",
        Data::Gauge(_) => "gauge",
        Data::Histogram(_) => "histogram",
    }
}

/// What `target_info` says of the process, with what has to be escaped. Other than a
/// metric's own, these come from anywhere, and two of them may be called the same here.
pub(super) fn target_labels(resource: &Labels) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    for label in resource.iter() {
        let value = labels.entry(label_name(label.key)).or_default();
        if !value.is_empty() {
            value.push(';');
        }
        escape(&label.value, value);
    }
    labels
}

struct Exposition {
    format: Format,
    /// A label that all series have, or nothing.
    scope: String,
    out: String,
}

impl Exposition {
    fn new(format: Format) -> Self {
        Self {
            format,
            scope: String::new(),
            out: String::new(),
        }
    }

    fn scoped(format: Format) -> Self {
        let (name, value) = SCOPE;
        Self {
            scope: format!("{name}=\"{value}\""),
            ..Self::new(format)
        }
    }

    fn of(mut self, snapshot: &Snapshot) -> String {
        self.target(&snapshot.resource);
        for metric in &snapshot.metrics {
            self.metric(metric);
        }
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }

    /// What the process is, in a metric of its own.
    fn target(&mut self, resource: &Labels) {
        if resource.is_empty() {
            return;
        }
        match self.format {
            Format::Text => self.head("target_info", "gauge", "", "Target metadata"),
            Format::OpenMetrics => self.head("target", "info", "", "Target metadata"),
        }
        let labels = target_labels(resource);
        let labels: Vec<_> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{value}\""))
            .collect();
        self.sample("target_info", "", &labels.join(","), 1);
    }

    fn metric(&mut self, metric: &Metric) {
        let name = metric_name(metric);
        let called = called(metric, self.format);
        self.head(
            &called,
            kind(metric),
            &name.unit,
            metric.descriptor.description,
        );
        self.series(metric, &name.family);
    }

    fn series(&mut self, metric: &Metric, family: &str) {
        match &metric.data {
            Data::Counter(points) => self.each(points, |this, labels, value| {
                this.sample(family, "_total", labels, value);
            }),
            Data::Gauge(points) => self.each(points, |this, labels, value| {
                this.sample(family, "", labels, value);
            }),
            Data::Histogram(points) => self.histograms(family, points),
        }
    }

    fn head(&mut self, name: &str, kind: &str, unit: &str, description: &str) {
        let out = &mut self.out;
        out.extend(["# HELP ", name, " "]);
        let _ = write!(out, "{}", Escaped(description));
        out.extend(["\n# TYPE ", name, " ", kind, "\n"]);
        if self.format == Format::OpenMetrics && !unit.is_empty() {
            out.extend(["# UNIT ", name, " ", unit, "\n"]);
        }
    }

    fn each<T>(&mut self, points: &[Point<T>], mut series: impl FnMut(&mut Self, &str, &T)) {
        let mut labels = String::new();
        for point in points {
            labels.clear();
            write_labels(&point.labels, &mut labels);
            let comma = !labels.is_empty() && !self.scope.is_empty();
            labels.extend([if comma { "," } else { "" }, &self.scope]);
            series(self, &labels, &point.value);
        }
    }

    fn histograms(&mut self, name: &str, points: &[Point<Distribution>]) {
        // Equal for all series of a metric.
        let bounds = points.first().map(|point| &*point.value.bounds);
        let bounds: Vec<String> = bounds
            .unwrap_or_default()
            .iter()
            .map(|bound| self.float(*bound))
            .collect();
        self.each(points, |this, labels, distribution| {
            let comma = if labels.is_empty() { "" } else { "," };
            let mut below = 0;
            for (bucket, count) in distribution.counts.iter().enumerate() {
                below += count;
                let bound = bounds.get(bucket).map_or("+Inf", String::as_str);
                let out = &mut this.out;
                out.extend([name, "_bucket{", labels, comma, "le=\"", bound, "\"} "]);
                let _ = write!(out, "{below}");
                this.exemplar(distribution, bucket);
                this.out.push('\n');
            }
            this.sample(name, "_sum", labels, distribution.sum);
            this.sample(name, "_count", labels, below);
        });
    }

    /// What a bucket's value came from, which only OpenMetrics can tell.
    fn exemplar(&mut self, distribution: &Distribution, bucket: usize) {
        if self.format == Format::Text || distribution.exemplars.is_empty() {
            return;
        }
        let bounds = &distribution.bounds;
        let is_here = |it: &&Exemplar| bounds.partition_point(|bound| *bound < it.value) == bucket;
        if let Some(exemplar) = distribution.exemplars.iter().find(is_here) {
            let _ = write!(
                self.out,
                " # {{trace_id=\"{:032x}\",span_id=\"{:016x}\"}} {} {:.3}",
                u128::from_be_bytes(exemplar.trace),
                u64::from_be_bytes(exemplar.span),
                exemplar.value,
                seconds(exemplar.at),
            );
        }
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: &str, value: impl Display) {
        self.out.extend([name, suffix]);
        if !labels.is_empty() {
            self.out.extend(["{", labels, "}"]);
        }
        // Memory can always be written to.
        let _ = writeln!(self.out, " {value}");
    }

    /// OpenMetrics wants a bound to look like a float.
    fn float(&self, value: f64) -> String {
        match self.format {
            Format::Text => value.to_string(),
            Format::OpenMetrics => format!("{value:?}"),
        }
    }
}

fn write_labels(labels: &[Label], out: &mut String) {
    for (index, label) in labels.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_name(label.key, out);
        out.push_str("=\"");
        escape(&label.value, out);
        out.push('"');
    }
}

fn seconds(at: SystemTime) -> f64 {
    let since = at.duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

/// With what both formats want to be escaped. In descriptions the text format has no
/// need to escape quotes, so they have none.
fn escape(text: &str, out: &mut String) {
    if !text.contains(['\\', '"', '\n']) {
        return out.push_str(text);
    }
    for char in text.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            char => out.push(char),
        }
    }
}

struct Escaped<'t>(&'t str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut escaped = String::new();
        escape(self.0, &mut escaped);
        f.write_str(&escaped)
    }
}

#[cfg(test)]
mod tests;
