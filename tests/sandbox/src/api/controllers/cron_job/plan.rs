//! What is to be done about a CronJob at a moment: no I/O.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::api::{
    object::Object as _,
    schedule::{Minute, Schedule},
};

/// What is to be done, and what is so afterwards.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// The minute whose Job is to be made.
    pub(super) due: Option<Minute>,
    /// Jobs that run, without that one.
    pub(super) active: Vec<Value>,
    /// Jobs to be deleted.
    pub(super) superfluous: Vec<Value>,
    /// When the last of those that were complete was so.
    pub(super) last_success: Option<String>,
}

/// What is to be done about `cron_job`, which controls `jobs`.
pub(super) fn plan(cron_job: &Value, jobs: &[Value], now: Timestamp) -> Plan {
    let of = |condition: &str| {
        let jobs = jobs.iter().filter(|job| job.has_condition(condition));
        jobs.cloned().collect::<Vec<_>>()
    };
    let (complete, failed) = (of("Complete"), of("Failed"));
    let is_over = |job: &&Value| job.has_condition("Complete") || job.has_condition("Failed");
    let active = jobs
        .iter()
        .filter(|job| !is_over(job) && !job.is_terminating());
    let successes = complete
        .iter()
        .map(|job| job.text("/status/completionTime"));
    // RFC 3339 in UTC sorts as time does.
    let last_success = successes.max().map(ToOwned::to_owned);
    let mut plan = Plan {
        due: due(cron_job, jobs, now),
        active: active.cloned().collect(),
        superfluous: Vec::new(),
        last_success,
    };
    for (field, ended) in [("successful", complete), ("failed", failed)] {
        plan.superfluous.extend(beyond(cron_job, field, ended));
    }
    match cron_job.text("/spec/concurrencyPolicy") {
        "Forbid" if !plan.active.is_empty() => plan.due = None,
        "Replace" if plan.due.is_some() => plan.superfluous.append(&mut plan.active),
        _ => {}
    }
    plan
}

/// The minute that is due and has no Job yet.
fn due(cron_job: &Value, jobs: &[Value], now: Timestamp) -> Option<Minute> {
    if cron_job["spec"]["suspend"] == true {
        return None;
    }
    let schedule = Schedule::parse(cron_job.text("/spec/schedule")).ok()?;
    let time = |pointer: &str| cron_job.text(pointer).parse::<Timestamp>().ok();
    let last = time("/status/lastScheduleTime");
    let mut earliest = last.or_else(|| time("/metadata/creationTimestamp"))?;
    // What is later than that is not begun at all.
    if let Some(seconds) = cron_job.integer("/spec/startingDeadlineSeconds") {
        let deadline = now.checked_sub(SignedDuration::from_secs(seconds)).ok()?;
        earliest = earliest.max(deadline);
    }
    let minute = schedule.last_due(earliest, now)?;
    let suffix = format!("-{}", minute.number());
    let is_made = jobs.iter().any(|job| job.name().ends_with(&suffix));
    (!is_made).then_some(minute)
}

/// The older ones of Jobs that have ended, beyond so many as are remembered.
fn beyond(cron_job: &Value, of: &str, mut jobs: Vec<Value>) -> Vec<Value> {
    let limit = cron_job.integer(&format!("/spec/{of}JobsHistoryLimit"));
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    let Some(limit) = limit else {
        return Vec::new();
    };
    jobs.retain(|job| !job.is_terminating());
    // The name tells the minute, which has as many digits for centuries.
    jobs.sort_by(|one, other| one.name().cmp(other.name()));
    jobs.truncate(jobs.len().saturating_sub(limit));
    jobs
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CREATED: &str = "2026-11-22T10:00:20Z";
    /// The minute after that.
    const DUE: i64 = 29_922_361;

    fn cron_job(spec: Value) -> Value {
        let mut cron_job = json!({
            "metadata": {"name": "nightly", "creationTimestamp": CREATED},
            "spec": {"schedule": "* * * * *", "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1},
        });
        json_patch::merge(&mut cron_job["spec"], &spec);
        cron_job
    }

    fn job(minute: i64, condition: &str) -> Value {
        let conditions = json!([{"type": condition, "status": "True"}]);
        json!({"metadata": {"name": format!("nightly-{minute}")},
            "status": {"conditions": conditions, "completionTime": format!("2026-11-22T10:0{}:30Z", minute - DUE)}})
    }

    fn planned(cron_job: &Value, jobs: &[Value], now: &str) -> Plan {
        plan(cron_job, jobs, now.parse().expect("it is a moment"))
    }

    fn due_at(cron_job: &Value, jobs: &[Value], now: &str) -> Option<i64> {
        planned(cron_job, jobs, now).due.map(Minute::number)
    }

    #[test]
    fn nothing_is_due_before_its_minute_or_while_it_is_suspended() {
        let each = cron_job(json!({}));
        assert_eq!(due_at(&each, &[], "2026-11-22T10:00:59Z"), None);
        let suspended = cron_job(json!({"suspend": true}));
        assert_eq!(due_at(&suspended, &[], "2026-11-22T10:01:00Z"), None);
    }

    #[test]
    fn each_minute_is_due_once() {
        let mut each = cron_job(json!({}));
        let now = "2026-11-22T10:01:00Z";
        assert_eq!(due_at(&each, &[], now), Some(DUE));
        // It was made, but not noted down.
        assert_eq!(due_at(&each, &[job(DUE, "Complete")], now), None);
        each["status"] = json!({"lastScheduleTime": now});
        assert_eq!(due_at(&each, &[], "2026-11-22T10:01:59Z"), None);
        assert_eq!(due_at(&each, &[], "2026-11-22T10:02:00Z"), Some(DUE + 1));
    }

    #[test]
    fn of_those_that_were_missed_the_last_is_made_unless_it_is_too_late() {
        let now = "2026-11-22T10:09:30Z";
        assert_eq!(due_at(&cron_job(json!({})), &[], now), Some(DUE + 8));
        for (seconds, due) in [(40, Some(DUE + 8)), (20, None)] {
            let late = cron_job(json!({"startingDeadlineSeconds": seconds}));
            assert_eq!(due_at(&late, &[], now), due, "{seconds}");
        }
    }

    #[test]
    fn the_policy_decides_beside_which_jobs_another_begins() {
        let now = "2026-11-22T10:02:00Z";
        let running = [job(DUE, "None"), job(DUE - 1, "Complete")];
        for (policy, due, active, superfluous) in [
            ("Allow", Some(DUE + 1), 1, 0),
            ("Forbid", None, 1, 0),
            ("Replace", Some(DUE + 1), 0, 1),
        ] {
            let cron_job = cron_job(json!({"concurrencyPolicy": policy}));
            let plan = planned(&cron_job, &running, now);
            assert_eq!(plan.due.map(Minute::number), due, "{policy}");
            assert_eq!(plan.active.len(), active, "{policy}");
            assert_eq!(plan.superfluous.len(), superfluous, "{policy}");
        }
    }

    #[test]
    fn of_jobs_that_have_ended_the_last_ones_are_kept() {
        let mut jobs: Vec<_> = (DUE..DUE + 5).map(|at| job(at, "Complete")).collect();
        jobs.extend((DUE + 5..DUE + 7).map(|at| job(at, "Failed")));
        let cron_job = cron_job(json!({"suspend": true}));
        let plan = planned(&cron_job, &jobs, "2026-11-22T10:09:00Z");
        let names: Vec<_> = plan.superfluous.iter().map(|job| job.name()).collect();
        let minutes = [DUE, DUE + 1, DUE + 5].map(|at| format!("nightly-{at}"));
        assert_eq!(names, minutes);
        assert_eq!(plan.last_success.as_deref(), Some("2026-11-22T10:04:30Z"));
        assert_eq!(plan.active, Vec::<Value>::new());
    }
}
