//! What a scraper would rather have (RFC 9110 section 12.5).

/// A format of expositions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' own, version 0.0.4.
    /// <https://prometheus.io/docs/instrumenting/exposition_formats/>
    Text,
    /// OpenMetrics 1.0. <https://prometheus.io/docs/specs/om/open_metrics_spec/>
    OpenMetrics,
}

impl Format {
    /// As `content-type` has it.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// How much it is wanted by one item of `accept`: how exactly that item names it,
    /// and its weight.
    fn wanted_by(self, item: &Item<'_>) -> Option<(u8, f32)> {
        let (exact, versions) = match self {
            Format::Text => ("text/plain", ["0.0.4", ""]),
            // What the two say differs in nothing that is written here.
            Format::OpenMetrics => ("application/openmetrics-text", ["1.0.0", "0.0.1"]),
        };
        let version = item.parameter("version");
        let exactness = match item.name {
            name if name.eq_ignore_ascii_case(exact) => match version {
                None => 3,
                Some(version) if versions.contains(&version) => 3,
                Some(_) => return None,
            },
            "text/*" if self == Format::Text => 2,
            "*/*" if self == Format::Text => 1,
            _ => return None,
        };
        Some((exactness, item.weight()))
    }
}

/// The format to answer with. OpenMetrics is only for who names it, and the text format
/// for who asks for nothing that there is: so did all exporters before there was a
/// choice.
#[must_use]
pub fn negotiate(accept: &str) -> Format {
    let weight = |format: Format| {
        let wanted = items(accept).filter_map(|item| format.wanted_by(&item));
        // Of the most exact items, the one with the greatest weight.
        let best = wanted.max_by(|one, other| one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)));
        best.map_or(0.0, |(_, weight)| weight)
    };
    let openmetrics = weight(Format::OpenMetrics);
    if openmetrics > 0.0 && openmetrics >= weight(Format::Text) {
        Format::OpenMetrics
    } else {
        Format::Text
    }
}

/// Whether the answer may be compressed with gzip, by `accept-encoding`.
#[must_use]
pub fn accepts_gzip(accept_encoding: &str) -> bool {
    let weight_of = |names: &[&str]| {
        let named = |item: &Item<'_>| {
            names
                .iter()
                .any(|name| item.name.eq_ignore_ascii_case(name))
        };
        items(accept_encoding).find(named).map(|item| item.weight())
    };
    let weight = weight_of(&["gzip", "x-gzip"]).or_else(|| weight_of(&["*"]));
    weight.is_some_and(|weight| weight > 0.0)
}

/// One of a list, with its parameters.
struct Item<'i> {
    name: &'i str,
    parameters: &'i str,
}

fn items(list: &str) -> impl Iterator<Item = Item<'_>> {
    list.split(',').map(|item| {
        let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
        Item {
            name: name.trim(),
            parameters,
        }
    })
}

impl<'i> Item<'i> {
    fn parameter(&self, wanted: &str) -> Option<&'i str> {
        let pairs = self
            .parameters
            .split(';')
            .filter_map(|pair| pair.split_once('='));
        let mut values = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
        values
            .next()
            .map(|(_, value)| value.trim().trim_matches('"'))
    }

    /// One that is no number is none.
    fn weight(&self) -> f32 {
        self.parameter("q")
            .map_or(1.0, |q| q.parse().unwrap_or(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMETHEUS_3: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
        application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;\
        escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";

    #[test]
    fn takes_what_the_scraper_wants_most() {
        use Format::{OpenMetrics, Text};
        for (accept, format) in [
            ("", Text),
            ("*/*", Text),
            ("application/json", Text),
            ("text/plain", Text),
            ("application/openmetrics-text; version=2.0.0", Text),
            ("application/openmetrics-text; version=1.0.0; q=0", Text),
            ("application/openmetrics-text; q=nonsense", Text),
            (
                "application/openmetrics-text;q=0.2,text/plain;version=0.0.4;q=0.9",
                Text,
            ),
            ("application/openmetrics-text;q=0.2,*/*;q=0.1", OpenMetrics),
            (
                "Application/OpenMetrics-Text; version=\"1.0.0\"",
                OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=0.0.1,text/plain;version=0.0.4;q=0.5",
                OpenMetrics,
            ),
            (
                "application/vnd.google.protobuf;q=0.7,text/plain;version=0.0.4;q=0.3",
                Text,
            ),
            (PROMETHEUS_3, OpenMetrics),
        ] {
            assert_eq!(negotiate(accept), format, "{accept}");
        }
    }

    #[test]
    fn compresses_only_for_who_says_so() {
        for encoding in ["gzip", "deflate, gzip;q=0.5", "*", "x-gzip", "GZIP"] {
            assert!(accepts_gzip(encoding), "{encoding}");
        }
        for encoding in [
            "",
            "identity",
            "gzip;q=0",
            "gzip;q=0.0, *",
            "br",
            "*;q=0",
            "gzip;q=x",
        ] {
            assert!(!accepts_gzip(encoding), "{encoding}");
        }
    }
}
