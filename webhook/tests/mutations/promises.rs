//! What holds for every body, and for every patch that comes of one.

use json_patch::{Patch, PatchOperation};
use k8s_openapi::api::core::v1::Pod;
use netting_sidecar::probe::Probes;
use netting_webhook::{
    Decision, Namespace, Options, SkipReason, decide, documents, names, namespaces::Known,
    review::Review,
};
use serde_json::{Value, json};

use crate::kept::{assert_kept, without_nulls};

/// What the webhook promises about any body at all. Says whether it was a review.
pub(crate) fn check(body: &[u8], options: &Options) -> bool {
    let Ok(review) = Review::parse(body) else {
        return false;
    };
    let verdict = review.decide(&Known::default(), options);
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

pub(crate) fn check_patch(original: &Value, patch: &Patch, options: &Options) {
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
    assert_kept(original, &patched, options.pod_defaults.rewrite_http_probes);

    let again = decide(&patched, &Namespace::named("edge"), options).decision;
    assert_eq!(again, Decision::Skip(SkipReason::AlreadyInjected));
    assert_put_first_again(&patched, options);

    let mended = mend(&patched, options);
    if let Some(probes) = told_to_the_sidecar(&mended) {
        let taken = probes.parse::<Probes>();
        taken.expect("the sidecar takes what the webhook adds");
    }

    for index in [0, 1] {
        assert_not_waited_for(&patched, index, options);
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

/// Another webhook puts containers before ours, and the API server asks again: a classic
/// sidecar is the first of its list once more, and everything else is left where it is.
fn assert_put_first_again(patched: &Value, options: &Options) {
    let added = json!({"name": "added-later", "image": "other"});
    let classic = patched["spec"]["containers"][0]["name"] == names::SIDECAR_CONTAINER;
    let mut expected = patched.clone();
    let mut pod = patched.clone();
    for (list, index) in [("initContainers", 0), ("containers", usize::from(classic))] {
        for (pod, index) in [(&mut expected, index), (&mut pod, 0)] {
            let list = pod["spec"][list].as_array_mut();
            let list = list.expect("both have some now");
            list.insert(index, added.clone());
        }
    }
    match decide(&pod, &Namespace::named("edge"), options).decision {
        Decision::Inject(patch) if classic => {
            json_patch::patch(&mut pod, &patch).expect("the patch fits its pod");
        }
        decision => {
            assert!(!classic, "it needs mending: {pod:#}");
            assert_eq!(decision, Decision::Skip(SkipReason::AlreadyInjected));
        }
    }
    assert_eq!(pod, expected);
}

/// Another webhook puts a sidecar of its own before ours or between them, and the kubelet
/// starts netting-sidecar after it: its probe asks whom it asked.
fn assert_not_waited_for(patched: &Value, index: usize, options: &Options) {
    let mut pod = patched.clone();
    let proxy = json!({
        "name": "proxy2",
        "image": "other",
        "restartPolicy": "Always",
        "startupProbe": {"tcpSocket": {"port": 9000}},
    });
    let list = pod["spec"]["initContainers"].as_array_mut();
    list.expect("it has some now").insert(index, proxy.clone());
    if let Decision::Inject(patch) = decide(&pod, &Namespace::named("edge"), options).decision {
        json_patch::patch(&mut pod, &patch).expect("the patch fits its pod");
    }
    let list = pod["spec"]["initContainers"].as_array();
    let mut list = list.expect("it has some now").iter();
    let now = list.find(|container| container["name"] == "proxy2");
    assert_eq!(now, Some(&proxy), "{pod:#}");
    let again = decide(&pod, &Namespace::named("edge"), options).decision;
    assert_eq!(again, Decision::Skip(SkipReason::AlreadyInjected));
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
/// handler, where a pod is scraped, and a value of Netting's own label and annotation.
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
    let scraped = [
        "/metadata/annotations/prometheus.io~1port",
        "/metadata/annotations/prometheus.io~1path",
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
        PatchOperation::Replace(_) => in_handler || own.contains(&path) || scraped.contains(&path),
        PatchOperation::Remove(_) => in_handler,
        PatchOperation::Move(_) | PatchOperation::Copy(_) | PatchOperation::Test(_) => false,
    }
}
