//! Graphite's plaintext: `name;tag=value 3 1700000000`, cumulative, with
//! `.count`, `.sum` and `.bucket` of histograms.

use super::{
    encoded::{Encoded, Packer},
    tags::{self, Tags},
};
use crate::{
    config::TagStyle,
    snapshot::{Data, Distribution, Labels, Point, Snapshot},
};

/// Lines that are written at once.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Writes a snapshot's lines.
pub(crate) struct Graphite {
    /// [`TagStyle::Graphite`] or [`TagStyle::Path`].
    pub(crate) style: TagStyle,
    /// Empty, or ends with a dot.
    pub(crate) prefix: String,
    pub(crate) tags: Tags,
}

impl Graphite {
    /// All series.
    pub(crate) fn encode(&self, snapshot: &Snapshot) -> Encoded {
        let mut packer = Packer::bodies(BODY_BYTES_MAX);
        let at = seconds(snapshot);
        for metric in &snapshot.metrics {
            let name = metric.descriptor.name;
            let named = |labels: &Labels, suffix: &str, le: Option<&str>| {
                self.name(name, suffix, labels, le, snapshot)
            };
            match &metric.data {
                Data::Counter(points) => {
                    for point in points {
                        let name = named(&point.labels, "", None);
                        packer.line(&format!("{name} {} {at}", point.value));
                    }
                }
                Data::Gauge(points) => {
                    for point in points.iter().filter(|point| point.value.is_finite()) {
                        let name = named(&point.labels, "", None);
                        packer.line(&format!("{name} {} {at}", point.value));
                    }
                }
                Data::Histogram(points) => {
                    for point in points {
                        histogram(point, at, named, &mut packer);
                    }
                }
            }
        }
        packer.finish()
    }

    fn name(
        &self,
        name: &str,
        suffix: &str,
        labels: &Labels,
        le: Option<&str>,
        snapshot: &Snapshot,
    ) -> String {
        let mut tags = self.tags.of(labels, &snapshot.resource);
        tags.extend(le.map(|le| ("le", le)));
        let tags = match self.style {
            TagStyle::Path => tags::path(&tags),
            _ => tags::graphite(&tags),
        };
        format!("{}{name}{suffix}{tags}", self.prefix)
    }
}

fn histogram(
    point: &Point<Distribution>,
    at: u64,
    named: impl Fn(&Labels, &str, Option<&str>) -> String,
    packer: &mut Packer,
) {
    let distribution = &point.value;
    let count = named(&point.labels, ".count", None);
    packer.line(&format!("{count} {} {at}", distribution.count()));
    let sum = named(&point.labels, ".sum", None);
    packer.line(&format!("{sum} {} {at}", distribution.sum));
    for (bound, below) in distribution.cumulative() {
        let bucket = named(&point.labels, ".bucket", Some(&bound.to_string()));
        packer.line(&format!("{bucket} {below} {at}"));
    }
}

fn seconds(snapshot: &Snapshot) -> u64 {
    let since = snapshot.at.duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests;
