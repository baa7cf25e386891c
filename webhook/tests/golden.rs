//! Every request recorded from a real API server, decided about and patched:
//! against golden files (renewed with `NETTING_UPDATE_GOLDEN=1`), and against what
//! must hold for any patch.

use std::{fs, path::Path};

use clap::Parser as _;
use json_patch::{
    AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation, jsonptr::Pointer,
};
use k8s_openapi::api::core::v1::Pod;
use netting_webhook::{
    Args, Decision, Namespace, Options, SkipReason, Verdict, decide, names::SidecarMode,
    namespaces::Known, restore_probes, review::Review,
};
use serde_json::{Value, json};

/// Golden patches of classic mode, where the properties alone would not show it:
/// with init containers and native sidecars of the pod's own, and without; of a Job;
/// Guaranteed; without the cluster's DNS.
const CLASSIC: [&str; 5] = [
    "edge-job-once",
    "edge-none-restricted",
    "edge-none-share-pid",
    "edge-none-probes-every-kind",
    "bookinfo-replicaset-productpage-v1-7498b5bd44",
];

struct Recorded {
    name: String,
    review: Value,
}

impl Recorded {
    fn object(&self) -> &Value {
        &self.review["request"]["object"]
    }

    fn decide(&self, options: &Options) -> Verdict {
        let body = serde_json::to_vec(&self.review).expect("a value is JSON");
        let review = Review::parse(&body).expect("a real API server sent it");
        review.decide(&Known::default(), options)
    }
}

fn recorded() -> Vec<Recorded> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/admission");
    let mut recorded: Vec<_> = fs::read_dir(dir)
        .expect("the fixtures are there")
        .map(|entry| {
            let path = entry.expect("the fixtures can be listed").path();
            let text = fs::read(&path).expect("a fixture can be read");
            let mut file: Value = serde_json::from_slice(&text).expect("a fixture is JSON");
            let name = path
                .file_stem()
                .expect("a fixture has a name")
                .to_string_lossy();
            Recorded {
                name: name.into_owned(),
                review: file["review"].take(),
            }
        })
        .collect();
    recorded.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(recorded.len() > 40, "the fixtures are all there");
    recorded
}

fn options(mode: SidecarMode) -> Options {
    let args = Args::parse_from([
        "netting-webhook",
        "--image=ghcr.io/netting-dev/netting:0.1.0",
        "--catalog=netting-catalog.netting.svc:15010",
        "--pod-namespace=netting",
        &format!("--sidecar-mode={mode}"),
    ]);
    args.options().expect("the defaults agree with each other")
}

fn assert_golden(name: &str, verdict: &Verdict) {
    let patch = match &verdict.decision {
        Decision::Inject(patch) => json!(patch),
        Decision::Skip(_) => Value::Null,
    };
    let actual = json!({
        "decision": verdict.decision.as_str(),
        "reason": verdict.decision.reason(),
        "warnings": verdict.warnings,
        "patch": patch,
    });
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.patch.json"));
    if std::env::var_os("NETTING_UPDATE_GOLDEN").is_some() {
        fs::write(&path, format!("{actual:#}\n")).expect("the golden file can be written");
    }
    let text = fs::read_to_string(&path).unwrap_or_default();
    let expected: Value = serde_json::from_str(&text).unwrap_or_default();
    assert_eq!(
        actual, expected,
        "{name}: renew it with NETTING_UPDATE_GOLDEN=1"
    );
}

#[test]
fn every_recorded_request_is_patched_as_before() {
    let classic = options(SidecarMode::Classic);
    for recorded in recorded() {
        let verdict = recorded.decide(&options(SidecarMode::Native));
        assert_golden(&recorded.name, &verdict);
        if CLASSIC.contains(&recorded.name.as_str()) {
            assert_golden(
                &format!("{}.classic", recorded.name),
                &recorded.decide(&classic),
            );
        }
    }
}

#[test]
fn every_golden_file_has_its_request() {
    let names: Vec<_> = recorded()
        .into_iter()
        .map(|recorded| recorded.name)
        .collect();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for entry in fs::read_dir(dir).expect("the golden files are there") {
        let file = entry.expect("they can be listed").file_name();
        let file = file.to_string_lossy();
        if let Some(name) = file.strip_suffix(".patch.json") {
            let name = name.strip_suffix(".classic").unwrap_or(name);
            assert!(
                names.iter().any(|known| known == name),
                "{file} is of no request"
            );
        }
    }
}

/// Calls back with each pod that is injected, its patch, and itself once patched.
fn for_each_injected(mut check: impl FnMut(&Recorded, SidecarMode, &Patch, &Value)) {
    let mut injected = 0;
    for mode in [SidecarMode::Native, SidecarMode::Classic] {
        let options = options(mode);
        for recorded in recorded() {
            if let Decision::Inject(patch) = recorded.decide(&options).decision {
                let mut patched = recorded.object().clone();
                json_patch::patch(&mut patched, &patch).expect("the patch fits its pod");
                check(&recorded, mode, &patch, &patched);
                injected += 1;
            }
        }
    }
    assert!(
        injected > 60,
        "most of the recorded pods are injected, in both modes"
    );
}

#[test]
fn patched_pods_deserialise_and_lose_nothing_in_doing_so() {
    for_each_injected(|recorded, _, _, patched| {
        let pod: Pod = serde_json::from_value(patched.clone()).expect("it still is a pod");
        let again = serde_json::to_value(pod).expect("a pod is JSON");
        for list in ["initContainers", "containers"] {
            let ours = |pod: &Value| -> Vec<Value> {
                let containers = pod["spec"][list].as_array().cloned().unwrap_or_default();
                let ours = |c: &Value| {
                    c["name"]
                        .as_str()
                        .is_some_and(|name| name.starts_with("netting-"))
                };
                containers.into_iter().filter(ours).collect()
            };
            // A misspelt field would be gone.
            assert_eq!(ours(patched), ours(&again), "{}", recorded.name);
        }
    });
}

#[test]
fn a_second_pass_adds_nothing() {
    for_each_injected(|recorded, mode, _, patched| {
        let again = decide(patched, &Namespace::named("edge"), &options(mode)).decision;
        assert_eq!(
            again,
            Decision::Skip(SkipReason::AlreadyInjected),
            "{}",
            recorded.name
        );
    });
}

/// Whether a path leads to what asks in a probe or a hook: the one thing of the
/// author's that a patch may change.
fn is_handler(path: &str) -> bool {
    let mut keys = path.split('/').skip(1);
    let list = keys.next() == Some("spec")
        && matches!(keys.next(), Some("initContainers" | "containers"))
        && keys
            .next()
            .is_some_and(|index| index.parse::<usize>().is_ok());
    let handler = match keys.next() {
        Some("livenessProbe" | "readinessProbe" | "startupProbe") => keys.next(),
        Some("lifecycle") => keys.next().and_then(|_| keys.next()),
        _ => None,
    };
    list && matches!(handler, Some("tcpSocket" | "grpc" | "httpGet"))
}

/// The author's, of which the pod's status keeps what they were.
fn is_scrape_annotation(path: &str) -> bool {
    ["port", "path"]
        .map(|key| format!("/metadata/annotations/prometheus.io~1{key}"))
        .contains(&path.to_owned())
}

/// The operation that takes another back, which was done to this pod.
fn inverse(operation: &PatchOperation, before: &Value) -> PatchOperation {
    let path = operation.path().to_buf();
    let value = before.pointer(path.as_str()).cloned();
    match operation {
        PatchOperation::Add(_) => PatchOperation::Remove(RemoveOperation { path }),
        PatchOperation::Remove(_) | PatchOperation::Replace(_) => {
            let is_known = is_handler(path.as_str()) || is_scrape_annotation(path.as_str());
            assert!(is_known, "{path} is the author's");
            let value = value.expect("what is changed was there");
            match operation {
                PatchOperation::Remove(_) => PatchOperation::Add(AddOperation { path, value }),
                _ => PatchOperation::Replace(ReplaceOperation { path, value }),
            }
        }
        other => panic!("{other} is not needed"),
    }
}

#[test]
fn taking_back_what_was_done_restores_the_original() {
    for_each_injected(|recorded, _, patch, patched| {
        let mut pod = recorded.object().clone();
        let mut back = Vec::new();
        for operation in patch.iter() {
            back.push(inverse(operation, &pod));
            json_patch::patch(&mut pod, std::slice::from_ref(operation)).expect("it fits");
        }
        back.reverse();
        let mut restored = patched.clone();
        json_patch::patch(&mut restored, &back).expect("it was done");
        assert_eq!(&restored, recorded.object(), "{}", recorded.name);
    });
}

#[test]
fn a_pod_that_is_scraped_is_scraped_at_its_sidecar_until_that_is_taken_out() {
    let mut scraped = 0;
    for_each_injected(|recorded, _, _, patched| {
        let annotation = |pod: &Value, key: &str| {
            let annotations = &pod["metadata"]["annotations"];
            annotations[format!("prometheus.io/{key}")].clone()
        };
        if annotation(recorded.object(), "scrape") == "true" {
            scraped += 1;
            assert_eq!(annotation(patched, "port"), "15020", "{}", recorded.name);
            let restored = netting_webhook::restored(patched).expect("it is injected");
            assert_eq!(&restored, recorded.object(), "{}", recorded.name);
        }
    });
    assert!(scraped > 0, "a recorded pod is scraped");
}

#[test]
fn every_handler_can_be_put_back() {
    let handlers = |pod: &Value| -> Vec<Value> {
        let lists = ["initContainers", "containers"].map(|list| pod["spec"][list].as_array());
        let containers = lists.into_iter().flatten().flatten();
        let of_authors = |c: &&Value| {
            !["netting-init", "netting-sidecar"]
                .map(Value::from)
                .contains(&c["name"])
        };
        let fields = [
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
            "lifecycle",
        ];
        containers
            .filter(of_authors)
            .flat_map(|container| fields.map(|field| container[field].clone()))
            .collect()
    };
    let mut changed = 0;
    for mode in [SidecarMode::Native, SidecarMode::Classic] {
        let mut options = options(mode);
        options.pod_defaults.rewrite_http_probes = true;
        for recorded in recorded() {
            let Decision::Inject(patch) = recorded.decide(&options).decision else {
                continue;
            };
            let mut pod = recorded.object().clone();
            json_patch::patch(&mut pod, &patch).expect("the patch fits its pod");
            let before = handlers(recorded.object());
            changed += usize::from(handlers(&pod) != before);
            restore_probes(&mut pod);
            assert_eq!(handlers(&pod), before, "{}", recorded.name);
        }
    }
    assert!(changed > 0, "a recorded pod has probes of every kind");
}

#[test]
fn nothing_is_added_over_something() {
    for_each_injected(|recorded, _, patch, _| {
        let mut pod = recorded.object().clone();
        for operation in patch.iter() {
            let path: &Pointer = operation.path();
            if !matches!(operation, PatchOperation::Add(_)) {
                json_patch::patch(&mut pod, std::slice::from_ref(operation)).expect("it fits");
                continue;
            }
            let parent = path.parent().expect("the whole pod is never replaced");
            if let Some(Value::Object(parent)) = pod.pointer(parent.as_str()) {
                let key = path.back().expect("the path is not empty");
                assert_eq!(
                    parent.get(key.decoded().as_ref()),
                    None,
                    "{}: {path}",
                    recorded.name
                );
            }
            json_patch::patch(&mut pod, std::slice::from_ref(operation)).expect("it fits");
        }
    });
}

#[test]
fn containers_come_in_the_order_of_their_mode() {
    let names = |pod: &Value, list: &str| -> Vec<String> {
        let containers = pod["spec"][list].as_array().cloned().unwrap_or_default();
        let name = |c: &Value| {
            c["name"]
                .as_str()
                .expect("a container has a name")
                .to_owned()
        };
        containers.iter().map(name).collect()
    };
    for_each_injected(|recorded, mode, _, patched| {
        let before = |list| names(recorded.object(), list);
        let (init, sidecar) = ("netting-init".to_owned(), "netting-sidecar".to_owned());
        let (init_containers, containers) = match mode {
            SidecarMode::Native => (
                [vec![init, sidecar], before("initContainers")].concat(),
                before("containers"),
            ),
            SidecarMode::Classic => (
                [before("initContainers"), vec![init]].concat(),
                [vec![sidecar], before("containers")].concat(),
            ),
        };
        assert_eq!(
            names(patched, "initContainers"),
            init_containers,
            "{}",
            recorded.name
        );
        assert_eq!(
            names(patched, "containers"),
            containers,
            "{}",
            recorded.name
        );
    });
}
