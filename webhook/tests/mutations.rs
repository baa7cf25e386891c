//! Recorded requests, damaged at random from a fixed seed: whatever arrives is
//! refused as malformed or allowed; a patch fits the pod that it is for, changes
//! nothing that it shouldn't, adds nothing the second time, and can be taken back.

use std::{collections::BTreeMap, fs, path::Path};

use clap::Parser as _;
use fastrand::Rng;
use json_patch::{Patch, PatchOperation};
use k8s_openapi::api::core::v1::Pod;
use netting_sidecar::probe::Probes;
use netting_webhook::{
    Args, Decision, Namespace, Options, SkipReason, decide, documents, names, review::Review,
};
use serde_json::{Value, json};

const SEED: u64 = 4150;
const ROUNDS: usize = 60;

fn bodies() -> Vec<Value> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/admission");
    let entries = fs::read_dir(dir).expect("the fixtures are there");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("it is listed").path())
        .collect();
    paths.sort();
    let read = |path| {
        let text = fs::read(path).expect("a fixture can be read");
        let mut file: Value = serde_json::from_slice(&text).expect("a fixture is JSON");
        file["review"].take()
    };
    paths.into_iter().map(read).collect()
}

/// Native and classic, with probes of every kind rewritten.
fn options() -> [Options; 2] {
    ["native", "classic"].map(|mode| {
        let args = Args::parse_from([
            "netting-webhook",
            "--pod-namespace=netting",
            "--rewrite-http-probes",
            &format!("--sidecar-mode={mode}"),
        ]);
        args.options().expect("the defaults agree with each other")
    })
}

/// What the webhook promises about any body at all. Says whether it was a review.
fn check(body: &[u8], options: &Options) -> bool {
    let Ok(review) = Review::parse(body) else {
        return false;
    };
    let verdict = review.decide(&BTreeMap::new(), options);
    if let Decision::Inject(patch) = &verdict.decision {
        check_patch(review.object(), patch, options);
    }
    for warning in &verdict.warnings {
        assert!(warning.chars().count() <= 200, "{warning}");
        assert!(!warning.contains(|c: char| c.is_control()), "{warning:?}");
    }
    let answer = serde_json::to_value(review.answer(verdict)).expect("an answer is JSON");
    assert_eq!(answer["response"]["allowed"], true);
    true
}

fn check_patch(original: &Value, patch: &Patch, options: &Options) {
    let mut patched = original.clone();
    json_patch::patch(&mut patched, patch).expect("the patch fits its pod");
    if let Some(probes) = told_to_the_sidecar(&patched) {
        let taken = probes.parse::<Probes>();
        taken.expect("the sidecar takes what the webhook tells it");
    }
    if serde_json::from_value::<Pod>(original.clone()).is_ok() {
        let still = serde_json::from_value::<Pod>(patched.clone());
        still.expect("what was a pod still is one");
    }
    for operation in patch.iter() {
        let path = operation.path().to_string();
        assert!(is_ours_to_change(operation, &path), "{operation}");
    }

    // Another webhook has put a container before ours, and the API server asks again.
    let mut reinvoked = patched.clone();
    for list in ["initContainers", "containers"] {
        let list = reinvoked["spec"][list].as_array_mut();
        list.expect("both have some now")
            .insert(0, json!({"name": "added-later", "image": "other"}));
    }
    for again in [&patched, &reinvoked] {
        let decision = decide(again, &Namespace::named("edge"), options).decision;
        assert_eq!(decision, Decision::Skip(SkipReason::AlreadyInjected));
    }

    let mended = mend(&patched, options);
    if let Some(probes) = told_to_the_sidecar(&mended) {
        let taken = probes.parse::<Probes>();
        taken.expect("the sidecar takes what the webhook adds");
    }

    let manifest = |pod: &Value| {
        json!({"kind": "List", "apiVersion": "v1", "items": [
            {"kind": "ReplicationController", "apiVersion": "v1", "spec": {"template": pod}},
        ]})
    };
    let restored = documents::uninject(&manifest(&patched).to_string()).text;
    let restored: Value = serde_json::from_str(&restored).expect("it still is JSON");
    assert_eq!(
        without_nulls(restored),
        without_nulls(manifest(original)),
        "uninject restores what was"
    );
}

/// Another webhook appends containers, one of them with a probe. Ours mends the pod,
/// once.
fn mend(patched: &Value, options: &Options) -> Value {
    let mut pod = patched.clone();
    let init = json!({"name": "added-init", "image": "other"});
    let probe = json!({"tcpSocket": {"port": 9999}});
    let regular = json!({"name": "added-later", "image": "other", "livenessProbe": probe});
    for (list, container) in [("initContainers", init), ("containers", regular)] {
        let list = pod["spec"][list].as_array_mut();
        list.expect("both have some now").push(container);
    }
    let Decision::Inject(patch) = decide(&pod, &Namespace::named("edge"), options).decision else {
        panic!("it needs mending: {pod:#}");
    };
    json_patch::patch(&mut pod, &patch).expect("the patch fits its pod");
    let again = decide(&pod, &Namespace::named("edge"), options).decision;
    assert_eq!(again, Decision::Skip(SkipReason::AlreadyInjected));
    let last = |list: &str| pod["spec"][list].as_array().and_then(|all| all.last());
    let probe = last("containers").map(|added| &added["livenessProbe"]);
    let asked = json!({"httpGet": {"path": "/probe/added-later/liveness", "port": 15020}});
    assert_eq!(probe, Some(&asked), "{pod:#}");
    let classic = pod["spec"]["containers"]
        .as_array()
        .is_some_and(|all| all.iter().any(|c| c["name"] == names::SIDECAR_CONTAINER));
    let expected = if classic {
        names::INIT_CONTAINER
    } else {
        "added-init"
    };
    let last = last("initContainers").map(|last| &last["name"]);
    assert_eq!(last, Some(&json!(expected)), "{pod:#}");
    pod
}

/// What the injected sidecar is told of the pod's probes.
fn told_to_the_sidecar(pod: &Value) -> Option<&str> {
    let lists = ["initContainers", "containers"].map(|list| &pod["spec"][list]);
    let mut containers = lists.into_iter().filter_map(Value::as_array).flatten();
    let sidecar = containers.find(|c| c["name"] == names::SIDECAR_CONTAINER)?;
    let mut variables = sidecar["env"].as_array()?.iter();
    variables.find(|variable| variable["name"] == "NETTING_PROBES")?["value"].as_str()
}

/// Adding is, of what is Netting's; replacing or removing is only a probe's or a hook's
/// handler, and a value of Netting's own label and annotation.
fn is_ours_to_change(operation: &PatchOperation, path: &str) -> bool {
    let fields: Vec<_> = path.split('/').skip(1).collect();
    let in_handler = matches!(
        fields[..],
        ["spec", "initContainers" | "containers", _, probe, "httpGet" | "tcpSocket" | "grpc", ..]
            if probe.ends_with("Probe")
    ) || matches!(
        fields[..],
        [
            "spec",
            "initContainers" | "containers",
            _,
            "lifecycle",
            _,
            "httpGet",
            ..
        ]
    );
    let own = [
        "/metadata/labels/netting.dev~1injected",
        "/metadata/annotations/netting.dev~1status",
        "/metadata/annotations/kubectl.kubernetes.io~1default-container",
    ];
    match operation {
        PatchOperation::Add(_) => {
            let parents = ["/metadata", "/metadata/labels", "/metadata/annotations"];
            let lists = ["/spec/initContainers", "/spec/containers", "/spec/volumes"];
            let in_list = path
                .rsplit_once('/')
                .is_some_and(|(list, _)| lists.contains(&list));
            in_handler
                || in_list
                || own.contains(&path)
                || parents.contains(&path)
                || lists.contains(&path)
        }
        PatchOperation::Replace(_) => in_handler || own.contains(&path),
        PatchOperation::Remove(_) => in_handler,
        PatchOperation::Move(_) | PatchOperation::Copy(_) | PatchOperation::Test(_) => false,
    }
}

/// `null` is as good as absent, in every object that Kubernetes has.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(object) => object
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect(),
        Value::Array(list) => list.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

#[test]
fn arbitrary_bytes_are_refused_or_allowed() {
    let mut random = Rng::with_seed(SEED);
    let options = options();
    for body in bodies() {
        let original = serde_json::to_vec(&body).expect("a value is JSON");
        for round in 0..ROUNDS {
            let mut bytes = original.clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..bytes.len());
                match random.u8(..3) {
                    0 => bytes[at] = random.u8(..),
                    1 => bytes.truncate(at.max(1)),
                    _ => bytes.insert(at, random.u8(..)),
                }
            }
            check(&bytes, &options[round % 2]);
        }
    }
    for _ in 0..ROUNDS {
        let mut noise = vec![0; random.usize(..4096)];
        random.fill(&mut noise);
        assert!(!check(&noise, &options[0]), "noise is no review");
    }
}

#[test]
fn arbitrary_json_in_the_place_of_anything_is_refused_or_allowed() {
    let mut random = Rng::with_seed(SEED);
    let options = options();
    let mut reviews = 0;
    for body in bodies() {
        for round in 0..ROUNDS {
            let mut body = body.clone();
            for _ in 0..random.usize(1..4) {
                let anywhere = random.u8(..3) == 0;
                let part = if anywhere { "" } else { "/request/object" };
                if let Some(part) = body.pointer_mut(part) {
                    damage(part, &mut random);
                }
            }
            let bytes = serde_json::to_vec(&body).expect("a value is JSON");
            reviews += usize::from(check(&bytes, &options[round % 2]));
        }
    }
    assert!(reviews > 1000, "most of them still are reviews: {reviews}");
}

/// Walks down at random and puts something else there.
fn damage(place: &mut Value, random: &mut Rng) {
    let deeper = random.u8(..8) > 0;
    let below = match place {
        Value::Object(object) if deeper && !object.is_empty() => {
            let nth = random.usize(..object.len());
            object.values_mut().nth(nth)
        }
        Value::Array(list) if deeper && !list.is_empty() => {
            let nth = random.usize(..list.len());
            list.get_mut(nth)
        }
        _ => None,
    };
    match below {
        Some(below) => damage(below, random),
        None => *place = anything(random),
    }
}

fn anything(random: &mut Rng) -> Value {
    match random.u8(..19) {
        0 => json!(null),
        1 => json!({}),
        2 => json!([]),
        3 => json!([null]),
        4 => json!([{}]),
        5 => json!(true),
        6 => json!(random.i64(..)),
        7 => json!(-1.5e300),
        8 => json!("netting-sidecar"),
        9 => json!([{"name": "netting-init"}]),
        10 => {
            json!({"netting.dev/skip-inbound-ports": "0,-,1-2-3,\u{0}", "netting.dev/inject": "\n"})
        }
        11 => {
            json!({"netting.dev/status": "[]", "netting.dev/drain-timeout": "9999999999999999999999s"})
        }
        12 => {
            json!({"netting.dev/proxy-cpu-limit": "1e-99999", "netting.dev/proxy-cpu-request": ".".repeat(99)})
        }
        13 => json!({"runAsUser": u64::MAX, "limits": {"cpu": "0"}, "requests": {"cpu": 1}}),
        14 => json!("ü~/".repeat(random.usize(..200))),
        15 => json!({"tcpSocket": {"port": "http"}, "timeoutSeconds": random.i64(-1..3)}),
        16 => json!({"path": "/$%zz#?//", "port": random.u16(..), "scheme": "HTTPS"}),
        17 => json!([{"name": "X", "value": "a\r\nb"}, {"name": "Host", "value": "ü"}]),
        _ => json!({"name": null, "ports": [{"containerPort": 15001}]}),
    }
}
