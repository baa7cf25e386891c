//! What the application says about itself: one JSON object a line on standard output.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

#[derive(Serialize)]
struct Line<'a, T: Serialize> {
    event: &'a str,
    #[serde(flatten)]
    fields: &'a T,
}

/// Writes `{"event": <event>, …fields}` as a line. `fields` must serialise as a JSON object.
///
/// A reader who went away is no reason to stop serving, so a failed write is ignored.
pub fn write<T: Serialize>(event: &str, fields: &T) {
    let _ = writeln!(std::io::stdout().lock(), "{}", line(event, fields));
}

fn line<T: Serialize>(event: &str, fields: &T) -> String {
    serde_json::to_string(&Line { event, fields })
        .expect("the fields are maps with text keys, which JSON can always hold")
}

/// Milliseconds since 1970-01-01 UTC by this machine's clock.
#[must_use]
pub fn unix_milliseconds() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_object_that_names_its_event() {
        let fields = serde_json::json!({"text": "two\nlines"});
        assert_eq!(
            line("listening", &fields),
            r#"{"event":"listening","text":"two\nlines"}"#
        );
    }
}
