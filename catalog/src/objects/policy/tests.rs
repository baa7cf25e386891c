use super::*;

fn parse(annotations: &[(&str, &str)]) -> (Policy, Vec<String>) {
    let annotations = annotations
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut refused = Vec::new();
    let policy = Policy::parse(&annotations.collect(), &mut refused);
    assert!(refused.iter().all(|r| r.reason == Reason::BadAnnotation));
    (policy, refused.into_iter().map(|r| r.value).collect())
}

#[test]
fn refuses_each_malformed_option_and_says_what_it_expects() {
    for (name, value, says) in [
        ("netting.dev/timeout", "", "a time with its unit"),
        ("netting.dev/timeout", "5", "such as 300ms"),
        ("netting.dev/timeout", "0s", "from 1ms to 1day"),
        ("netting.dev/timeout", "-1s", "from 1ms to 1day"),
        ("netting.dev/timeout", "2days", "from 1ms to 1day"),
        (
            "netting.dev/per-try-timeout",
            "soon",
            "a time with its unit",
        ),
        ("netting.dev/retries", "-1", "a number from 0 to 10"),
        ("netting.dev/retries", "11", "a number from 0 to 10"),
        ("netting.dev/retries", "two", "a number from 0 to 10"),
        ("netting.dev/max-pending", "0", "a number from 1 to 1000000"),
        ("netting.dev/eject-after", "1e3", "a number from 0 to 1000"),
        ("netting.dev/eject-for", "10ms", "from 100ms to 1h"),
        ("netting.dev/retry-on", "", r#"not [""]"#),
        ("netting.dev/retry-on", "200", r#"not ["200"]"#),
        (
            "netting.dev/retry-on",
            "5xx,often,700",
            r#"not ["often", "700"]"#,
        ),
        ("netting.dev/retry-on", "ok", "unavailable"),
        ("netting.dev/retrys", "3", "a Service has timeout"),
        ("netting.dev/", "", "no such annotation"),
    ] {
        let (_, refused) = parse(&[(name, value)]);
        assert_eq!(refused.len(), 1, "{name}={value}");
        let begins = format!("{name}={value:?}: expected ");
        assert!(refused[0].starts_with(&begins), "{}", refused[0]);
        assert!(refused[0].contains(says), "{}", refused[0]);
    }
}

#[test]
fn what_is_wrong_is_told_at_once_and_the_rest_counts() {
    let (policy, refused) = parse(&[
        ("netting.dev/timeout", "5"),
        ("netting.dev/retries", "3"),
        ("netting.dev/retry-on", "reset,sometimes,503"),
        ("netting.dev/eject-after", "never"),
    ]);
    assert_eq!(refused.len(), 3);
    assert_eq!(policy.to_string(), "retries=3 retry-on=reset,503");
}

#[test]
fn a_try_may_take_no_longer_than_the_whole_request() {
    let (policy, refused) = parse(&[
        ("netting.dev/timeout", "2s"),
        ("netting.dev/per-try-timeout", "3s"),
    ]);
    assert_eq!(policy.to_string(), "timeout=2s");
    assert_eq!(
        refused,
        [r#"netting.dev/per-try-timeout="3s": expected at most netting.dev/timeout, which is 2s"#]
    );
}

#[test]
fn takes_everything_that_it_documents() {
    let (policy, refused) = parse(&[
        ("netting.dev/timeout", "1m 30s"),
        ("netting.dev/per-try-timeout", " 300ms "),
        ("netting.dev/retries", "0"),
        (
            "netting.dev/retry-on",
            "connect-failure, refused-stream, gateway-error, 429, unavailable, aborted, 429",
        ),
        ("netting.dev/max-pending", "100"),
        ("netting.dev/eject-after", "0"),
        ("netting.dev/eject-gap", " 20% "),
        ("netting.dev/eject-for", "30s"),
    ]);
    assert_eq!(refused, [""; 0]);
    assert_eq!(
        policy.to_string(),
        "timeout=1m 30s per-try-timeout=300ms retries=0 \
         retry-on=429,502,503,504,aborted,unavailable \
         max-pending=100 eject-after=0 eject-gap=20% eject-for=30s"
    );
    let (all, _) = parse(&[("netting.dev/retry-on", "5xx")]);
    assert_eq!(all.to_string(), "retry-on=5xx");
    assert_eq!(all.retry_on.map(|on| on.statuses.len()), Some(100));
}

#[test]
fn the_annotations_of_others_are_none_of_its_business() {
    let others = [
        ("timeout", "soon"),
        ("example.com/netting.dev/timeout", "soon"),
        ("netting.development/retries", "many"),
    ];
    assert_eq!(parse(&others), (Policy::default(), Vec::new()));
}
