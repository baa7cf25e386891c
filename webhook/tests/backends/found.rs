//! The documented ways to have Prometheus find all there is, and nothing twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    backends::Prometheus,
    discovered::{Running, application, control_plane, injected},
    process::{directory, until},
    query,
};

/// How most configurations go by annotations: the job of Prometheus' own example,
/// `documentation/examples/prometheus-kubernetes.yml`, and parameters as its Helm chart has
/// them.
const BY_ANNOTATIONS: &str = r#"
- job_name: kubernetes-pods
  kubernetes_sd_configs: [{role: pod}]
  relabel_configs:
  - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape]
    action: keep
    regex: true
  - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scheme]
    action: replace
    regex: (https?)
    target_label: __scheme__
  - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_path]
    action: replace
    target_label: __metrics_path__
    regex: (.+)
  - action: labelmap
    regex: __meta_kubernetes_pod_annotation_prometheus_io_param_(.+)
    replacement: __param_$1
  - source_labels: [__address__, __meta_kubernetes_pod_annotation_prometheus_io_port]
    action: replace
    regex: ([^:]+)(?::\d+)?;(\d+)
    replacement: $1:$2
    target_label: __address__
  - action: labelmap
    regex: __meta_kubernetes_pod_label_(.+)
  - source_labels: [__meta_kubernetes_namespace]
    action: replace
    target_label: namespace
  - source_labels: [__meta_kubernetes_pod_name]
    action: replace
    target_label: pod
"#;

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/telemetry.md");
    fs::read_to_string(path).expect("the documentation is there")
}

/// The documented block that begins so.
fn block(begin: &str) -> String {
    let page = page();
    let (_, rest) = page
        .split_once(&format!("```yaml\n{begin}"))
        .expect("the documentation has it");
    let (rest, _) = rest.split_once("```").expect("a block ends");
    format!("{begin}{rest}")
}

fn documented() -> String {
    block("scrape_configs:\n")
}

/// The control plane, and applications scraped in every way that there is.
fn pods() -> Vec<Running> {
    let scraped = json!({"prometheus.io/scrape": "true", "prometheus.io/port": "9080"});
    let encrypted = json!({"prometheus.io/scrape": "true", "prometheus.io/port": "9080",
        "prometheus.io/scheme": "https"});
    let odd = json!({"prometheus.io/scrape": "true", "prometheus.io/port": "9080",
        "prometheus.io/path": "/$(HOME)"});
    let declined = json!({"prometheus.io/scrape": "false"});
    let added = json!({"netting.dev/scrape-annotations": "true"});
    let all_ports = json!({"prometheus.io/scrape": "true"});
    let at_a_path =
        json!({"prometheus.io/scrape": "true", "prometheus.io/path": "/actuator/prometheus"});
    let asking = json!({"prometheus.io/scrape": "true", "prometheus.io/port": "9080",
        "prometheus.io/path": "/v1/metrics", "prometheus.io/param_format": "prometheus"});
    let apart = json!({"prometheus.io/scrape": "true", "prometheus.io/port": "9080",
        "netting.dev/merge-metrics": "false"});
    let mut pods = control_plane();
    pods.extend([
        injected("plain", &json!({})),
        injected("scraped", &scraped),
        injected("encrypted", &encrypted),
        injected("odd", &odd),
        injected("declined", &declined),
        injected("added", &added),
        injected("all-ports", &all_ports),
        injected("at-a-path", &at_a_path),
        injected("asking", &asking),
        injected("apart", &apart),
        application("unmeshed", &json!({})),
        application("unmeshed-scraped", &scraped),
    ]);
    let running = pods.into_iter().zip(1..).map(|(pod, host)| Running {
        pod,
        ip: format!("192.0.2.{host}"),
    });
    running.collect()
}

/// How often each pod's admin port is scraped: once each process of the mesh.
fn once_each(pods: &[Running]) -> BTreeMap<String, usize> {
    let meshed = pods
        .iter()
        .filter(|pod| !pod.name().starts_with("unmeshed"));
    meshed.map(|pod| (pod.name().to_owned(), 1)).collect()
}

/// The configuration with discovery from a file, with the labels that the cluster's would
/// have. (Debian builds Prometheus without the latter.)
fn from_file(config: &str, pods: &[Running], directory: &Path) -> String {
    let from_cluster = "kubernetes_sd_configs: [{role: pod}]";
    assert!(config.contains(from_cluster), "{config}");
    let targets: Vec<_> = pods.iter().flat_map(Running::targets).collect();
    let file = directory.join("targets.json");
    fs::write(file, json!(targets).to_string()).expect("it can be written");
    config.replace(from_cluster, "file_sd_configs: [{files: [targets.json]}]")
}

/// The targets of a real Prometheus with this configuration, by pod.
fn scraped(config: &str, pods: &[Running]) -> BTreeMap<String, Vec<String>> {
    let directory = directory();
    let config = from_file(config, pods, directory.path());
    let prometheus = Prometheus::configured(directory, &config);
    let jobs = config.matches("job_name: ").count();
    let active = until("all jobs have discovered", || {
        let answer = query::json(prometheus.port, "/api/v1/targets", &[])?;
        let [active, dropped] = ["activeTargets", "droppedTargets"]
            .map(|kind| answer["data"][kind].as_array().cloned().unwrap_or_default());
        // A job hears of all that there is at once.
        let all = active.iter().chain(&dropped);
        let heard: BTreeSet<_> = all
            .filter_map(|target| target["discoveredLabels"]["job"].as_str())
            .map(str::to_owned)
            .collect();
        (heard.len() == jobs).then_some(active)
    });
    let mut scraped = BTreeMap::<String, Vec<String>>::new();
    for target in active {
        let text = |value: &Value| value.as_str().expect("each has it").to_owned();
        let url = text(&target["scrapeUrl"]);
        scraped
            .entry(text(&target["labels"]["pod"]))
            .or_default()
            .push(url);
    }
    scraped
}

/// How often the admin ports among them are.
fn admin_ports(scraped: &BTreeMap<String, Vec<String>>) -> BTreeMap<String, usize> {
    let count = |urls: &Vec<String>| {
        let admin = urls.iter().filter(|url| url.contains(":15020/"));
        admin.count()
    };
    let counts = scraped.iter().map(|(pod, urls)| (pod.clone(), count(urls)));
    counts.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn promtool_takes_the_documented_configuration() {
    let directory = directory();
    let file = directory.path().join("prometheus.yml");
    for config in [documented(), documented() + BY_ANNOTATIONS] {
        let config = from_file(&config, &pods(), directory.path());
        fs::write(&file, &config).expect("it can be written");
        let output = Command::new("promtool")
            .args(["check", "config"])
            .arg(&file)
            .output()
            .expect("promtool is installed by `hack/test.sh telemetry`");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}: {config}");
    }
}

#[test]
fn annotations_alone_find_the_control_plane_and_every_pod_that_has_them() {
    let pods = pods();
    let scraped = scraped(&format!("scrape_configs:{BY_ANNOTATIONS}"), &pods);
    let mut expected = once_each(&pods);
    for by_another in ["plain", "encrypted", "odd", "declined", "apart"] {
        expected.remove(by_another);
    }
    assert_eq!(admin_ports(&scraped), expected);
    for (pod, url) in [
        (
            "asking",
            "http://192.0.2.11:15020/metrics?format=prometheus",
        ),
        // Where its sidecar was told to answer.
        ("at-a-path", "http://192.0.2.10:15020/actuator/prometheus"),
        ("at-a-path", "http://192.0.2.10:9080/actuator/prometheus"),
    ] {
        assert!(scraped[pod].iter().any(|it| it == url), "{scraped:?}");
    }
}

#[test]
fn with_a_job_that_goes_by_annotations_nothing_is_missed_or_scraped_twice() {
    let pods = pods();
    let scraped = scraped(&(documented() + BY_ANNOTATIONS), &pods);
    assert_eq!(admin_ports(&scraped), once_each(&pods));
    // What is the application's own stays so.
    for (pod, url) in [
        ("encrypted", "https://192.0.2.5:9080/metrics"),
        ("odd", "http://192.0.2.6:9080/$%28HOME%29"),
        ("apart", "http://192.0.2.12:9080/metrics"),
        ("unmeshed-scraped", "http://192.0.2.14:9080/metrics"),
    ] {
        assert!(
            scraped[pod].iter().any(|it| it == url),
            "{pod}: {scraped:?}"
        );
    }
    assert!(!scraped.contains_key("unmeshed"), "{scraped:?}");
}

#[test]
fn without_such_a_job_one_rule_less_finds_all() {
    let documented = documented();
    let begin = documented
        .find("  # What another job finds")
        .expect("the rule is there");
    let (before, rest) = documented.split_at(begin);
    let (_, after) = rest
        .split_once("action: drop\n")
        .expect("the rule has an end");
    let pods = pods();
    let scraped = scraped(&format!("{before}{after}"), &pods);
    assert_eq!(admin_ports(&scraped), once_each(&pods));
}

#[test]
fn pod_monitors_find_all_once() {
    let text = block("apiVersion: monitoring.coreos.com/v1\nkind: PodMonitor\n");
    let monitors: Vec<Value> = serde_saphyr::from_multiple(&text).expect("they are YAML");
    assert_eq!(monitors.len(), 2);
    let pods = pods();
    let mut found = BTreeMap::new();
    for monitor in &monitors {
        let spec = &monitor["spec"];
        let wanted = spec["selector"]["matchLabels"]
            .as_object()
            .expect("they go by labels");
        let namespaces = &spec["namespaceSelector"];
        let port = &spec["podMetricsEndpoints"][0]["port"];
        for pod in &pods {
            let is_in = namespaces["any"] == true
                || namespaces["matchNames"] == json!([pod.pod["metadata"]["namespace"]]);
            let is_selected = wanted
                .iter()
                .all(|(key, value)| pod.labels().get(key) == Some(value));
            let has_port = |(_, it): &(Value, Option<Value>)| {
                it.as_ref().is_some_and(|it| it["name"] == *port)
            };
            if is_in && is_selected && pod.ports().iter().any(has_port) {
                *found.entry(pod.name().to_owned()).or_default() += 1;
            }
        }
    }
    assert_eq!(found, once_each(&pods));
}
