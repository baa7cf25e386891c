//! A metric's name in Prometheus' alphabet, by the rules that OpenTelemetry gives
//! (<https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/>).

use std::borrow::Cow;

use crate::snapshot::{Data, Descriptor, Metric};

/// The name of a metric's series, and its unit, which is a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Without the suffix that the series of a counter or histogram have.
    pub family: String,
    /// Empty, if it has none.
    pub unit: Cow<'static, str>,
}

/// What a metric is called. A counter's series have the suffix `_total` behind that.
#[must_use]
pub fn metric_name(metric: &Metric) -> Name {
    let is_gauge = matches!(metric.data, Data::Gauge(_));
    name(metric.descriptor, is_gauge)
}

fn name(descriptor: Descriptor, is_gauge: bool) -> Name {
    let mut family = sanitized(descriptor.name);
    let unit = match descriptor.unit {
        "1" if is_gauge => Cow::Borrowed("ratio"),
        "1" => Cow::Borrowed(""),
        unit => unit_name(unit),
    };
    if !unit.is_empty() && !family.ends_with(&*unit) {
        family.push('_');
        family.push_str(&unit);
    }
    Name { family, unit }
}

/// What a label is called.
#[must_use]
pub fn label_name(key: &str) -> String {
    sanitized(key)
}

fn sanitized(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    write_name(name, &mut out);
    out
}

/// Appends a name with `_` in place of whatever may not be there, and no two of them
/// in a row.
pub(super) fn write_name(name: &str, out: &mut String) {
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        out.push('_');
    }
    let mut after_underscore = false;
    for char in name.chars() {
        let allowed = char.is_ascii_alphanumeric();
        if allowed || !after_underscore {
            out.push(if allowed { char } else { '_' });
        }
        after_underscore = !allowed;
    }
}

/// UCUM's abbreviations in full words; nothing for `{request}` and the like, which
/// only say what is counted.
fn unit_name(unit: &'static str) -> Cow<'static, str> {
    let Some((unit, per)) = unit.split_once('/') else {
        return Cow::Borrowed(word(unit));
    };
    let (unit, per) = (word(unit), word(per).trim_end_matches('s'));
    match (unit, per) {
        (_, "") => Cow::Borrowed(unit),
        ("", per) => Cow::Owned(format!("per_{per}")),
        (unit, per) => Cow::Owned(format!("{unit}_per_{per}")),
    }
}

fn word(unit: &'static str) -> &'static str {
    match unit {
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "%" => "percent",
        "Cel" => "celsius",
        _ if unit.starts_with('{') => "",
        _ => unit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_what_the_rules_make_of_them() {
        for (otel, unit, is_gauge, prometheus) in [
            (
                "http.server.request.duration",
                "s",
                false,
                "http_server_request_duration_seconds",
            ),
            (
                "http.client.request.body.size",
                "By",
                false,
                "http_client_request_body_size_bytes",
            ),
            (
                "http.server.active_requests",
                "{request}",
                true,
                "http_server_active_requests",
            ),
            ("netting.tcp.sent", "By", false, "netting_tcp_sent_bytes"),
            (
                "system.memory.utilization",
                "1",
                true,
                "system_memory_utilization_ratio",
            ),
            ("some.share", "1", false, "some_share"),
            ("disk.speed", "By/s", true, "disk_speed_bytes_per_second"),
            ("requests", "{request}/s", true, "requests_per_second"),
            ("wait.seconds", "s", false, "wait_seconds"),
            ("a..b-c__d", "", false, "a_b_c_d"),
            ("5xx", "", false, "_5xx"),
        ] {
            let descriptor = Descriptor {
                name: otel,
                unit,
                description: "",
            };
            assert_eq!(name(descriptor, is_gauge).family, prometheus);
        }
    }

    #[test]
    fn of_labels_have_no_dots() {
        assert_eq!(
            label_name("http.response.status_code"),
            "http_response_status_code"
        );
    }
}
