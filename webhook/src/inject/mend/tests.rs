//! A pod is injected, somebody else changes it, and the API server asks again.

use serde_json::{Value, json};

use crate::{Decision, Namespace, SkipReason, decide};

const CLASSIC: (&str, &str) = ("netting.dev/sidecar-mode", "classic");

/// A pod with these lists, as it is injected.
fn injected(annotation: (&str, &str), spec: Value) -> Value {
    let (key, value) = annotation;
    let pod = json!({"metadata": {"annotations": {key: value}}, "spec": spec});
    patched(&pod).0
}

/// The pod as it is decided about, and what is warned of.
fn patched(pod: &Value) -> (Value, Vec<String>) {
    let options = crate::test_options();
    let verdict = decide(pod, &Namespace::named("shop"), &options);
    let Decision::Inject(patch) = &verdict.decision else {
        panic!("{}: {pod:#}", verdict.decision);
    };
    let mut patched = pod.clone();
    json_patch::patch(&mut patched, patch).expect("the patch fits");
    let again = decide(&patched, &Namespace::named("shop"), &options).decision;
    let done = Decision::Skip(SkipReason::AlreadyInjected);
    // The first time it is injected, and then there is nothing more to do.
    assert_eq!(again, done, "{patched:#}");
    (patched, verdict.warnings)
}

fn web(probe: Value) -> Value {
    json!({"containers": [{"name": "web", "readinessProbe": probe}]})
}

fn names(pod: &Value) -> Vec<&str> {
    names_in(pod, "initContainers")
}

fn names_in<'a>(pod: &'a Value, list: &str) -> Vec<&'a str> {
    let list = pod["spec"][list].as_array();
    let list = list.expect("there are some").iter();
    list.map(|container| container["name"].as_str().expect("it has a name"))
        .collect()
}

fn insert(pod: &mut Value, index: usize, container: Value) {
    insert_into(pod, "initContainers", index, container);
}

fn insert_into(pod: &mut Value, list: &str, index: usize, container: Value) {
    let list = pod["spec"][list].as_array_mut();
    list.expect("there are some").insert(index, container);
}

/// What the sidecar is told about the probes.
fn told(pod: &Value) -> Value {
    let lists = ["initContainers", "containers"].map(|list| &pod["spec"][list]);
    let mut containers = lists.into_iter().filter_map(Value::as_array).flatten();
    let sidecar = containers.find(|container| container["name"] == "netting-sidecar");
    let env = sidecar.expect("it is injected")["env"].as_array().cloned();
    let mut env = env.expect("it has some").into_iter();
    let variable = env.find(|variable| variable["name"] == "NETTING_PROBES");
    let text = variable.expect("it is told")["value"].clone();
    serde_json::from_str(text.as_str().expect("it is text")).expect("it is JSON")
}

/// A sidecar of somebody else's, which the kubelet waits for.
fn proxy() -> Value {
    json!({
        "name": "proxy2",
        "restartPolicy": "Always",
        "startupProbe": {"tcpSocket": {"port": 9000}},
        "livenessProbe": {"grpc": {"port": 9000}},
        "readinessProbe": {"tcpSocket": {"port": 9001}},
        "lifecycle": {"postStart": {"httpGet": {"port": 9002}}},
    })
}

#[test]
fn whom_the_kubelet_starts_before_the_sidecar_does_not_wait_for_it() {
    let asked = json!({"httpGet": {"path": "/probe/proxy2/readiness", "port": 15020}});
    for index in [0, 1] {
        let mut pod = injected(("netting.dev/rewrite-http-probes", "true"), web(json!({})));
        insert(&mut pod, index, proxy());
        let (mended, warnings) = patched(&pod);
        let order = ["proxy2", "netting-init", "netting-sidecar"];
        assert_eq!(names(&mended), order, "nothing comes between ours");
        let mut expected = proxy();
        expected["readinessProbe"] = asked.clone();
        assert_eq!(mended["spec"]["initContainers"][0], expected);
        let left = "netting: container \"proxy2\": lifecycle.postStart is left as it is: \
                    netting-sidecar starts later";
        assert_eq!(warnings, [left]);
        let skipped = "--skip-inbound-ports=9000";
        let args = mended["spec"]["initContainers"][1]["args"].as_array();
        let last = args.and_then(|args| args.last()).expect("it has some");
        assert_eq!(last, skipped, "the kubelet asks it, and not the sidecar");
    }
}

#[test]
fn whom_the_kubelet_starts_after_the_sidecar_is_asked_through_it() {
    let mut pod = injected(("example.com/a", "b"), web(json!({})));
    insert(&mut pod, 2, proxy());
    let (mended, warnings) = patched(&pod);
    let order = ["netting-init", "netting-sidecar", "proxy2"];
    assert_eq!((names(&mended), warnings), (order.to_vec(), vec![]));
    let get = &mended["spec"]["initContainers"][2]["startupProbe"]["httpGet"];
    assert_eq!(get["path"], "/probe/proxy2/startup");
}

#[test]
fn a_container_that_is_moved_before_the_sidecar_gets_its_own_probes_back() {
    let spec = json!({"initContainers": [proxy()], "containers": [{"name": "web"}]});
    let mut pod = injected(("example.com/a", "b"), spec);
    let list = pod["spec"]["initContainers"].as_array_mut();
    let list = list.expect("there are some");
    let moved = list.pop().expect("it comes last");
    assert_ne!(moved, proxy());
    list.insert(0, moved);
    let (mended, warnings) = patched(&pod);
    let proxy = &mended["spec"]["initContainers"][0];
    assert_eq!(proxy["startupProbe"], json!({"tcpSocket": {"port": 9000}}));
    assert_eq!(proxy["livenessProbe"], json!({"grpc": {"port": 9000}}));
    assert_eq!(proxy["readinessProbe"]["httpGet"]["port"], 15020);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let args = mended["spec"]["initContainers"][1]["args"].to_string();
    assert!(args.contains("--skip-inbound-ports=9000"), "{args}");
}

#[test]
fn ports_that_the_kubelet_gets_to_itself_later_join_those_of_the_pod() {
    let classic = json!({"annotations": {CLASSIC.0: CLASSIC.1,
        "netting.dev/skip-inbound-ports": "22,8000-8010"}});
    let pod = json!({"metadata": classic, "spec": {"containers": [{"name": "web"}]}});
    let (mut pod, _) = patched(&pod);
    let mut inside = proxy();
    inside["livenessProbe"] = json!({"tcpSocket": {"port": 8005}});
    insert(&mut pod, 0, inside);
    let (mended, _) = patched(&pod);
    let args = mended["spec"]["initContainers"][1]["args"].to_string();
    assert!(
        args.contains("--skip-inbound-ports=22,8000-8010,9000"),
        "{args}"
    );
}

#[test]
fn netting_init_comes_directly_before_a_native_sidecar() {
    for index in [0, 2] {
        let mut pod = injected(("example.com/a", "b"), web(json!({})));
        let list = pod["spec"]["initContainers"].as_array_mut();
        let list = list.expect("there are some");
        let init = list.remove(0);
        list.insert(0, json!({"name": "fetch"}));
        list.insert(index, init);
        let (mended, _) = patched(&pod);
        let order = ["fetch", "netting-init", "netting-sidecar"];
        assert_eq!(names(&mended), order, "{index}");
    }
}

#[test]
fn netting_init_is_the_last_one_of_a_classic_pod() {
    let mut pod = injected(CLASSIC, web(json!({})));
    insert(&mut pod, 1, json!({"name": "fetch"}));
    assert_eq!(names(&patched(&pod).0), ["fetch", "netting-init"]);
}

#[test]
fn a_classic_sidecar_is_the_first_of_its_containers_again() {
    let probe = json!({"tcpSocket": {"port": 9100}});
    let agent = json!({"name": "agent", "readinessProbe": probe});
    let mut pod = injected(CLASSIC, web(json!({"tcpSocket": {"port": 8080}})));
    insert_into(&mut pod, "containers", 0, agent);
    let (mended, warnings) = patched(&pod);
    assert!(warnings.is_empty(), "{warnings:?}");
    let order = ["netting-sidecar", "agent", "web"];
    assert_eq!(names_in(&mended, "containers"), order);
    // It took along what it was told meanwhile.
    let asked = &told(&mended)["/probe/agent/readiness"];
    assert_eq!(asked["tcpSocket"]["port"], 9100);
    let get = &mended["spec"]["containers"][1]["readinessProbe"]["httpGet"];
    assert_eq!(get["path"], "/probe/agent/readiness");
}

#[test]
fn a_probe_that_was_changed_since_is_asked_as_it_is_now() {
    for annotation in [CLASSIC, ("example.com/a", "b")] {
        let mut pod = injected(annotation, web(json!({"tcpSocket": {"port": 8080}})));
        let list = pod["spec"]["containers"].as_array_mut();
        let web = list.expect("there are some").last_mut().expect("web");
        let ours = web["readinessProbe"].clone();
        for (changed, written) in [
            (
                json!({"tcpSocket": {"port": 8081}}),
                json!({"tcpSocket": {"port": 8081}, "port": 8081}),
            ),
            // As a merge leaves it.
            (
                json!({"grpc": {"port": 8082}, "httpGet": ours["httpGet"]}),
                json!({"grpc": {"port": 8082}, "port": 8082}),
            ),
            (
                json!({"httpGet": ours["httpGet"], "timeoutSeconds": 5}),
                json!({"tcpSocket": {"port": 8080}, "port": 8080, "timeoutSeconds": 5}),
            ),
        ] {
            let mut pod = pod.clone();
            let list = pod["spec"]["containers"].as_array_mut();
            let web = list.expect("there are some").last_mut().expect("web");
            web["readinessProbe"] = changed.clone();
            let (mended, warnings) = patched(&pod);
            assert!(warnings.is_empty(), "{warnings:?}");
            let list = mended["spec"]["containers"].as_array();
            let probe = &list.and_then(|list| list.last()).expect("web")["readinessProbe"];
            assert_eq!(probe["httpGet"], ours["httpGet"], "{changed}");
            assert!(
                ["tcpSocket", "grpc"]
                    .iter()
                    .all(|field| probe.get(field).is_none()),
                "{probe}"
            );
            assert_eq!(told(&mended)["/probe/web/readiness"], written, "{changed}");
        }
    }
}

#[test]
fn a_probe_that_runs_in_the_container_by_now_is_left_to_it() {
    let mut pod = injected(
        ("example.com/a", "b"),
        web(json!({"tcpSocket": {"port": 1}})),
    );
    let exec = json!({"exec": {"command": ["true"]}});
    pod["spec"]["containers"][0]["readinessProbe"] = exec.clone();
    let again = || decide(&pod, &Namespace::named("shop"), &crate::test_options());
    assert_eq!(again().decision.reason(), "already_injected");
    let ours = json!({"path": "/probe/web/readiness", "port": 15020});
    pod["spec"]["containers"][0]["readinessProbe"]["httpGet"] = ours;
    let (mended, _) = patched(&pod);
    assert_eq!(mended["spec"]["containers"][0]["readinessProbe"], exec);
}

#[test]
fn what_is_left_as_it_is_the_second_time_is_told_of() {
    let mut pod = injected(("example.com/a", "b"), web(json!({})));
    pod["spec"]["containers"][0]["readinessProbe"] = json!({"tcpSocket": {"port": "nope"}});
    let verdict = decide(&pod, &Namespace::named("shop"), &crate::test_options());
    assert_eq!(verdict.decision.reason(), "already_injected");
    assert_eq!(
        verdict.warnings,
        [
            "netting: container \"web\": readinessProbe is left as it is: its container has no port of that name"
        ]
    );
}
