//! StatsD and Graphite: lines, and how attributes are written in them.

use super::Kind;
use crate::config::{endpoint, options::Options};

/// Whose StatsD it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatsdDialect {
    /// Etsy's: counters, gauges, and timers in milliseconds.
    Statsd,
    /// Datadog's: tags and distributions.
    Dogstatsd,
}

/// How attributes are written where the protocol has no single way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagStyle {
    /// `name.key.value.key.value`
    Path,
    /// `name;key=value;key=value`, Graphite 1.1
    Graphite,
    /// `name:1|c|#key:value,key:value`, Datadog, and most of those that came later
    Dogstatsd,
    /// `name,key=value,key=value:1|c`, Telegraf
    Influxdb,
}

const TAG_STYLES: [(&str, TagStyle); 4] = [
    ("path", TagStyle::Path),
    ("graphite", TagStyle::Graphite),
    ("dogstatsd", TagStyle::Dogstatsd),
    ("influxdb", TagStyle::Influxdb),
];

/// StatsD and Graphite.
pub(super) fn lines(name: &str, target: &str, options: &mut Options<'_>) -> Option<Kind> {
    let tags = match name {
        "dogstatsd" => None,
        "graphite" => options.choice("tags", &TAG_STYLES[..2]),
        _ => options.choice("tags", &TAG_STYLES),
    };
    let prefix = options.parsed("prefix", |text| {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        match text.chars().all(fits) {
            true => Ok(text.trim_matches('.').to_owned()),
            false => Err("has more than letters, digits, dots, - and _"),
        }
    });
    if name == "graphite" {
        return Some(Kind::Graphite {
            to: options.noted(endpoint::address(target, &["tcp"], 2003))?,
            tags: tags.unwrap_or(TagStyle::Graphite),
            prefix,
        });
    }
    let to = options.noted(endpoint::address(target, &["udp", "unix"], 8125))?;
    let (dialect, style) = match name {
        "dogstatsd" => (StatsdDialect::Dogstatsd, TagStyle::Dogstatsd),
        _ => (StatsdDialect::Statsd, TagStyle::Path),
    };
    Some(Kind::Statsd {
        to,
        dialect,
        tags: tags.unwrap_or(style),
        prefix,
    })
}
