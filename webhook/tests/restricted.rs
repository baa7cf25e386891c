//! What is injected, held to the Pod Security standard `restricted`: all of it but
//! netting-init, which nobody can redirect a pod's connections without.
//!
//! <https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>

use clap::Parser as _;
use netting_webhook::{Args, Decision, namespaces::Known, review::Review};
use serde_json::{Value, json};

#[path = "mutations/pods.rs"]
mod pods;

/// What the standard has against a container and the volumes that came with it.
fn violations(container: &Value, volumes: &[&Value]) -> Vec<String> {
    let context = &container["securityContext"];
    let mut violations = Vec::new();
    let mut must = |holds: bool, what: &str| {
        if !holds {
            violations.push(what.to_owned());
        }
    };
    must(
        context["allowPrivilegeEscalation"] == false,
        "privilege escalation",
    );
    must(context["privileged"] != true, "privileged");
    must(context["runAsNonRoot"] == true, "may be root");
    must(context["runAsUser"] != 0, "is root");
    let capabilities = &context["capabilities"];
    let drops = capabilities["drop"].as_array().cloned().unwrap_or_default();
    must(drops.contains(&json!("ALL")), "keeps capabilities");
    let adds = capabilities["add"].as_array().cloned().unwrap_or_default();
    must(
        adds.iter().all(|add| add == "NET_BIND_SERVICE"),
        "adds capabilities",
    );
    let confined = |profile: &Value| profile == "RuntimeDefault" || profile == "Localhost";
    must(confined(&context["seccompProfile"]["type"]), "seccomp");
    let app_armor = &context["appArmorProfile"]["type"];
    must(app_armor.is_null() || confined(app_armor), "AppArmor");
    for unset in ["procMount", "seLinuxOptions", "windowsOptions"] {
        must(context[unset].is_null(), unset);
    }
    let ports = container["ports"].as_array().into_iter().flatten();
    must(
        ports.into_iter().all(|port| port["hostPort"].is_null()),
        "host ports",
    );
    let handlers = ["livenessProbe", "readinessProbe", "startupProbe"];
    let host = |handler: &str| container[handler]["httpGet"]["host"].is_null();
    must(handlers.into_iter().all(host), "probes of another host");
    let projected = |volume: &&Value| !volume["projected"].is_null();
    must(volumes.iter().all(projected), "volumes");
    violations
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["initContainers", "containers"].map(|list| &pod["spec"][list]);
    lists.into_iter().filter_map(Value::as_array).flatten()
}

#[test]
fn a_container_that_the_standard_forbids_is_found() {
    let restricted = json!({"securityContext": {
        "allowPrivilegeEscalation": false, "runAsNonRoot": true, "runAsUser": 1,
        "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}});
    assert_eq!(violations(&restricted, &[]), Vec::<String>::new());
    assert_eq!(violations(&json!({}), &[]).len(), 4);
    for (at, value) in [
        ("/securityContext/allowPrivilegeEscalation", json!(true)),
        ("/securityContext/runAsUser", json!(0)),
        ("/securityContext/runAsNonRoot", json!(false)),
        (
            "/securityContext/capabilities",
            json!({"drop": ["ALL"], "add": ["NET_RAW"]}),
        ),
        (
            "/securityContext/capabilities",
            json!({"drop": ["NET_RAW"]}),
        ),
        (
            "/securityContext/seccompProfile",
            json!({"type": "Unconfined"}),
        ),
    ] {
        let mut forbidden = restricted.clone();
        *forbidden.pointer_mut(at).expect("it is there") = value;
        assert_eq!(violations(&forbidden, &[]).len(), 1, "{forbidden}");
    }
    let host_path = json!({"hostPath": {"path": "/"}});
    assert_eq!(violations(&restricted, &[&host_path]), ["volumes"]);
}

#[test]
fn every_injected_sidecar_meets_the_restricted_standard_in_both_modes() {
    let mut injected = 0;
    for (review, mode) in pods::reviews()
        .iter()
        .flat_map(|review| ["native", "classic"].map(|mode| (review, mode)))
    {
        let args = ["netting-webhook", "--pod-namespace=netting"];
        let mode = format!("--sidecar-mode={mode}");
        let args = Args::parse_from(args.into_iter().chain([mode.as_str()]));
        let options = args.options().expect("the defaults agree with each other");
        let body = serde_json::to_vec(review).expect("a value is JSON");
        let parsed = Review::parse(&body).expect("it is a review");
        let Decision::Inject(patch) = parsed.decide(&Known::default(), &options).decision else {
            continue;
        };
        let before = &review["request"]["object"];
        let mut pod = before.clone();
        json_patch::patch(&mut pod, &patch).expect("the patch fits");
        let volumes = pod["spec"]["volumes"]
            .as_array()
            .expect("there is the token's");
        let own = volumes.iter();
        let own: Vec<_> = own
            .filter(|volume| volume["name"] == "netting-token")
            .collect();
        assert_eq!(own.len(), 1, "{pod:#}");
        let mut sidecars = containers(&pod).filter(|one| one["name"] == "netting-sidecar");
        let sidecar = sidecars.next().expect("it is injected");
        assert_eq!(
            violations(sidecar, &own),
            Vec::<String>::new(),
            "{sidecar:#}"
        );
        assert_eq!(sidecar["securityContext"]["readOnlyRootFilesystem"], true);
        assert_eq!(sidecar["securityContext"]["runAsUser"], 4150);
        let mut inits = containers(&pod).filter(|one| one["name"] == "netting-init");
        let init = inits.next().expect("it is injected");
        assert_eq!(
            init["securityContext"]["capabilities"],
            json!({"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]})
        );
        assert_eq!(init["securityContext"]["allowPrivilegeEscalation"], false);
        injected += 1;
    }
    assert!(injected > 100, "most of them are injected: {injected}");
}
