//! A pod as it came: raw JSON, of which only what the decision needs is read.
//!
//! Nothing here is written back. Fields that this build doesn't know are never
//! touched, which typed structs that are serialised again cannot promise.

use std::path::Path;

use serde_json::{Map, Value};

type Object = Map<String, Value>;

/// Why something that was sent as a pod can't be read as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} is not {expected}")]
pub struct NotAPod {
    /// Where in the object, dotted.
    pub path: &'static str,
    /// What a pod has there.
    pub expected: &'static str,
}

/// A view of a pod whose outline is sound: everything that a patch would add to
/// is either absent or of the right kind.
#[derive(Clone, Debug)]
pub struct Pod<'a> {
    raw: &'a Value,
    labels: Option<&'a Object>,
    annotations: Option<&'a Object>,
    spec: &'a Object,
    containers: Vec<Container<'a>>,
    init_containers: Vec<Container<'a>>,
    volumes: &'a [Value],
    template_of: Option<Named<'a>>,
}

/// An object by its kind and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Named<'a> {
    pub(crate) kind: &'a str,
    pub(crate) name: &'a str,
}

impl<'a> Pod<'a> {
    /// Reads the outline. `null` counts as absent, as it does for the API server.
    ///
    /// # Errors
    /// If a part that a patch would build on has another kind than a pod's, or
    /// there are no containers. The API server would refuse such a pod itself.
    pub fn read(raw: &'a Value) -> Result<Self, NotAPod> {
        let pod = object(Some(raw), "the object")?.ok_or(NotAPod {
            path: "the object",
            expected: "present",
        })?;
        let metadata = object(pod.get("metadata"), "metadata")?;
        let member = |key| metadata.and_then(|metadata| metadata.get(key));
        let spec = object(pod.get("spec"), "spec")?.ok_or(NotAPod {
            path: "spec",
            expected: "present",
        })?;
        let containers = containers(spec.get("containers"), "spec.containers")?;
        if containers.is_empty() {
            return Err(NotAPod {
                path: "spec.containers",
                expected: "a list with a container",
            });
        }
        Ok(Self {
            raw,
            labels: object(member("labels"), "metadata.labels")?,
            annotations: object(member("annotations"), "metadata.annotations")?,
            spec,
            containers,
            init_containers: self::containers(spec.get("initContainers"), "spec.initContainers")?,
            volumes: volumes(spec.get("volumes"))?,
            template_of: None,
        })
    }

    /// The same, as the template in an object, which will be the controller of its pods.
    pub(crate) fn of_template_in(self, object: Option<Named<'a>>) -> Self {
        Self {
            template_of: object,
            ..self
        }
    }

    /// The object that this is the template in.
    pub(crate) fn template_of(&self) -> Option<Named<'a>> {
        self.template_of
    }

    /// The whole pod, as it came.
    #[must_use]
    pub fn raw(&self) -> &'a Value {
        self.raw
    }

    /// The value of a label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&'a str> {
        self.labels?.get(key)?.as_str()
    }

    /// The value of an annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&'a str> {
        self.annotations?.get(key)?.as_str()
    }

    /// All annotations in the order of their keys. What is no string is left out.
    pub fn annotations(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.annotations
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
    }

    /// A field of the spec.
    #[must_use]
    pub fn spec(&self, field: &str) -> Option<&'a Value> {
        self.spec.get(field)
    }

    /// The regular containers, at least one.
    #[must_use]
    pub fn containers(&self) -> &[Container<'a>] {
        &self.containers
    }

    /// The init containers, native sidecars among them.
    #[must_use]
    pub fn init_containers(&self) -> &[Container<'a>] {
        &self.init_containers
    }

    /// The volumes, as they came.
    #[must_use]
    pub fn volumes(&self) -> &'a [Value] {
        self.volumes
    }

    /// Init containers, then regular ones.
    pub fn all_containers(&self) -> impl Iterator<Item = Container<'a>> + '_ {
        self.init_containers.iter().chain(&self.containers).copied()
    }

    /// How some container has this path: the mount that is nearest to it, of those that
    /// will do.
    #[must_use]
    pub fn mount_of(&self, path: &Path, will_do: impl Fn(&Value) -> bool) -> Option<&'a Value> {
        let mounts = self.all_containers().filter_map(|container| {
            let mounts = container.get("volumeMounts")?;
            mounts.as_array()
        });
        let depth = |mount: &Value| {
            let at = Path::new(mount.get("mountPath")?.as_str()?);
            // What is made of a container's variables is its own.
            let is_shared = mount.get("subPathExpr").is_none_or(Value::is_null);
            (is_shared && path.starts_with(at)).then(|| at.components().count())
        };
        let of_path = mounts
            .flatten()
            .filter(|mount| will_do(mount))
            .filter_map(|mount| Some((depth(mount)?, mount)));
        let nearest = of_path.max_by_key(|(depth, _)| *depth)?;
        Some(nearest.1)
    }

    /// The uid that a container will run as, if the pod says so: its own, or
    /// else the pod's. (Otherwise the image decides, which nobody knows here.)
    #[must_use]
    pub fn run_as_user(&self, container: Container<'a>) -> Option<i64> {
        let user = |security: Option<&Value>| security?.get("runAsUser")?.as_i64();
        user(container.get("securityContext")).or_else(|| user(self.spec("securityContext")))
    }

    /// Whether the pod asks the cluster's DNS, as is the default.
    /// <https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#pod-s-dns-policy>
    #[must_use]
    pub fn uses_cluster_dns(&self) -> bool {
        let policy = self.spec("dnsPolicy").and_then(Value::as_str);
        !matches!(policy, Some("Default" | "None"))
    }

    /// How long the kubelet waits between SIGTERM and SIGKILL, in seconds.
    #[must_use]
    pub fn termination_grace_seconds(&self) -> u64 {
        const DEFAULT: u64 = 30;
        self.spec("terminationGracePeriodSeconds")
            .and_then(Value::as_i64)
            // The API server makes 1 of what is negative.
            .map_or(DEFAULT, |seconds| seconds.try_into().unwrap_or(1))
    }
}

/// A view of a container.
#[derive(Clone, Copy, Debug)]
pub struct Container<'a>(&'a Object);

impl<'a> Container<'a> {
    /// Its name, unique in the pod; empty if the pod is not a valid one.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.get("name").and_then(Value::as_str).unwrap_or_default()
    }

    /// A field as it came.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&'a Value> {
        self.0.get(field)
    }

    /// Whether it is an init container that keeps running.
    #[must_use]
    pub fn is_native_sidecar(&self) -> bool {
        self.get("restartPolicy").and_then(Value::as_str) == Some("Always")
    }

    /// The TCP ports that it declares. (Declaring is voluntary in Kubernetes.)
    pub fn tcp_ports(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.declared_tcp_ports().map(|(_, port)| port)
    }

    /// The TCP ports that it declares by this name. (No more than one, if the pod
    /// is valid.)
    pub fn tcp_ports_named<'n>(&self, name: &'n str) -> impl Iterator<Item = u16> + use<'a, 'n> {
        let ports = self.declared_tcp_ports();
        ports.filter_map(move |(own, port)| (own == Some(name)).then_some(port))
    }

    fn declared_tcp_ports(&self) -> impl Iterator<Item = (Option<&'a str>, u16)> + use<'a> {
        let text = |port: &'a Value, field| port.get(field).and_then(Value::as_str);
        self.get("ports")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter(move |port| matches!(text(port, "protocol"), None | Some("TCP")))
            .filter_map(move |port| {
                let number = port.get("containerPort")?.as_u64()?.try_into().ok()?;
                Some((text(port, "name"), number))
            })
    }
}

fn object<'a>(value: Option<&'a Value>, path: &'static str) -> Result<Option<&'a Object>, NotAPod> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(NotAPod {
            path,
            expected: "an object",
        }),
    }
}

fn containers<'a>(
    value: Option<&'a Value>,
    path: &'static str,
) -> Result<Vec<Container<'a>>, NotAPod> {
    let wrong = NotAPod {
        path,
        expected: "a list of containers",
    };
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_object().map(Container).ok_or(wrong))
            .collect(),
        Some(_) => Err(wrong),
    }
}

fn volumes(value: Option<&Value>) -> Result<&[Value], NotAPod> {
    match value {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(NotAPod {
            path: "spec.volumes",
            expected: "a list",
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn refuses_what_is_no_pod_and_says_where() {
        for (raw, expected) in [
            (json!(7), "the object is not an object"),
            (json!(null), "the object is not present"),
            (json!({}), "spec is not present"),
            (json!({"spec": []}), "spec is not an object"),
            (
                json!({"spec": {}}),
                "spec.containers is not a list with a container",
            ),
            (
                json!({"spec": {"containers": {}}}),
                "spec.containers is not a list of containers",
            ),
            (
                json!({"spec": {"containers": ["app"]}}),
                "spec.containers is not a list of containers",
            ),
            (
                json!({"spec": {"containers": [{}], "initContainers": 1}}),
                "spec.initContainers is not a list of containers",
            ),
            (
                json!({"spec": {"containers": [{}], "volumes": {}}}),
                "spec.volumes is not a list",
            ),
            (
                json!({"metadata": {"labels": []}, "spec": {"containers": [{}]}}),
                "metadata.labels is not an object",
            ),
            (
                json!({"metadata": {"annotations": "a=b"}, "spec": {"containers": [{}]}}),
                "metadata.annotations is not an object",
            ),
        ] {
            let refused = Pod::read(&raw).expect_err("no pod has that shape");
            assert_eq!(refused.to_string(), expected);
        }
    }

    #[test]
    fn null_counts_as_absent() {
        let raw = json!({
            "metadata": {"labels": null, "annotations": null},
            "spec": {"initContainers": null, "containers": [{"name": "app", "ports": null}]},
        });
        let pod = Pod::read(&raw).expect("nothing is missing");
        assert!(pod.init_containers().is_empty());
        assert_eq!(pod.annotations().count(), 0);
        assert_eq!(pod.termination_grace_seconds(), 30);
    }

    #[test]
    fn a_containers_own_uid_goes_before_the_pods() {
        let raw = json!({"spec": {
            "securityContext": {"runAsUser": 1000},
            "containers": [{"securityContext": {"runAsUser": 0}}, {"securityContext": {}}, {}],
        }});
        let pod = Pod::read(&raw).expect("nothing is missing");
        let users: Vec<_> = pod.all_containers().map(|c| pod.run_as_user(c)).collect();
        assert_eq!(users, [Some(0), Some(1000), Some(1000)]);
    }

    #[test]
    fn a_negative_grace_period_is_one_second() {
        for (seconds, expected) in [(json!(-5), 1), (json!(0), 0), (json!(9), 9)] {
            let raw = json!({"spec":
                {"containers": [{}], "terminationGracePeriodSeconds": seconds}});
            let pod = Pod::read(&raw).expect("nothing is missing");
            assert_eq!(pod.termination_grace_seconds(), expected);
        }
    }

    #[test]
    fn only_tcp_ports_count() {
        let raw = json!({"spec": {"containers": [{"ports": [
            {"containerPort": 53, "protocol": "UDP"},
            {"containerPort": 54, "protocol": "TCP"},
            {"containerPort": 55},
            {"containerPort": 70000},
            {"containerPort": "80"},
        ]}]}});
        let pod = Pod::read(&raw).expect("nothing is missing");
        let ports: Vec<_> = pod.containers()[0].tcp_ports().collect();
        assert_eq!(ports, [54, 55]);
    }
}
