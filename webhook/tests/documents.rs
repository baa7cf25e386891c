//! The recorded pods in manifests of every kind, and the manifests that they were
//! made of: injected, and restored to what they were.

use std::{fs, path::Path};

use clap::Parser as _;
use netting_webhook::{
    Args, Namespace, Options,
    documents::{self, Edited, Outcome},
};
use serde_json::{Value, json};

fn fixtures() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// In both modes, with probes of every kind rewritten.
fn options() -> [Options; 2] {
    ["native", "classic"].map(|mode| {
        let mode = format!("--sidecar-mode={mode}");
        let args = Args::parse_from(["netting-webhook", "--rewrite-http-probes", &mode]);
        args.options().expect("the defaults agree with each other")
    })
}

fn recorded_pods() -> Vec<Value> {
    let entries = fs::read_dir(fixtures().join("admission")).expect("the fixtures are there");
    let pods: Vec<Value> = entries
        .map(|entry| {
            let text = fs::read(entry.expect("it is listed").path()).expect("it can be read");
            let mut file: Value = serde_json::from_slice(&text).expect("a fixture is JSON");
            file["review"]["request"]["object"].take()
        })
        .collect();
    assert!(pods.len() > 40, "the fixtures are all there");
    pods
}

fn outcomes(edited: &Edited) -> Vec<String> {
    let named = edited.reports.iter().map(|report| {
        let object = report.object.as_ref().expect("everything can be read");
        let reason = match &report.outcome {
            Outcome::Skipped(reason) => reason.as_str(),
            other => other.as_str(),
        };
        format!("{}: {reason}", object.name)
    });
    named.collect()
}

#[test]
fn every_recorded_pod_is_restored_from_any_workload() {
    let mut injected = 0;
    for pod in recorded_pods() {
        let template = json!({"metadata": pod["metadata"], "spec": pod["spec"]});
        let of = |kind: &str, api: &str, spec: Value| json!({"kind": kind, "apiVersion": api, "spec": spec});
        let job = json!({"jobTemplate": {"spec": {"template": template}}});
        for document in [
            pod.clone(),
            of("StatefulSet", "apps/v1", json!({"template": template})),
            of("CronJob", "batch/v1", job),
        ] {
            let text = format!("{document:#}\n");
            for options in options() {
                let edited = documents::inject(&text, &Namespace::named("edge"), &options);
                let restored = documents::uninject(&edited.text);
                assert_eq!(restored.text, text);
                let [report] = &edited.reports[..] else {
                    panic!("{:?} is about one workload", edited.reports);
                };
                let changed = report.outcome == Outcome::Injected;
                assert_eq!(changed, edited.text != text);
                injected += usize::from(changed);
            }
        }
    }
    assert!(injected > 180, "most of them are injected: {injected}");
}

#[test]
fn a_file_of_odd_pods_is_injected_where_it_can_be_and_restored() {
    let text = fs::read_to_string(fixtures().join("documents/edge-pods.yaml"));
    let text = text.expect("the fixture can be read");
    let values = |text: &str| -> Vec<Value> {
        serde_saphyr::from_multiple(text).expect("every document can be read")
    };
    for options in options() {
        let edited = documents::inject(&text, &Namespace::named("edge"), &options);
        assert_eq!(
            outcomes(&edited),
            [
                "host-network: host_network",
                "opted-out: opted_out_by_annotation",
                "opted-out-by-label: opted_out_by_label",
                "bad-annotation: injected",
                "empty-annotation: injected",
                "probes-every-kind: injected",
                "restricted: injected",
                "no-automount: injected",
                "sa-no-token: injected",
                "uid-clash: uid_taken",
                "port-clash: port_taken",
                "foreign-mesh: other_mesh",
                "container-named-like-ours: name_taken",
                "windows: windows",
                "host-users-off: injected",
                "share-pid: injected",
                "unicode-and-slashes: injected",
                "a-very-long-deployment-name-that-nearly-fills-the-sixty-three-char: injected",
                "db: injected",
                "agent: injected",
                "once: injected",
                "nightly: injected",
            ]
        );
        let robots = "# Pods that break naive injectors.";
        assert!(edited.text.starts_with(robots), "comments stay");
        let account = "\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: no-token}\n";
        assert!(
            edited.text.contains(account),
            "other objects stay as they are"
        );

        let again = documents::inject(&edited.text, &Namespace::named("edge"), &options);
        assert_eq!(again.text, edited.text, "a second pass adds nothing");
        let restored = documents::uninject(&edited.text);
        assert_eq!(values(&restored.text), values(&text));
    }
}
