//! Annotations in, options and warnings out.

use serde_json::{Value, json};

use super::*;

fn defaults() -> PodOptions {
    let quantity = |text: &str| text.parse::<Quantity>().expect("it is a quantity");
    let budget = |text| Budget::new(quantity(text), None).expect("no limit");
    PodOptions {
        skip_inbound_ports: Vec::new(),
        skip_outbound_ports: Vec::new(),
        skip_inbound_cidrs: Vec::new(),
        skip_outbound_cidrs: Vec::new(),
        cpu: budget("10m"),
        memory: budget("16Mi"),
        log: "info".parse().expect("it is a filter"),
        mode: SidecarMode::Native,
        drain_timeout: None,
    }
}

fn overlay(annotations: Value) -> (PodOptions, Vec<String>) {
    let raw = json!({
        "metadata": {"annotations": annotations},
        "spec": {"containers": [{"name": "app"}], "terminationGracePeriodSeconds": 20},
    });
    let pod = Pod::read(&raw).expect("it is a pod");
    let mut warnings = Warnings::default();
    let options = defaults().overlay(&pod, &mut warnings);
    (options, warnings.into_lines())
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
            r#"netting.dev/skip-outbound-ports: "abc" is not a port; ignored"#,
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
fn a_drain_longer_than_the_grace_period_is_refused() {
    let (options, warnings) = overlay(json!({"netting.dev/drain-timeout": "21s"}));
    assert_eq!(options.drain_timeout, None);
    assert_eq!(
        warnings,
        [r#"netting.dev/drain-timeout: "21s" is over terminationGracePeriodSeconds (20); ignored"#]
    );
    let (options, warnings) = overlay(json!({"netting.dev/drain-timeout": "20s"}));
    assert_eq!(options.drain_timeout, Some(Duration::from_secs(20)));
    assert!(warnings.is_empty());
}

#[test]
fn a_list_is_bounded() {
    let ports: Vec<_> = (1..=100).map(|port| port.to_string()).collect();
    let (options, warnings) = overlay(json!({"netting.dev/skip-inbound-ports": ports.join(",")}));
    assert_eq!(options.skip_inbound_ports.len(), LIST_ITEMS_MAX);
    assert!(!warnings.is_empty());
}

#[test]
fn an_empty_list_takes_the_default_away() {
    let mut options = defaults();
    options.skip_inbound_ports = vec!["80".parse().expect("it is a port")];
    let raw = json!({
        "metadata": {"annotations": {"netting.dev/skip-inbound-ports": ""}},
        "spec": {"containers": [{"name": "app"}]},
    });
    let pod = Pod::read(&raw).expect("it is a pod");
    let mut warnings = Warnings::default();
    let overlaid = options.overlay(&pod, &mut warnings);
    assert!(overlaid.skip_inbound_ports.is_empty());
    assert!(warnings.into_lines().is_empty());
}
