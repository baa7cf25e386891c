//! Has an existing Prometheus find the application's metrics and the sidecar's in one
//! place.
//!
//! The annotations are not Kubernetes' own, but what nearly every Prometheus in a cluster
//! is configured to look at:
//! <https://github.com/prometheus/prometheus/blob/main/documentation/examples/prometheus-kubernetes.yml>

use serde_json::{Value, json};

use super::draft::Draft;
use crate::{names, options::PodOptions, pod::Pod, status::Status, warnings::Warnings};

/// Whether a pod is scraped: `"true"`.
pub(crate) const SCRAPE: &str = "prometheus.io/scrape";
/// At which port.
pub(crate) const PORT: &str = "prometheus.io/port";
/// At which path; `/metrics` if it is not said.
pub(crate) const PATH: &str = "prometheus.io/path";
const SCHEME: &str = "prometheus.io/scheme";
/// What the sidecar serves, and what is asked for unless a pod says otherwise.
const METRICS: &str = "/metrics";
/// No path or port is longer. One that is is none of Prometheus', and is left alone,
/// since the pod's status keeps what is replaced.
const REPLACED_BYTES_MAX: usize = 1024;

/// Where a pod is scraped.
enum Scraped {
    /// At one port, and a path: `9080/metrics`.
    At(String),
    /// At each port that a container declares, the sidecar's too, at this path.
    AtEachPort(String),
}

/// Has whoever scrapes a pod find the sidecar's metrics. Where it can, it points the pod's
/// annotations at the sidecar, which then serves the application's metrics with its own.
/// Returns the variable that tells the sidecar where it is asked, or whom to ask.
pub(super) fn redirect(
    draft: &mut Draft,
    pod: &Pod<'_>,
    chosen: &PodOptions,
    status: &mut Status,
    warnings: &mut Warnings,
) -> Option<Value> {
    if !chosen.telemetry.is_scraped() {
        return None;
    }
    if pod.annotation(SCRAPE).is_none() && chosen.scrape_annotations {
        for (key, value) in [(SCRAPE, "true"), (PORT, &names::ADMIN_PORT.to_string())] {
            draft.set(&["metadata", "annotations", key], json!(value));
            status.annotations.push(key.to_owned());
        }
        return None;
    }
    match scraped(pod, warnings)? {
        Scraped::At(_) if !chosen.merge_metrics => None,
        Scraped::At(application) => {
            let port = names::ADMIN_PORT.to_string();
            draft.set(&["metadata", "annotations", PORT], json!(port));
            if pod.annotation(PATH).is_some() {
                draft.set(&["metadata", "annotations", PATH], json!(METRICS));
            }
            Some(json!({"name": "NETTING_APPLICATION_METRICS", "value": application}))
        }
        Scraped::AtEachPort(path) => Some(json!({"name": "NETTING_METRICS_PATH", "value": path})),
    }
}

/// Nothing, if the pod does not say that it is scraped, or in a way that is better left
/// alone.
fn scraped(pod: &Pod<'_>, warnings: &mut Warnings) -> Option<Scraped> {
    pod.annotation(SCRAPE).filter(|scrape| *scrape == "true")?;
    let port = match pod.annotation(PORT) {
        None => None,
        Some(port) => Some(port.parse::<u16>().ok().filter(|port| *port != 0)?),
    };
    if port == Some(names::ADMIN_PORT) {
        return None;
    }
    if pod
        .annotation(SCHEME)
        .is_some_and(|scheme| scheme != "http")
    {
        warnings.push(format!(
            "netting: {SCHEME} is not http: the sidecar's own metrics are at port {}",
            names::ADMIN_PORT
        ));
        return None;
    }
    let path = pod.annotation(PATH).unwrap_or(METRICS);
    // The kubelet would expand `$(…)`.
    let is_path = path
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'$');
    // What is replaced must come back with the sidecar's removal.
    let replaced = [PORT, PATH].map(|key| pod.annotation(key).unwrap_or_default());
    let is_kept = replaced
        .iter()
        .all(|value| value.len() <= REPLACED_BYTES_MAX);
    if !is_path || !is_kept {
        return None;
    }
    let path = path.trim_start_matches('/');
    match port {
        Some(port) => Some(Scraped::At(format!("{port}/{path}"))),
        None => Some(format!("/{path}"))
            .filter(|path| path != METRICS)
            .map(Scraped::AtEachPort),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Redirected {
        patch: Value,
        told: Option<Value>,
        status: Status,
        warnings: Vec<String>,
    }

    fn redirected(annotations: &Value, choose: impl FnOnce(&mut PodOptions)) -> Redirected {
        let pod = json!({"metadata": {"annotations": annotations},
            "spec": {"containers": [{"name": "app"}]}});
        let pod = Pod::read(&pod).expect("it is a pod");
        let mut chosen = crate::test_options().pod_defaults;
        choose(&mut chosen);
        let mut status = Status::new(chosen.mode);
        let (mut draft, mut warnings) = (Draft::of(pod.raw()), Warnings::default());
        let told = redirect(&mut draft, &pod, &chosen, &mut status, &mut warnings);
        status.before = draft.before().clone();
        Redirected {
            patch: json!(draft.into_patch()),
            told: told.map(|mut variable| variable["value"].take()),
            status,
            warnings: warnings.into_lines(),
        }
    }

    #[test]
    fn leaves_alone_what_is_not_scraped_or_not_by_these_rules() {
        let scraped = |more: &[(&str, &str)]| {
            let mut annotations = json!({SCRAPE: "true", PORT: "9080"});
            for (key, value) in more {
                annotations[*key] = json!(value);
            }
            annotations
        };
        for annotations in [
            json!({}),
            json!({PORT: "9080"}),
            json!({SCRAPE: "true"}),
            scraped(&[(SCRAPE, "false")]),
            scraped(&[(PORT, "http")]),
            scraped(&[(PORT, "0")]),
            scraped(&[(PORT, "15020")]),
            scraped(&[(PATH, "/a b")]),
            scraped(&[(PATH, "/$(HOME)")]),
            scraped(&[(PATH, &"/a".repeat(550))]),
            scraped(&[(PORT, &format!("{:0>1100}", 9080))]),
        ] {
            let redirected = redirected(&annotations, |_| {});
            assert_eq!(redirected.patch, json!([]), "{annotations}");
            assert_eq!(redirected.told, None, "{annotations}");
            assert!(redirected.warnings.is_empty(), "{annotations}");
        }
        let apart = redirected(&scraped(&[]), |chosen| chosen.merge_metrics = false);
        assert_eq!((apart.patch, apart.told), (json!([]), None));
        assert_eq!(apart.warnings, Vec::<String>::new());
        let encrypted = redirected(&scraped(&[(SCHEME, "https")]), |_| {});
        assert_eq!((encrypted.patch, encrypted.told), (json!([]), None));
        let warning = "netting: prometheus.io/scheme is not http: \
             the sidecar's own metrics are at port 15020";
        assert_eq!(encrypted.warnings, [warning]);
        let without = redirected(&scraped(&[]), |chosen| {
            let otlp = "otlp=http://collector:4317".parse();
            chosen.telemetry = otlp.expect("an exporter");
        });
        assert_eq!(without.patch, json!([]), "there is nothing to be scraped");
    }

    #[test]
    fn points_at_the_sidecar_and_tells_it_where_the_application_is() {
        let annotations = json!({SCRAPE: "true", PORT: "9080", PATH: "/stats?format=prometheus"});
        let redirected = redirected(&annotations, |_| {});
        let expected = json!([
            {"op": "replace", "path": "/metadata/annotations/prometheus.io~1port", "value": "15020"},
            {"op": "replace", "path": "/metadata/annotations/prometheus.io~1path", "value": "/metrics"},
        ]);
        assert_eq!(redirected.patch, expected);
        assert_eq!(redirected.told, Some(json!("9080/stats?format=prometheus")));
        let before = json!({"/metadata/annotations/prometheus.io~1port": "9080",
            "/metadata/annotations/prometheus.io~1path": "/stats?format=prometheus"});
        assert_eq!(json!(redirected.status.before), before);
        assert!(redirected.status.annotations.is_empty());
    }

    #[test]
    fn tells_the_sidecar_the_path_where_each_port_is_scraped() {
        for (path, told) in [
            ("/metrics", None),
            ("/actuator/prometheus", Some("/actuator/prometheus")),
            ("stats", Some("/stats")),
            ("/$(HOME)", None),
        ] {
            for merge in [true, false] {
                let annotations = json!({SCRAPE: "true", PATH: path});
                let redirected = redirected(&annotations, |chosen| chosen.merge_metrics = merge);
                assert_eq!(redirected.patch, json!([]), "{path}");
                assert_eq!(redirected.told, told.map(|told| json!(told)), "{path}");
            }
        }
    }

    #[test]
    fn adds_annotations_only_where_that_is_wanted() {
        let add = |chosen: &mut PodOptions| chosen.scrape_annotations = true;
        let added = redirected(&json!({"a": "b"}), add);
        assert_eq!(
            added.patch.as_array().map(Vec::len),
            Some(2),
            "{}",
            added.patch
        );
        assert_eq!(
            (added.told, added.status.annotations),
            (None, vec![SCRAPE.to_owned(), PORT.to_owned()])
        );
        let declined = redirected(&json!({SCRAPE: "false"}), add);
        assert_eq!(declined.patch, json!([]));
    }
}
