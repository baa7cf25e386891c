//! Handlers in, patch, variable and warnings out.

use serde_json::json;

use crate::names::{self, SidecarMode};

use super::{
    variable::{VARIABLE, VARIABLE_BYTES_MAX, as_variable},
    *,
};

struct Rewritten {
    pod: Value,
    patch: Value,
    told: Value,
    warnings: Vec<String>,
}

fn options() -> PodOptions {
    PodOptions {
        rewrite_http_probes: true,
        ..crate::test_options().pod_defaults
    }
}

fn rewritten(pod: &Value, chosen: &PodOptions) -> Rewritten {
    let view = Pod::read(pod).expect("it is a pod");
    let mut draft = Draft::of(pod);
    let mut warnings = Warnings::default();
    let variable = rewrite(&mut draft, &view, chosen, &mut warnings);
    let told = variable.map_or(Value::Null, |variable| {
        assert_eq!(variable["name"], VARIABLE);
        let value = variable["value"].as_str().expect("it is text");
        assert!(!value.contains('$'), "the kubelet would expand {value}");
        serde_json::from_str(value).expect("it is JSON")
    });
    let patch = draft.into_patch();
    let mut patched = pod.clone();
    json_patch::patch(&mut patched, &patch).expect("the patch fits");
    Rewritten {
        pod: patched,
        patch: json!(patch),
        told,
        warnings: warnings.into_lines(),
    }
}

/// A pod with a container `web` that has this liveness probe.
fn with_liveness(probe: Value) -> Value {
    json!({"spec": {"containers": [{
        "name": "web",
        "ports": [
            {"name": "http", "containerPort": 8080},
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
            {"name": "admin", "containerPort": 15020},
        ],
        "livenessProbe": probe,
    }]}})
}

fn liveness(probe: Value) -> Rewritten {
    rewritten(&with_liveness(probe), &options())
}

#[test]
fn what_would_not_work_is_left_and_warned_about() {
    let get = |member: &str, value: Value| json!({"httpGet": {"port": 80, member: value}});
    let header =
        |name: &str, value: &str| get("httpHeaders", json!([{"name": name, "value": value}]));
    for (probe, why) in [
        (
            json!({"tcpSocket": {"port": "nope"}}),
            "no port of that name",
        ),
        (
            json!({"tcpSocket": {"port": "8080"}}),
            "no port of that name",
        ),
        (json!({"httpGet": {"port": "HTTP"}}), "no port of that name"),
        (
            json!({"tcpSocket": {"port": 15001}}),
            "port is the sidecar's",
        ),
        (json!({"grpc": {"port": 15006}}), "port is the sidecar's"),
        (
            json!({"tcpSocket": {"port": "admin"}}),
            "port is the sidecar's",
        ),
        (get("path", json!("/a b")), "unusual characters"),
        (get("path", json!("/ü")), "unusual characters"),
        (get("path", json!("/%zz")), "unusual characters"),
        (get("path", json!("/a%2")), "unusual characters"),
        (get("path", json!("/a#b")), "unusual characters"),
        (get("path", json!("/a?b c")), "unusual characters"),
        (get("path", json!("/a?b#c")), "unusual characters"),
        (get("path", json!("//other/a")), "unusual characters"),
        (get("path", json!("http://other/a")), "unusual characters"),
        (header("X Y", "z"), "unusual characters"),
        (header("X", "y\r\nz: 1"), "unusual characters"),
        (get("protocol", json!("h3")), "doesn't know"),
        (
            json!({"tcpSocket": {"port": 80, "tls": true}}),
            "doesn't know",
        ),
    ] {
        let left = liveness(probe.clone());
        assert_eq!((left.patch, left.told), (json!([]), json!(null)), "{probe}");
        assert_eq!(left.warnings.len(), 1, "{probe}");
        let begin = r#"netting: container "web": livenessProbe is left as it is: "#;
        assert!(left.warnings[0].starts_with(begin), "{}", left.warnings[0]);
        assert!(left.warnings[0].contains(why), "{}", left.warnings[0]);
    }
}

#[test]
fn what_works_as_it_is_or_never_did_is_left_without_a_word() {
    for probe in [
        json!({"exec": {"command": ["true"]}}),
        json!({"tcpSocket": {"port": 80, "host": "10.0.0.9"}}),
        json!({"tcpSocket": {"port": 80, "host": "127.0.0.1"}}),
        json!({"httpGet": {"port": 80, "host": "web.example"}}),
        json!({}),
        json!(null),
        json!("tcpSocket"),
        json!({"tcpSocket": null}),
        json!({"tcpSocket": []}),
        json!({"tcpSocket": {}}),
        json!({"tcpSocket": {"port": 0}}),
        json!({"tcpSocket": {"port": 65536}}),
        json!({"tcpSocket": {"port": -1}}),
        json!({"grpc": {"port": "http"}}),
        json!({"grpc": {"port": 80, "service": 1}}),
        json!({"tcpSocket": {"port": 80}, "grpc": {"port": 80}}),
        json!({"tcpSocket": {"port": 80}, "timeoutSeconds": 0}),
        json!({"tcpSocket": {"port": 80}, "timeoutSeconds": "1"}),
        json!({"httpGet": {"port": 80, "scheme": "FTP"}}),
        json!({"httpGet": {"port": 80, "httpHeaders": {}}}),
    ] {
        let left = liveness(probe.clone());
        assert_eq!((left.patch, left.told), (json!([]), json!(null)), "{probe}");
        assert!(left.warnings.is_empty(), "{:?}", left.warnings);
    }
}

#[test]
fn tcp_and_grpc_are_always_asked_by_the_sidecar() {
    let mut chosen = options();
    chosen.rewrite_http_probes = false;
    for (handler, port) in [
        (json!({"tcpSocket": {"port": "http"}}), 8080),
        (json!({"tcpSocket": {"port": "dns", "host": ""}}), 53),
        (json!({"grpc": {"port": 50051, "service": null}}), 50051),
    ] {
        let mut probe = handler.clone();
        probe["periodSeconds"] = json!(3);
        probe["timeoutSeconds"] = json!(2);
        let rewritten = rewritten(&with_liveness(probe), &chosen);
        let (kind, original) = handler
            .as_object()
            .and_then(|h| h.iter().next())
            .expect("one");
        let at = "/spec/containers/0/livenessProbe";
        let get = json!({"path": "/probe/web/liveness", "port": 15020});
        assert_eq!(
            rewritten.patch,
            json!([
                {"op": "remove", "path": format!("{at}/{kind}")},
                {"op": "add", "path": format!("{at}/httpGet"), "value": get},
            ])
        );
        let told = json!({kind: original, "port": port, "timeoutSeconds": 2});
        assert_eq!(rewritten.told, json!({"/probe/web/liveness": told}));
        assert!(rewritten.warnings.is_empty(), "{:?}", rewritten.warnings);
    }
}

#[test]
fn http_is_changed_member_by_member_where_the_pod_asks_for_it() {
    let probe = json!({"httpGet": {
        "path": "/ready?cost=$(X)$$", "port": "http", "scheme": "HTTPS",
        "httpHeaders": [{"name": "Host", "value": "web.example"}],
    }});
    let pod = with_liveness(probe.clone());
    let asked = rewritten(&pod, &options());
    let at = "/spec/containers/0/livenessProbe/httpGet";
    assert_eq!(
        asked.patch,
        json!([
            {"op": "replace", "path": format!("{at}/path"), "value": "/probe/web/liveness"},
            {"op": "replace", "path": format!("{at}/port"), "value": 15020},
            {"op": "replace", "path": format!("{at}/scheme"), "value": "HTTP"},
            {"op": "remove", "path": format!("{at}/httpHeaders")},
        ])
    );
    let told = json!({"httpGet": probe["httpGet"], "port": 8080});
    assert_eq!(asked.told, json!({"/probe/web/liveness": told}));

    let mut chosen = options();
    chosen.rewrite_http_probes = false;
    assert_eq!(rewritten(&pod, &chosen).patch, json!([]));
}

/// A pod that has a handler at every place of every kind of container.
fn everywhere() -> Value {
    let places = json!({
        "livenessProbe": {"tcpSocket": {"port": 1}},
        "readinessProbe": {"grpc": {"port": 2}, "terminationGracePeriodSeconds": 5},
        "startupProbe": {"httpGet": {"port": 3}},
        "lifecycle": {
            "postStart": {"httpGet": {"port": 4}},
            "preStop": {"tcpSocket": {"port": 5}},
        },
    });
    let container = |name: &str| {
        let mut container = places.clone();
        container["name"] = json!(name);
        container
    };
    json!({"spec": {
        "initContainers": [{"name": "once"}, container("shipper")],
        "containers": [container("web"), {"name": "other"}],
    }})
}

#[test]
fn every_place_has_a_path_but_hooks_that_never_run() {
    let asked = rewritten(&everywhere(), &options());
    let paths: Vec<_> = asked
        .told
        .as_object()
        .expect("there are some")
        .keys()
        .collect();
    let mut expected = Vec::new();
    for container in ["shipper", "web"] {
        for place in ["liveness", "poststart", "readiness", "startup"] {
            expected.push(format!("/probe/{container}/{place}"));
        }
    }
    assert_eq!(paths, expected.iter().collect::<Vec<_>>());
    let get = &asked.pod["spec"]["initContainers"][1]["lifecycle"]["postStart"]["httpGet"];
    assert_eq!(
        *get,
        json!({"path": "/probe/shipper/poststart", "port": 15020})
    );
    let readiness = &asked.pod["spec"]["containers"][0]["readinessProbe"];
    assert_eq!(readiness["terminationGracePeriodSeconds"], 5);
}

#[test]
fn hooks_that_may_be_run_with_a_credential_stay_with_the_kubelet() {
    let header = |name: &str| {
        json!({"port": 80, "httpHeaders": [
        {"name": "Host", "value": "web.example"}, {"name": name, "value": "x"}]})
    };
    for (get, secret) in [
        (header("Authorization"), true),
        (header("cookie"), true),
        (header("X-Anything"), true),
        (header("X-Accept"), true),
        (json!({"port": 80, "path": "/drain?token=x"}), true),
        (header("accept"), false),
        (header("User-Agent"), false),
        (header("CONTENT-TYPE"), false),
        (
            json!({"port": 80, "path": "/drain", "httpHeaders": null}),
            false,
        ),
    ] {
        let mut pod = with_liveness(json!({"httpGet": get}));
        let hook = json!({"preStop": {"httpGet": get}});
        pod["spec"]["containers"][0]["lifecycle"] = hook.clone();
        let asked = rewritten(&pod, &options());
        let container = &asked.pod["spec"]["containers"][0];
        assert_eq!(container["lifecycle"] == hook, secret, "{get}");
        assert_eq!(asked.told["/probe/web/prestop"].is_null(), secret, "{get}");
        // A probe only tells whether the application is well, whoever has it asked.
        assert!(!asked.told["/probe/web/liveness"].is_null(), "{get}");
        let warned = asked.warnings.iter();
        let warned = warned.filter(|line| line.contains("lifecycle.preStop"));
        let warned: Vec<_> = warned.filter(|line| line.contains("credentials")).collect();
        assert_eq!(warned.len(), usize::from(secret), "{:?}", asked.warnings);
    }
}

#[test]
fn what_is_asked_before_a_classic_sidecar_runs_stays_with_the_kubelet() {
    let mut chosen = options();
    chosen.mode = SidecarMode::Classic;
    let pod = everywhere();
    let view = Pod::read(&pod).expect("it is a pod");
    let chosen = with_direct_ports(&view, &chosen);
    // The kubelet asks the helper itself there, also once it is redirected elsewhere.
    assert_eq!(chosen.skip_inbound_ports, [1.into()]);
    let asked = rewritten(&pod, &chosen);
    let told = asked.told.as_object().expect("there are some");
    let of_init = told
        .keys()
        .filter(|path| path.starts_with("/probe/shipper/"));
    assert_eq!(of_init.collect::<Vec<_>>(), ["/probe/shipper/readiness"]);
    // Of `web` without its liveness, whose port is the helper's.
    assert_eq!(told.len(), 4);
    assert_eq!(asked.warnings.len(), 2, "{:?}", asked.warnings);
    let again = with_direct_ports(&view, &chosen);
    assert_eq!(again.skip_inbound_ports, chosen.skip_inbound_ports);
}

#[test]
fn only_tcp_probes_of_who_starts_before_the_sidecar_keep_their_port_to_the_kubelet() {
    let helper = json!({"name": "helper", "restartPolicy": "Always",
        "ports": [{"name": "health", "containerPort": 9000}],
        "startupProbe": {"tcpSocket": {"port": "health"}},
        "livenessProbe": {"tcpSocket": {"port": 9001}},
        "readinessProbe": {"tcpSocket": {"port": 9002}},
        "lifecycle": {"postStart": {"tcpSocket": {"port": 9003}}}});
    let elsewhere = json!({"name": "elsewhere", "restartPolicy": "Always",
        "startupProbe": {"grpc": {"port": 9004}},
        "livenessProbe": {"tcpSocket": {"port": 9005, "host": "10.0.0.9"}}});
    let web = json!({"name": "web", "livenessProbe": {"tcpSocket": {"port": 9006}}});
    let pod = json!({"spec": {"initContainers": [helper, elsewhere], "containers": [web]}});
    let view = Pod::read(&pod).expect("it is a pod");
    for (mode, ports) in [
        (SidecarMode::Classic, &["9001", "9000"][..]),
        (SidecarMode::Native, &[]),
    ] {
        let mut chosen = options();
        chosen.mode = mode;
        let skipped = with_direct_ports(&view, &chosen).skip_inbound_ports;
        let skipped: Vec<_> = skipped.iter().map(ToString::to_string).collect();
        assert_eq!(skipped, ports);
    }
}

#[test]
fn ports_that_are_not_redirected_stay_with_the_kubelet() {
    let mut chosen = options();
    chosen.skip_inbound_ports = vec!["8000-8080".parse().expect("it is a range")];
    let pod = with_liveness(json!({"tcpSocket": {"port": "http"}}));
    let left = rewritten(&pod, &chosen);
    assert_eq!(left.patch, json!([]));
    assert!(left.warnings.is_empty(), "{:?}", left.warnings);
}

#[test]
fn what_the_variable_has_no_room_for_is_left() {
    let container = |index: usize| {
        let headers = json!([{"name": "X", "value": "$".repeat(1000)}]);
        let get = json!({"port": 80, "httpHeaders": headers});
        json!({"name": format!("c{index}"), "livenessProbe": {"httpGet": get}})
    };
    let containers: Vec<_> = (0..20).map(container).collect();
    let asked = rewritten(&json!({"spec": {"containers": containers}}), &options());
    let told = asked.told.as_object().expect("there is room for some");
    assert!(as_variable(&asked.told).len() <= VARIABLE_BYTES_MAX);
    assert_eq!(told.len(), 10, "each dollar takes six bytes");
    assert!(
        asked.warnings[0].contains("too many"),
        "{:?}",
        asked.warnings
    );
}

#[test]
fn restoring_gives_back_what_was_there() {
    let mut pods = vec![everywhere()];
    pods.push(with_liveness(json!({"httpGet": {
        "path": "/$(X)", "port": "http", "scheme": "HTTPS",
        "httpHeaders": [{"name": "X", "value": "$$"}],
    }})));
    for pod in pods {
        let view = Pod::read(&pod).expect("it is a pod");
        let mut draft = Draft::of(&pod);
        let variable = rewrite(&mut draft, &view, &options(), &mut Warnings::default());
        let mut patched = pod.clone();
        json_patch::patch(&mut patched, &draft.into_patch()).expect("the patch fits");
        assert_ne!(patched, pod);
        let sidecar = json!({"name": names::SIDECAR_CONTAINER, "env": [variable]});
        let containers = patched["spec"]["containers"]
            .as_array_mut()
            .expect("a list");
        containers.push(sidecar);
        restore(&mut patched);
        let containers = patched["spec"]["containers"]
            .as_array_mut()
            .expect("a list");
        containers.pop();
        assert_eq!(patched, pod);
    }
}

#[test]
fn restoring_leaves_what_is_not_ours() {
    for env in [
        json!(null),
        json!([]),
        json!([{"name": VARIABLE}]),
        json!([{"name": VARIABLE, "value": "["}]),
    ] {
        let mut pod = everywhere();
        pod["spec"]["containers"][1] = json!({"name": names::SIDECAR_CONTAINER, "env": env});
        let before = pod.clone();
        restore(&mut pod);
        assert_eq!(pod, before);
    }
    // The author has changed the probe since.
    let told = json!({"/probe/web/liveness": {"tcpSocket": {"port": 1}, "port": 1}}).to_string();
    let mut pod = everywhere();
    pod["spec"]["containers"][0]["livenessProbe"] = json!({"httpGet": {"path": "/own", "port": 1}});
    let env = json!([{"name": VARIABLE, "value": told}]);
    pod["spec"]["containers"][1] = json!({"name": names::SIDECAR_CONTAINER, "env": env});
    let before = pod.clone();
    restore(&mut pod);
    assert_eq!(pod, before);
}
