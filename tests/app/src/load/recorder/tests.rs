use super::*;

const START: u64 = 1_000_000;

fn answer(status: StatusCode, pod: &str) -> Result<Answer, Failure> {
    Ok(Answer {
        status,
        pod: Some(pod.to_owned()),
        proxy_status: None,
    })
}

fn record(recorder: &mut Recorder, outcome: Result<Answer, Failure>, after_ms: u64) {
    recorder.started();
    recorder.finished(outcome, Duration::from_millis(3), START + after_ms);
}

fn failure(reason: String) -> Result<Answer, Failure> {
    Err(Failure::new(FailureKind::Connect, reason))
}

#[test]
fn an_error_status_is_a_failure_that_names_the_pod() {
    let mut recorder = Recorder::new(START);
    record(
        &mut recorder,
        answer(StatusCode::SERVICE_UNAVAILABLE, "echo-1"),
        7,
    );
    let summary = recorder.summary(START + 10);
    assert_eq!((summary.counts.ok, summary.counts.failed), (0, 1));
    assert_eq!(summary.by_pod["echo-1"], 1);
    assert_eq!(summary.latency_ms, None);
    assert_eq!(
        summary.failures,
        [FailureRecord {
            unix_ms: START + 7,
            after_ms: 7,
            took_ms: 3,
            kind: FailureKind::Status,
            reason: "503 Service Unavailable from echo-1".to_owned(),
        }]
    );
}

#[test]
fn a_proxy_on_the_way_says_why() {
    let mut recorder = Recorder::new(START);
    let answer = Answer {
        status: StatusCode::BAD_GATEWAY,
        pod: None,
        proxy_status: Some("netting; error=connection_terminated".to_owned()),
    };
    record(&mut recorder, Ok(answer), 7);
    let reason = &recorder.summary(START + 10).failures[0].reason;
    assert!(
        reason.ends_with(": netting; error=connection_terminated"),
        "{reason}"
    );
}

#[test]
fn all_failures_are_counted_and_the_last_twenty_told() {
    let mut recorder = Recorder::new(START);
    for number in 0..50 {
        record(&mut recorder, failure(number.to_string()), number);
    }
    let summary = recorder.summary(START + 60);
    assert_eq!(summary.failures_by_kind["connect"], 50);
    assert_eq!(summary.failures_by_kind["timeout"], 0);
    let told: Vec<_> = summary.failures.iter().map(|told| told.after_ms).collect();
    assert_eq!(told, (30..50).collect::<Vec<_>>());
}

#[test]
fn no_requests_are_not_a_clean_run() {
    let mut recorder = Recorder::new(START);
    assert!(!recorder.summary(START).is_clean());
    record(&mut recorder, answer(StatusCode::OK, "echo-1"), 1);
    assert!(recorder.summary(START).is_clean());
    record(&mut recorder, failure("refused".to_owned()), 2);
    assert!(!recorder.summary(START).is_clean());
}

#[test]
fn each_pod_has_its_count_and_its_times() {
    let mut recorder = Recorder::new(START);
    for (pod, after_ms) in [("echo-1", 1), ("echo-2", 2), ("echo-1", 30)] {
        record(&mut recorder, answer(StatusCode::OK, pod), after_ms);
    }
    let summary = recorder.summary(START + 40);
    assert_eq!((summary.by_pod["echo-1"], summary.by_pod["echo-2"]), (2, 1));
    let seen = summary.seen["echo-1"];
    assert_eq!(
        (seen.first_unix_ms, seen.last_unix_ms),
        (START + 1, START + 30)
    );
}

#[test]
fn pod_names_without_end_take_no_memory_without_end() {
    let mut recorder = Recorder::new(START);
    for number in 0..PODS_MAX + 5 {
        let outcome = answer(StatusCode::OK, &format!("echo-{number}"));
        record(&mut recorder, outcome, 0);
    }
    let summary = recorder.summary(START);
    assert_eq!(summary.by_pod.len(), PODS_MAX + 1);
    assert_eq!(summary.by_pod[OTHER_PODS], 5);
}

#[test]
fn a_reset_keeps_what_is_in_flight_in_balance() {
    let mut recorder = Recorder::new(START);
    record(&mut recorder, failure("refused".to_owned()), 1);
    recorder.started();
    recorder.reset(START + 100);
    let summary = recorder.summary(START + 110);
    assert_eq!(summary.elapsed_ms, 10);
    assert_eq!((summary.counts.sent, summary.in_flight), (1, 1));
    assert_eq!(summary.counts.failed, 0);
    recorder.finished(
        answer(StatusCode::OK, "echo-1"),
        Duration::ZERO,
        START + 120,
    );
    let summary = recorder.summary(START + 120);
    assert_eq!(
        (summary.counts.sent, summary.counts.ok, summary.in_flight),
        (1, 1, 0)
    );
}

#[test]
fn a_second_tells_only_what_it_added() {
    let mut recorder = Recorder::new(START);
    record(&mut recorder, failure("refused".to_owned()), 1);
    assert_eq!(recorder.second(START + 1000).counts.failed, 1);
    record(&mut recorder, answer(StatusCode::OK, "echo-1"), 1500);
    let second = recorder.second(START + 2000);
    assert_eq!((second.counts.ok, second.counts.failed), (1, 0));
    assert_eq!(second.failed_in_all, 1);
}

#[test]
fn a_summary_can_be_read_back_by_who_deployed_the_load() {
    let mut recorder = Recorder::new(START);
    record(&mut recorder, answer(StatusCode::OK, "echo-1"), 1);
    record(&mut recorder, failure("refused".to_owned()), 2);
    let summary = recorder.summary(START + 10);
    let text = serde_json::to_string(&summary).expect("it's JSON");
    let read: Summary = serde_json::from_str(&text).expect("it's the same shape");
    assert_eq!(read, summary);
}
