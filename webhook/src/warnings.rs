//! What the author of a pod is told: the API server passes these on, and
//! `kubectl` prints them.

use crate::options::Given;

/// A pod that has more to be told about has one mistake, made often.
const WARNINGS_MAX: usize = 8;
/// So many characters of a value are repeated. Kubernetes asks for warnings of
/// up to 120 characters, and cuts those over 256 (and 4096 for all together).
const VALUE_CHARS_MAX: usize = 32;
/// Label and annotation names have up to 63 characters after the prefix.
const KEY_CHARS_MAX: usize = 75;

/// Warnings in the order they arose, bounded in number and length.
#[derive(Clone, Debug, Default)]
pub struct Warnings {
    lines: Vec<String>,
    left_out: usize,
}

impl Warnings {
    /// Adds a line that is not about a value.
    pub fn push(&mut self, line: String) {
        if self.lines.len() < WARNINGS_MAX {
            self.lines.push(line);
        } else {
            self.left_out += 1;
        }
    }

    /// `netting.dev/skip-outbound-ports: "99999" is not a port; ignored`. What is
    /// not the pod's own says whose it is.
    pub fn ignored(&mut self, given: Given<'_>, why: &str) {
        self.about(given, why, "ignored");
    }

    /// `netting.dev/drain-timeout: "1m" is not less than
    /// terminationGracePeriodSeconds (30); 28s is used`.
    pub fn instead(&mut self, given: Given<'_>, why: &str, used: &str) {
        self.about(given, why, &format!("{used} is used"));
    }

    fn about(&mut self, given: Given<'_>, why: &str, what_then: &str) {
        let Given { source, key, value } = given;
        let key = clip(key, KEY_CHARS_MAX);
        let value = clip(&value.escape_debug().to_string(), VALUE_CHARS_MAX);
        self.push(format!("{source}{key}: \"{value}\" {why}; {what_then}"));
    }

    /// `netting.dev/mtls is not supported by this version; ignored`.
    pub fn ignored_key(&mut self, given: Given<'_>, why: &str) {
        let Given { source, key, .. } = given;
        let key = clip(key, KEY_CHARS_MAX);
        self.push(format!("{source}{key} {why}; ignored"));
    }

    /// `container web: livenessProbe is left as it is: its port is the sidecar's`.
    pub fn left(&mut self, container: &str, probe: &str, why: &str) {
        let container = clip(container, VALUE_CHARS_MAX);
        self.push(format!(
            "netting: container {container:?}: {probe} is left as it is: {why}"
        ));
    }

    /// `netting: container "agent": its connections are refused until the classic sidecar
    /// is ready`: it starts before that one, and goes on after netting-init.
    pub fn too_early(&mut self, container: &str) {
        let container = clip(container, VALUE_CHARS_MAX);
        self.push(format!(
            "netting: container {container:?}: its connections are refused until the classic sidecar is ready"
        ));
    }

    /// `netting: no container mounts /run/dsd.socket, so no telemetry is sent there`; or
    /// one does, at a path that is the sidecar's own.
    pub fn unmounted(&mut self, socket: &str) {
        let socket = clip(&socket.escape_debug().to_string(), KEY_CHARS_MAX);
        self.push(format!(
            "netting: no container mounts {socket}, so no telemetry is sent there"
        ));
    }

    /// `netting: no container can write to /var/log/access.log, so there is no access log`.
    pub fn unwritable(&mut self, log: &str) {
        let log = clip(&log.escape_debug().to_string(), KEY_CHARS_MAX);
        self.push(format!(
            "netting: no container can write to {log}, so there is no access log"
        ));
    }

    /// The lines, the last of which says how many there were besides.
    #[must_use]
    pub fn into_lines(mut self) -> Vec<String> {
        if self.left_out > 0 {
            let left_out = self.left_out;
            self.lines
                .push(format!("netting: {left_out} more warnings"));
        }
        self.lines
    }
}

fn clip(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Source;

    fn given<'a>(key: &'a str, value: &'a str) -> Given<'a> {
        let source = Source::Pod;
        Given { source, key, value }
    }

    #[test]
    fn long_and_odd_values_stay_short_and_printable() {
        let mut warnings = Warnings::default();
        warnings.ignored(given("netting.dev/inject", "a\u{7}\nb"), "is not known");
        for long in ["ü", "\u{7}"].map(|part| part.repeat(500)) {
            warnings.ignored(given("netting.dev/inject", &long), "is not known");
        }
        let lines = warnings.into_lines();
        assert_eq!(
            lines[0],
            r#"netting.dev/inject: "a\u{7}\nb" is not known; ignored"#
        );
        for line in lines {
            assert!(line.chars().count() <= 120, "{line}");
        }
    }

    #[test]
    fn more_than_enough_warnings_are_counted_instead() {
        let mut warnings = Warnings::default();
        for item in 0..100 {
            let value = format!("x{item}");
            let given = given("netting.dev/skip-outbound-ports", &value);
            warnings.ignored(given, "is not a port");
        }
        let lines = warnings.into_lines();
        assert_eq!(lines.len(), WARNINGS_MAX + 1);
        assert_eq!(lines[WARNINGS_MAX], "netting: 92 more warnings");
    }
}
