//! What an Event says, about which object. Plain data.

use serde_json::Value;

use crate::{
    decision::{Decision, SkipReason, Verdict},
    review::Review,
};

/// Names of objects are DNS subdomains (RFC 1123). The API server has not validated
/// the pod yet, and the queue is not to hold megabytes.
const NAME_BYTES_MAX: usize = 253;
/// What the API server takes.
/// <https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>
const NOTE_BYTES_MAX: usize = 1024;

/// Some annotations were ignored.
const OPTION_IGNORED: &str = "NettingOptionIgnored";
/// Something else about an injected pod is not as its author may think.
const WARNING: &str = "NettingWarning";
/// The pod has asked for a sidecar and gets none.
const NOT_INJECTED: &str = "NettingNotInjected";

/// An Event to be. Two that are equal are one Event, seen twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Complaint {
    pub(super) regarding: Regarding,
    pub(super) reason: &'static str,
    pub(super) note: String,
}

/// The object that an Event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Regarding {
    pub(super) namespace: String,
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) uid: Option<String>,
}

impl Complaint {
    /// What a verdict warns about, for the people who don't create pods themselves.
    /// Nothing for a dry run, which leaves no trace.
    pub(super) fn of(review: &Review, verdict: &Verdict) -> Option<Self> {
        if review.dry_run() || verdict.warnings.is_empty() {
            return None;
        }
        let ignored = |line: &String| line.ends_with("ignored");
        let reason = match verdict.decision {
            Decision::Skip(SkipReason::AlreadyInjected) => WARNING,
            Decision::Skip(_) => NOT_INJECTED,
            Decision::Inject(_) if verdict.warnings.iter().any(ignored) => OPTION_IGNORED,
            Decision::Inject(_) => WARNING,
        };
        Some(Self {
            regarding: Regarding::of(review)?,
            reason,
            note: clip(verdict.warnings.join(". ")),
        })
    }
}

impl Regarding {
    /// The pod's controller, which outlives it and has a name already; else the pod.
    fn of(review: &Review) -> Option<Self> {
        let namespace = short(review.namespace())?;
        controller(review.object(), namespace).or_else(|| {
            Some(Self {
                namespace: namespace.to_owned(),
                api_version: "v1".to_owned(),
                kind: "Pod".to_owned(),
                name: short(review.pod())?.to_owned(),
                uid: None,
            })
        })
    }
}

fn controller(pod: &Value, namespace: &str) -> Option<Regarding> {
    let owners = pod.get("metadata")?.get("ownerReferences")?.as_array()?;
    let controls = |owner: &&Value| owner.get("controller").and_then(Value::as_bool) == Some(true);
    let owner = owners.iter().find(controls)?;
    let text = |field| short(owner.get(field)?.as_str()?).map(str::to_owned);
    Some(Regarding {
        namespace: namespace.to_owned(),
        api_version: text("apiVersion")?,
        kind: text("kind")?,
        name: text("name")?,
        uid: text("uid"),
    })
}

fn short(name: &str) -> Option<&str> {
    Some(name).filter(|name| (1..=NAME_BYTES_MAX).contains(&name.len()))
}

fn clip(mut note: String) -> String {
    if note.len() > NOTE_BYTES_MAX {
        let end = note.floor_char_boundary(NOTE_BYTES_MAX - '…'.len_utf8());
        note.truncate(end);
        note.push('…');
    }
    note
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn review(dry_run: bool, metadata: &Value) -> Review {
        let review = json!({
            "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
            "request": {
                "uid": "1", "operation": "CREATE", "namespace": "shop", "dryRun": dry_run,
                "resource": {"group": "", "version": "v1", "resource": "pods"},
                "object": {"metadata": metadata},
            },
        });
        Review::parse(review.to_string().as_bytes()).expect("it is a review")
    }

    fn verdict(warnings: &[&str]) -> Verdict {
        let mut verdict = Verdict::skip(SkipReason::HostNetwork);
        verdict.warnings = warnings.iter().map(|line| (*line).to_owned()).collect();
        verdict
    }

    #[test]
    fn dry_runs_and_verdicts_without_warnings_leave_no_trace() {
        let named = json!({"generateName": "web-"});
        assert_eq!(Complaint::of(&review(true, &named), &verdict(&["a"])), None);
        assert_eq!(Complaint::of(&review(false, &named), &verdict(&[])), None);
    }

    #[test]
    fn names_that_are_none_are_not_repeated() {
        for metadata in [json!({}), json!({"generateName": "x".repeat(254)})] {
            let complaint = Complaint::of(&review(false, &metadata), &verdict(&["a"]));
            assert_eq!(complaint, None, "{metadata}");
        }
        let owner = json!({"controller": true, "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "name": "x".repeat(1 << 20), "uid": "u"});
        let metadata = json!({"generateName": "web-", "ownerReferences": [owner]});
        let complaint = Complaint::of(&review(false, &metadata), &verdict(&["a"]));
        assert_eq!(complaint.expect("there is a warning").regarding.kind, "Pod");
    }

    #[test]
    fn the_pods_controller_is_meant_and_the_pod_if_it_has_none() {
        let owner = |controls: bool| {
            json!({"controller": controls, "apiVersion": "apps/v1",
            "kind": "ReplicaSet", "name": "web-1", "uid": "u"})
        };
        let of = |metadata: Value| {
            let complaint = Complaint::of(&review(false, &metadata), &verdict(&["a", "b"]));
            complaint.expect("there is a warning")
        };
        let controlled = of(json!({"ownerReferences": [owner(false), owner(true)]}));
        assert_eq!(controlled.regarding.name, "web-1");
        assert_eq!(controlled.regarding.uid.as_deref(), Some("u"));
        assert_eq!(
            (controlled.reason, &*controlled.note),
            (NOT_INJECTED, "a. b")
        );
        let alone = of(json!({"generateName": "web-", "ownerReferences": [owner(false)]}));
        let Regarding { kind, name, .. } = alone.regarding;
        assert_eq!((&*kind, &*name), ("Pod", "web-"));
    }

    #[test]
    fn a_pod_that_is_injected_already_is_not_said_to_be_left_out() {
        let mut verdict = verdict(&["netting: a probe is left as it is"]);
        verdict.decision = Decision::Skip(SkipReason::AlreadyInjected);
        let complaint = Complaint::of(&review(false, &json!({"generateName": "web-"})), &verdict);
        assert_eq!(complaint.expect("there is a warning").reason, WARNING);
    }

    #[test]
    fn an_ignored_option_is_told_from_other_warnings_of_an_injected_pod() {
        for (warning, reason) in [
            ("netting.dev/mtls is not an option; ignored", OPTION_IGNORED),
            ("netting: a probe is left as it is", WARNING),
        ] {
            let mut verdict = verdict(&[warning]);
            verdict.decision = Decision::Inject(json_patch::Patch(Vec::new()));
            let complaint =
                Complaint::of(&review(false, &json!({"generateName": "web-"})), &verdict);
            assert_eq!(complaint.expect("there is a warning").reason, reason);
        }
    }

    #[test]
    fn long_notes_are_cut_to_what_the_api_server_takes() {
        let long = "ü".repeat(NOTE_BYTES_MAX);
        let named = json!({"generateName": "web-"});
        let complaint = Complaint::of(&review(false, &named), &verdict(&[&long]));
        let note = complaint.expect("there is a warning").note;
        assert!(note.len() <= NOTE_BYTES_MAX, "{}", note.len());
        assert!(note.ends_with("ü…"));
    }
}
