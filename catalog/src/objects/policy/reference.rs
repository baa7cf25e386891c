//! What can be written on Services, for those who look it up. What is not here is no
//! annotation: the parser asks it.

/// Name behind `netting.dev/`, what it says, what holds without it. Markdown.
pub(super) const SERVICES: [(&str, &str, &str); 8] = [
    (
        "timeout",
        "a request with all its tries, until the response's end: `2s`, `1m 30s`; `1ms` to a day",
        "none",
    ),
    (
        "per-try-timeout",
        "one try, until the response's head; at most `timeout`",
        "none",
    ),
    ("retries", "tries beyond the first, `0` to `10`", "`2`"),
    (
        "retry-on",
        "a list of `reset`, `gateway-error` (502 to 504), `5xx`, statuses from `400` to `599`, and \
         gRPC's `cancelled`, `unknown`, `deadline-exceeded`, `resource-exhausted`, `aborted`, \
         `internal`, `unavailable` and `data-loss`",
        "none of them",
    ),
    (
        "max-pending",
        "requests of one client that may wait for an answer at a time, `1` to `1000000`; others get a 503 at once",
        "no limit",
    ),
    (
        "eject-after",
        "failures in a row after which an endpoint is left out, `0` to `1000`; `0` for never",
        "`5`",
    ),
    (
        "eject-gap",
        "by how many percentage points more of its requests fail than of the others' before an \
         endpoint is left out, `0%` to `100%`; `0%` for never",
        "`30%`, never with `eject-after: \"0\"`",
    ),
    (
        "eject-for",
        "how long it is left out the first time, `100ms` to `1h`; doubled each time it fails again, up to five minutes",
        "`10s`",
    ),
];

/// Whether there is such an annotation.
pub(super) fn knows(name: &str) -> bool {
    SERVICES.iter().any(|(known, ..)| *known == name)
}

/// What is said of one that is none.
pub(super) fn no_such() -> String {
    let names: Vec<&str> = SERVICES.iter().map(|(name, ..)| *name).collect();
    let (last, others) = names.split_last().expect("there are some");
    format!(
        "no such annotation; a Service has {} and {last}",
        others.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE_BEGINS: &str = "\
# Annotations of Services

They say how the sidecars of a Service's clients treat what goes to its cluster IP. A change is there within milliseconds; nothing is restarted. What can't be meant is ignored: an Event of the Service says why.

| annotation | value | default |
|---|---|---|
";

    #[test]
    fn each_is_understood() {
        for (name, ..) in SERVICES {
            let refused = super::super::Policy::default().set(name, "?");
            let refused = refused.expect_err("no value is a question mark");
            assert!(!refused.contains("no such annotation"), "{name}: {refused}");
        }
    }

    #[test]
    fn the_page_is_of_this_list() {
        netting_golden::assert_golden(
            concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../docs/reference/service-annotations.md"
            ),
            &netting_golden::annotations_page(PAGE_BEGINS, SERVICES),
        );
    }
}
