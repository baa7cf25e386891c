//! Annotations in, options and warnings out.

use std::time::Duration;

use serde_json::{Value, json};

use super::{lists::ITEMS_MAX, *};
use crate::{names::SidecarMode, pod::Pod, warnings::Warnings};

fn defaults() -> PodOptions {
    crate::test_options().pod_defaults
}

/// What is chosen for a pod with these annotations in a namespace with those.
fn choose(options: &Options, namespace: Value, pod: Value) -> (PodOptions, Vec<String>) {
    let raw = json!({
        "metadata": {"annotations": pod},
        "spec": {
            "initContainers": [
                {"name": "init", "ports": [{"name": "late", "containerPort": 7000}]},
            ],
            "containers": [
                {"name": "app", "ports": [
                    {"name": "http", "containerPort": 8080},
                    {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                ]},
                {"name": "other", "ports": [{"name": "http", "containerPort": 8081}]},
            ],
            "terminationGracePeriodSeconds": 20,
        },
    });
    let pod = Pod::read(&raw).expect("it is a pod");
    let annotations = serde_json::from_value(namespace).expect("annotations are strings");
    let namespace = Namespace {
        name: "shop",
        annotations: &annotations,
        ..Namespace::named("shop")
    };
    let mut warnings = Warnings::default();
    let options = PodOptions::choose(options, &pod, namespace, &mut warnings);
    (options, warnings.into_lines())
}

fn overlay(annotations: Value) -> (PodOptions, Vec<String>) {
    choose(&crate::test_options(), json!({}), annotations)
}

fn written<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

#[test]
fn every_wrong_value_is_warned_about_and_leaves_the_default() {
    let (options, warnings) = overlay(json!({
        "netting.dev/skip-outbound-ports": "99999,abc,80-70",
        "netting.dev/skip-inbound-cidrs": "10.0.0.0/33",
        "netting.dev/log-level": "loud",
        "netting.dev/sidecar-mode": "modern",
        "netting.dev/drain-timeout": "soon",
        "netting.dev/proxy-cpu-request": "much",
    }));
    assert_eq!(options, defaults());
    assert_eq!(
        warnings,
        [
            r#"netting.dev/drain-timeout: "soon" is not a duration such as 30s or 1m30s; ignored"#,
            r#"netting.dev/log-level: "loud" is not a log level (off, error, warn, info, debug, trace); ignored"#,
            r#"netting.dev/sidecar-mode: "modern" is not native or classic; ignored"#,
            r#"netting.dev/skip-inbound-cidrs: "10.0.0.0/33" is not a network such as 10.0.0.0/8 or fd00::/8; ignored"#,
            r#"netting.dev/skip-outbound-ports: "99999" is not a port; ignored"#,
            r#"netting.dev/skip-outbound-ports: "abc" is not the name of a TCP port of the pod; ignored"#,
            r#"netting.dev/skip-outbound-ports: "80-70" is a range that ends before it begins; ignored"#,
            r#"netting.dev/proxy-cpu-request: "much" is not a quantity such as 100m or 64Mi; ignored"#,
        ]
    );
    assert!(warnings.iter().all(|line| line.chars().count() <= 120));
}

#[test]
fn valid_items_of_a_list_are_kept() {
    let (options, warnings) = overlay(json!({
        "netting.dev/skip-inbound-ports": " 80, ,nope,8000-8010,",
        "netting.dev/skip-outbound-cidrs": "10.1.2.3/8,2001:db8::1,x",
    }));
    assert_eq!(written(&options.skip_inbound_ports), ["80", "8000-8010"]);
    assert_eq!(
        written(&options.skip_outbound_cidrs),
        ["10.0.0.0/8", "2001:db8::1/128"]
    );
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}

#[test]
fn unknown_and_future_options_are_told_apart() {
    let (options, warnings) = overlay(json!({
        "netting.dev/mtls": "strict",
        "netting.dev/skip-outbound-port": "80",
        "netting.dev/inject": "enabled",
        "netting.dev/status": "{}",
        "example.com/mtls": "strict",
    }));
    assert_eq!(options, defaults());
    assert_eq!(
        warnings,
        [
            "netting.dev/mtls is not supported by this version; ignored",
            "netting.dev/skip-outbound-port is not an option of Netting; ignored",
        ]
    );
}

#[test]
fn a_drain_that_sigkill_would_cut_off_is_refused_and_what_is_used_instead_is_said() {
    for value in ["20s", "21s", "9999999999s"] {
        let (options, warnings) = overlay(json!({"netting.dev/drain-timeout": value}));
        assert_eq!(options.drain_timeout, None);
        let said = format!(
            "netting.dev/drain-timeout: \"{value}\" is not less than \
             terminationGracePeriodSeconds (20); 18s is used"
        );
        assert_eq!(warnings, [said]);
    }
    for (value, seconds) in [("19s", 19), ("0s", 0)] {
        let (options, warnings) = overlay(json!({"netting.dev/drain-timeout": value}));
        assert_eq!(options.drain_timeout, Some(Duration::from_secs(seconds)));
        assert!(warnings.is_empty(), "{warnings:?}");
    }
}

#[test]
fn the_default_drain_is_for_pods_that_have_the_time() {
    let mut options = crate::test_options();
    for (default, chosen) in [(19, Some(19)), (20, None)] {
        options.pod_defaults.drain_timeout = Some(Duration::from_secs(default));
        let (options, warnings) = choose(&options, json!({}), json!({}));
        assert_eq!(options.drain_timeout, chosen.map(Duration::from_secs));
        assert!(warnings.is_empty(), "{warnings:?}");
    }
}

#[test]
fn whether_http_probes_are_rewritten_is_said_in_full() {
    for (value, rewrite, warned) in [("true", true, 0), ("false", false, 0), ("yes", false, 1)] {
        let (options, warnings) = overlay(json!({"netting.dev/rewrite-http-probes": value}));
        assert_eq!(options.rewrite_http_probes, rewrite, "{value}");
        assert_eq!(warnings.len(), warned, "{warnings:?}");
    }
}

#[test]
fn whether_scrape_annotations_are_added_is_said_in_full() {
    for (value, add, warned) in [("true", true, 0), ("false", false, 0), ("1", false, 1)] {
        let (options, warnings) = overlay(json!({"netting.dev/scrape-annotations": value}));
        assert_eq!(options.scrape_annotations, add, "{value}");
        assert_eq!(warnings.len(), warned, "{warnings:?}");
    }
}

#[test]
fn whether_metrics_are_merged_is_said_in_full() {
    for (value, merge, warned) in [("true", true, 0), ("false", false, 0), ("no", true, 1)] {
        let (options, warnings) = overlay(json!({"netting.dev/merge-metrics": value}));
        assert_eq!(options.merge_metrics, merge, "{value}");
        assert_eq!(warnings.len(), warned, "{warnings:?}");
    }
}

#[test]
fn a_list_is_bounded() {
    let ports: Vec<_> = (1..=100).map(|port| port.to_string()).collect();
    let (options, warnings) = overlay(json!({"netting.dev/skip-inbound-ports": ports.join(",")}));
    assert_eq!(options.skip_inbound_ports.len(), ITEMS_MAX);
    assert!(!warnings.is_empty());
}

#[test]
fn an_empty_list_takes_the_default_away() {
    let mut options = crate::test_options();
    options.pod_defaults.skip_inbound_ports = vec!["80".parse().expect("it is a port")];
    let nothing = json!({"netting.dev/skip-inbound-ports": ""});
    let (chosen, warnings) = choose(&options, json!({}), nothing);
    assert!(chosen.skip_inbound_ports.is_empty());
    assert!(warnings.is_empty());
}

#[test]
fn a_namespaces_mistakes_are_named_as_its_own() {
    let (options, warnings) = choose(
        &crate::test_options(),
        json!({
            "netting.dev/access-log": "some",
            "netting.dev/proxy-memory-limit": "much",
            "netting.dev/skip-inbound-ports": "80-70,http",
            "netting.dev/telemetrie": "x",
            "example.com/other": "x",
        }),
        json!({"netting.dev/access-log": "none"}),
    );
    assert_eq!(options.access_log, AccessLog::default());
    assert_eq!(written(&options.skip_inbound_ports), ["8080", "8081"]);
    assert_eq!(
        warnings,
        [
            r#"namespace shop: netting.dev/access-log: "some" is not off, errors or all; ignored"#,
            r#"namespace shop: netting.dev/skip-inbound-ports: "80-70" is a range that ends before it begins; ignored"#,
            "namespace shop: netting.dev/telemetrie is not an option of Netting; ignored",
            r#"namespace shop: netting.dev/proxy-memory-limit: "much" is not a quantity such as 100m or 64Mi; ignored"#,
            r#"netting.dev/access-log: "none" is not off, errors or all; ignored"#,
        ]
    );
}

#[test]
fn a_pod_goes_over_its_namespace_and_that_over_the_defaults() {
    let mut defaults = crate::test_options();
    defaults.pod_defaults.access_log = "all".parse().expect("it is one");
    let namespace = json!({
        "netting.dev/log-level": "warn",
        "netting.dev/opaque-ports": "3306",
        "netting.dev/proxy-memory-limit": "64Mi",
        "netting.dev/sidecar-mode": "classic",
    });
    let pod = json!({
        "netting.dev/opaque-ports": "5432",
        "netting.dev/proxy-memory-request": "32Mi",
        "netting.dev/sidecar-mode": "native",
    });
    let (options, warnings) = choose(&defaults, namespace, pod);
    assert_eq!(options.access_log.to_string(), "all");
    assert_eq!(options.log.to_string(), "warn");
    assert_eq!(written(&options.opaque_ports), ["5432"]);
    assert_eq!(options.memory.request().to_string(), "32Mi");
    assert_eq!(
        options.memory.limit().map(ToString::to_string).as_deref(),
        Some("64Mi")
    );
    assert_eq!(options.mode, SidecarMode::Native);
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn names_of_ports_are_looked_up_in_all_containers() {
    for list in ["skip-inbound-ports", "skip-outbound-ports", "opaque-ports"] {
        let key = format!("netting.dev/{list}");
        let (options, warnings) = overlay(json!({ &key: "late,http,22,dns,nobody,NOBODY" }));
        let ports = match list {
            "skip-inbound-ports" => options.skip_inbound_ports,
            "skip-outbound-ports" => options.skip_outbound_ports,
            _ => options.opaque_ports,
        };
        assert_eq!(written(&ports), ["7000", "8080", "8081", "22"]);
        assert_eq!(
            warnings,
            [
                format!(r#"{key}: "dns" is not the name of a TCP port of the pod; ignored"#),
                format!(r#"{key}: "nobody" is not the name of a TCP port of the pod; ignored"#),
                format!(r#"{key}: "NOBODY" is not a port; ignored"#),
            ]
        );
    }
}

#[test]
fn a_namespace_may_name_ports_that_not_all_of_its_pods_have() {
    let (options, warnings) = choose(
        &crate::test_options(),
        json!({"netting.dev/opaque-ports": "mysql,http"}),
        json!({}),
    );
    assert_eq!(written(&options.opaque_ports), ["8080", "8081"]);
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn exporters_that_are_wrong_are_told_of_and_left_to_the_sidecar_to_leave_out() {
    let list = "otlp=collector:4317;interval=x, prometheus";
    let (options, warnings) = overlay(json!({"netting.dev/telemetry": list}));
    assert_eq!(options.telemetry.to_string(), list);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[0].starts_with(
            r#"netting.dev/telemetry: "otlp=collector:4317;interval=x" has interval=x, which is no"#
        ),
        "{warnings:?}"
    );
}

#[test]
fn a_list_of_which_no_exporter_is_left_changes_nothing() {
    for (list, warned) in [("otlp=collector", 1), ("jaeger, otlp=x", 2), ("", 1)] {
        let (options, warnings) = overlay(json!({"netting.dev/telemetry": list}));
        assert!(options.telemetry.is_default(), "{list}");
        assert_eq!(warnings.len(), warned, "{list}: {warnings:?}");
        let left_out = options.telemetry.left_out().unwrap_or_default();
        assert_eq!(left_out, list, "the sidecar says why");
    }
    let (options, warnings) = overlay(json!({"netting.dev/telemetry": "none"}));
    assert_eq!(
        (options.telemetry.to_string().as_str(), warnings.len()),
        ("none", 0)
    );
}

#[test]
fn without_native_sidecars_all_are_classic_and_who_asked_is_told() {
    let mut options = crate::test_options();
    options.native_sidecars = false;
    let (chosen, warnings) = choose(&options, json!({}), json!({}));
    assert_eq!(chosen.mode, SidecarMode::Classic);
    assert!(warnings.is_empty(), "{warnings:?}");

    let native = json!({"netting.dev/sidecar-mode": "native"});
    let (chosen, warnings) = choose(&options, native.clone(), native);
    assert_eq!(chosen.mode, SidecarMode::Classic);
    assert_eq!(
        warnings,
        [
            r#"namespace shop: netting.dev/sidecar-mode: "native" needs Kubernetes 1.29 or later; ignored"#,
            r#"netting.dev/sidecar-mode: "native" needs Kubernetes 1.29 or later; ignored"#,
        ]
    );
}
