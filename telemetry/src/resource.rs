//! What a process is, in the words of OpenTelemetry
//! (<https://opentelemetry.io/docs/specs/semconv/resource/k8s/>,
//! <https://opentelemetry.io/docs/specs/semconv/non-normative/k8s-attributes/>).

use std::{collections::BTreeMap, sync::Arc};

use crate::snapshot::{Label, Labels};

/// The label whose value a ReplicaSet has behind the name of its Deployment.
/// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#pod-template-hash-label>
pub const TEMPLATE_HASH: &str = "pod-template-hash";

/// A pod, as a container in it knows it. What is not known is empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pod<'p> {
    /// Its name.
    pub name: &'p str,
    /// Its namespace.
    pub namespace: &'p str,
    /// The node that it runs on.
    pub node: &'p str,
    /// Kind of what made it, such as `Deployment`.
    pub workload_kind: &'p str,
    /// Name of what made it.
    pub workload: &'p str,
}

/// Kind and name of what people would say that a pod belongs to: its controller, or the
/// Deployment behind that if it is a ReplicaSet of one, or the CronJob behind a Job. `hash`
/// is the pod's label [`TEMPLATE_HASH`].
#[must_use]
pub fn workload<'c>(kind: &'c str, name: &'c str, hash: Option<&str>) -> (&'c str, &'c str) {
    let behind = match kind {
        "ReplicaSet" => hash
            .and_then(|hash| name.strip_suffix(hash)?.strip_suffix('-'))
            .map(|name| ("Deployment", name)),
        "Job" => cron_job(name).map(|name| ("CronJob", name)),
        _ => None,
    };
    behind.unwrap_or((kind, name))
}

/// The CronJob that a Job of this name is of: such a name ends with the minutes from 1970 to
/// when it was due. (A pod says only which Job it is of. Who names Jobs after the day, as in
/// `import-20261122`, has smaller numbers.)
/// <https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#cronjob-limitations>
fn cron_job(job: &str) -> Option<&str> {
    /// In July 2017: there were no CronJobs that name so before.
    const MINUTES_MIN: u32 = 25_000_000;
    const DIGITS: usize = 8;
    let (name, minutes) = job.rsplit_once('-')?;
    let is_number = minutes.len() == DIGITS && minutes.bytes().all(|byte| byte.is_ascii_digit());
    let minutes: u32 = minutes.parse().ok().filter(|_| is_number)?;
    (minutes >= MINUTES_MIN && !name.is_empty()).then_some(name)
}

/// What a container of a pod is. Its service is named after its workload, as if the
/// application said it, whose traffic this is.
#[must_use]
pub fn of_container(pod: Pod<'_>, container: &str, version: &str) -> Labels {
    let name = [pod.workload, pod.name, container];
    let name = name.into_iter().find(|name| !name.is_empty());
    let instance = match (pod.namespace, pod.name) {
        ("", _) | (_, "") => String::new(),
        (namespace, name) => format!("{namespace}.{name}.{container}"),
    };
    let mut all = vec![
        ("k8s.container.name", container),
        ("k8s.namespace.name", pod.namespace),
        ("k8s.node.name", pod.node),
        ("k8s.pod.name", pod.name),
        ("netting.version", version),
        ("service.instance.id", &instance),
        ("service.name", name.unwrap_or_default()),
        ("service.namespace", pod.namespace),
    ];
    all.extend(workload_key(pod.workload_kind).map(|key| (key, pod.workload)));
    all.retain(|(_, value)| !value.is_empty());
    crate::labels::labels(&all)
}

/// The same with what else is said of it, which goes over what is known.
#[must_use]
pub fn with(resource: &Labels, more: &[(String, String)]) -> Labels {
    let mut all: BTreeMap<&'static str, Arc<str>> = resource
        .iter()
        .map(|label| (label.key, Arc::clone(&label.value)))
        .collect();
    for (key, value) in more {
        let known = all.keys().copied().find(|known| *known == key.as_str());
        // A process has one resource, as long as it runs.
        let key = known.unwrap_or_else(|| String::leak(key.clone()));
        all.insert(key, Arc::from(value.as_str()));
    }
    let labels = all.into_iter().map(|(key, value)| Label { key, value });
    labels.collect()
}

fn workload_key(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "Deployment" => "k8s.deployment.name",
        "ReplicaSet" => "k8s.replicaset.name",
        "StatefulSet" => "k8s.statefulset.name",
        "DaemonSet" => "k8s.daemonset.name",
        "Job" => "k8s.job.name",
        "CronJob" => "k8s.cronjob.name",
        "ReplicationController" => "k8s.replicationcontroller.name",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(resource: &Labels) -> Vec<String> {
        let written = |label: &Label| format!("{}={}", label.key, label.value);
        resource.iter().map(written).collect()
    }

    const POD: Pod<'_> = Pod {
        name: "reviews-v1-5d8-x7k",
        namespace: "shop",
        node: "n1",
        workload_kind: "Deployment",
        workload: "reviews-v1",
    };

    #[test]
    fn a_replica_set_is_its_deployments() {
        let hash = Some("5d8f");
        for (kind, name, hash, expected) in [
            ("ReplicaSet", "web-5d8f", hash, ("Deployment", "web")),
            ("ReplicaSet", "web-5d8f", None, ("ReplicaSet", "web-5d8f")),
            ("ReplicaSet", "web-77", hash, ("ReplicaSet", "web-77")),
            ("ReplicaSet", "web5d8f", hash, ("ReplicaSet", "web5d8f")),
            ("StatefulSet", "db-5d8f", hash, ("StatefulSet", "db-5d8f")),
        ] {
            assert_eq!(workload(kind, name, hash), expected);
        }
    }

    #[test]
    fn a_job_that_is_named_by_the_minute_is_its_cron_jobs() {
        for (kind, name, expected) in [
            ("Job", "nightly-29921837", ("CronJob", "nightly")),
            ("Job", "a-b-29921837", ("CronJob", "a-b")),
            // By hand, or after the day.
            ("Job", "once", ("Job", "once")),
            ("Job", "import-20261122", ("Job", "import-20261122")),
            ("Job", "import-2992183", ("Job", "import-2992183")),
            ("Job", "import-+9921837", ("Job", "import-+9921837")),
            ("Job", "-29921837", ("Job", "-29921837")),
            ("StatefulSet", "db-29921837", ("StatefulSet", "db-29921837")),
        ] {
            assert_eq!(workload(kind, name, None), expected);
        }
    }

    #[test]
    fn a_sidecar_speaks_for_its_workload() {
        let expected = [
            "k8s.container.name=netting-sidecar",
            "k8s.deployment.name=reviews-v1",
            "k8s.namespace.name=shop",
            "k8s.node.name=n1",
            "k8s.pod.name=reviews-v1-5d8-x7k",
            "netting.version=1.2.3",
            "service.instance.id=shop.reviews-v1-5d8-x7k.netting-sidecar",
            "service.name=reviews-v1",
            "service.namespace=shop",
        ];
        assert_eq!(
            written(&of_container(POD, "netting-sidecar", "1.2.3")),
            expected
        );
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let nothing = of_container(Pod::default(), "netting-sidecar", "1.2.3");
        let expected = [
            "k8s.container.name=netting-sidecar",
            "netting.version=1.2.3",
            "service.name=netting-sidecar",
        ];
        assert_eq!(written(&nothing), expected);
        let of_a_kind_of_its_own = Pod {
            workload_kind: "Rollout",
            ..POD
        };
        let resource = of_container(of_a_kind_of_its_own, "netting-sidecar", "1.2.3");
        assert!(
            !written(&resource)
                .iter()
                .any(|label| label.contains("rollout"))
        );
    }

    #[test]
    fn what_the_environment_says_goes_over_what_is_known() {
        let pairs = [("service.name", "shop-front"), ("team", "blue")];
        let more = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let resource = with(&of_container(POD, "c", "1"), &more);
        let resource = written(&resource);
        assert!(resource.contains(&"service.name=shop-front".to_owned()));
        assert!(resource.contains(&"team=blue".to_owned()));
        assert!(resource.is_sorted());
    }
}
