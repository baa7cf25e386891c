//! Applications to deploy, each the one test binary in one of its modes.

use std::collections::BTreeMap;

use anyhow::Context as _;
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        batch::v1::{CronJob, Job},
        core::v1::{Namespace as KubeNamespace, Pod, Service},
    },
    jiff::{SignedDuration, Timestamp},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::wait::{Condition, await_condition},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    cluster::Cluster,
    observe::{self, PATIENCE, eventually},
};

/// The label that turns injection on.
pub const INJECT: &str = "netting.dev/inject";
/// How the names of the tests' namespaces begin.
pub const NAME_PREFIX: &str = "netting-e2e-";
/// Where the applications listen.
pub const PORT: u16 = 8080;
/// Where a load generator tells its counts.
pub const STATS_PORT: u16 = 9090;

/// A namespace for one test.
pub struct Namespace {
    client: Client,
    name: String,
    test_image: String,
}

/// An application to deploy.
#[derive(Clone, Debug)]
pub struct App {
    name: String,
    args: Vec<String>,
    replicas: u32,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    pod_spec: Value,
    container: Value,
    readiness: Value,
    liveness: Value,
}

impl App {
    /// One replica of the test application, with these arguments. It is ready once
    /// it accepts connections over HTTP.
    #[must_use]
    pub fn new(name: &str, args: &str) -> Self {
        Self {
            name: name.to_owned(),
            args: args.split_whitespace().map(ToOwned::to_owned).collect(),
            replicas: 1,
            labels: BTreeMap::from([("app".to_owned(), name.to_owned())]),
            annotations: BTreeMap::new(),
            pod_spec: json!({}),
            container: json!({}),
            readiness: Value::Null,
            liveness: Value::Null,
        }
    }

    /// An HTTP echo server, which keeps serving for a while when it is told to end.
    #[must_use]
    pub fn echo(name: &str) -> Self {
        let probe = json!({"httpGet": {"path": "/healthz", "port": PORT}, "periodSeconds": 1});
        Self {
            readiness: probe,
            ..Self::new(name, &format!("http --port {PORT} --on-sigterm linger=2s"))
        }
    }

    /// A load generator that goes on until it is told to end.
    #[must_use]
    pub fn load(name: &str, url: &str, rate: u32) -> Self {
        let load = format!(
            "load --url {url} --rate {rate} --duration 0 --timeout 20s \
             --new-connection-per-request --retry-connect --stats-port {STATS_PORT}"
        );
        Self::new(name, &load)
    }

    /// So many of them.
    #[must_use]
    pub fn replicas(self, replicas: u32) -> Self {
        Self { replicas, ..self }
    }

    /// With a label on its pods.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// With an annotation on its pods.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// With more fields in the pods' spec.
    #[must_use]
    pub fn pod_spec(self, pod_spec: Value) -> Self {
        Self { pod_spec, ..self }
    }

    /// With more fields in its container.
    #[must_use]
    pub fn container(self, container: Value) -> Self {
        Self { container, ..self }
    }

    /// Ready by this probe.
    #[must_use]
    pub fn readiness(self, readiness: Value) -> Self {
        Self { readiness, ..self }
    }

    /// Restarted by this probe.
    #[must_use]
    pub fn liveness(self, liveness: Value) -> Self {
        Self { liveness, ..self }
    }

    fn template(&self, image: &str) -> Value {
        let mut command = vec!["/netting/netting-test-app".to_owned()];
        command.extend(self.args.iter().cloned());
        let pod_name = json!({"fieldRef": {"fieldPath": "metadata.name"}});
        let mut container = json!({
            "name": "app",
            "image": image,
            "command": command,
            "env": [{"name": "POD_NAME", "valueFrom": pod_name}],
        });
        for (field, value) in self.container.as_object().into_iter().flatten() {
            container[field] = value.clone();
        }
        for (field, probe) in [
            ("readinessProbe", &self.readiness),
            ("livenessProbe", &self.liveness),
        ] {
            if !probe.is_null() {
                container[field] = probe.clone();
            }
        }
        let mut spec = json!({"containers": [container], "terminationGracePeriodSeconds": 20});
        for (field, value) in self.pod_spec.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        json!({"metadata": {"labels": self.labels, "annotations": self.annotations}, "spec": spec})
    }
}

impl Namespace {
    /// A new namespace with a name of its own, in which pods are injected if `meshed`.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn create(cluster: &Cluster, meshed: bool) -> anyhow::Result<Self> {
        let labels = if meshed {
            json!({INJECT: "enabled"})
        } else {
            json!({})
        };
        let namespace: KubeNamespace = parse(json!({
            "metadata": {"generateName": NAME_PREFIX, "labels": labels},
        }))?;
        let namespaces: Api<KubeNamespace> = Api::all(cluster.client());
        let created = namespaces
            .create(&PostParams::default(), &namespace)
            .await?;
        let namespace = Self {
            client: cluster.client(),
            name: created.name_any(),
            test_image: cluster.test_image().to_owned(),
        };
        namespace.until_usable().await?;
        Ok(namespace)
    }

    /// Pods are refused until the namespace's default ServiceAccount is there.
    async fn until_usable(&self) -> anyhow::Result<()> {
        let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = self.api();
        eventually("the namespace has a service account", async || {
            Ok(accounts.get_opt("default").await?.is_some())
        })
        .await
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The API of one kind of its objects.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Turns injection on or off for pods to come.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn set_meshed(&self, meshed: bool) -> anyhow::Result<()> {
        let value = if meshed {
            json!("enabled")
        } else {
            Value::Null
        };
        let patch = Patch::Merge(json!({"metadata": {"labels": {INJECT: value}}}));
        let namespaces: Api<KubeNamespace> = Api::all(self.client.clone());
        namespaces
            .patch(&self.name, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    /// Deploys an application and waits until all of it is available.
    ///
    /// # Errors
    /// If it is refused or does not become available.
    pub async fn deploy(&self, app: &App) -> anyhow::Result<Vec<Pod>> {
        let deployment: Deployment = parse(json!({
            "metadata": {"name": app.name},
            "spec": {
                "replicas": app.replicas,
                "selector": {"matchLabels": {"app": app.name}},
                "template": app.template(&self.test_image),
            },
        }))?;
        self.api()
            .create(&PostParams::default(), &deployment)
            .await?;
        observe::until_available(&self.client, &self.name, &app.name).await?;
        self.pods(&app.name).await
    }

    /// Creates one pod of an application, and returns it as it was admitted.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn pod(&self, app: &App) -> anyhow::Result<Pod> {
        let mut pod = app.template(&self.test_image);
        pod["metadata"]["name"] = json!(app.name);
        let pod: Pod = parse(pod)?;
        Ok(self.api().create(&PostParams::default(), &pod).await?)
    }

    /// Has a pod of an application admitted without keeping it, and returns the
    /// warnings that `kubectl` would show.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn dry_run(&self, app: &App) -> anyhow::Result<Vec<String>> {
        let mut pod = app.template(&self.test_image);
        pod["metadata"]["name"] = json!(format!("{}-dry-run", app.name));
        let uri = format!("/api/v1/namespaces/{}/pods?dryRun=All", self.name);
        let request = http::Request::post(uri)
            .header("content-type", "application/json")
            .body(serde_json::to_vec(&pod)?.into())?;
        let answer = self.client.send(request).await?;
        anyhow::ensure!(
            answer.status().is_success(),
            "{}: {}",
            app.name,
            answer.status()
        );
        let warnings = answer.headers().get_all("warning").iter();
        // RFC 9111, section 5.5: 299 - "text", with the quotation marks of the text escaped.
        let texts = warnings.filter_map(|warning| {
            let (_, quoted) = warning.to_str().ok()?.split_once('"')?;
            quoted.strip_suffix('"')
        });
        Ok(texts.map(|text| text.replace("\\\"", "\"")).collect())
    }

    /// Waits until a pod is ready, and returns it as it is then.
    ///
    /// # Errors
    /// If it does not become ready.
    pub async fn until_ready(&self, name: &str) -> anyhow::Result<Pod> {
        let ready = |pod: Option<&Pod>| {
            let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.as_ref());
            let mut conditions = conditions.into_iter().flatten();
            conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
        };
        self.until(name, ready, "is ready").await
    }

    /// Waits until a pod has ended, and returns its phase.
    ///
    /// # Errors
    /// If it does not end.
    pub async fn until_ended(&self, name: &str) -> anyhow::Result<String> {
        fn phase(pod: &Pod) -> Option<&str> {
            pod.status.as_ref()?.phase.as_deref()
        }
        let ended = |pod: Option<&Pod>| {
            pod.and_then(phase)
                .is_some_and(|phase| ["Succeeded", "Failed"].contains(&phase))
        };
        let pod = self.until(name, ended, "has ended").await?;
        Ok(phase(&pod).unwrap_or_default().to_owned())
    }

    async fn until(
        &self,
        name: &str,
        is_so: impl Condition<Pod>,
        what: &str,
    ) -> anyhow::Result<Pod> {
        let waited = timeout(PATIENCE, await_condition(self.api(), name, is_so)).await;
        let Ok(waited) = waited else {
            let pod = self.api::<Pod>().get(name).await?;
            let status = serde_json::to_string(&pod.status)?;
            anyhow::bail!("waited {PATIENCE:?} until pod {name} {what}; its status: {status}")
        };
        waited?.with_context(|| format!("pod {name} is gone"))
    }

    /// The pods of an application that are not ending.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn pods(&self, app: &str) -> anyhow::Result<Vec<Pod>> {
        let of_app = ListParams::default().labels(&format!("app={app}"));
        let pods = self.api::<Pod>().list(&of_app).await?;
        let staying = |pod: &Pod| pod.metadata.deletion_timestamp.is_none();
        Ok(pods.items.into_iter().filter(staying).collect())
    }

    /// The only pod of an application.
    ///
    /// # Errors
    /// If there is none.
    pub async fn one_pod(&self, app: &str) -> anyhow::Result<Pod> {
        self.pods(app)
            .await?
            .pop()
            .with_context(|| format!("{app} has no pod"))
    }

    /// A Service on port 80 for an application; `spec` adds to it.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn service(&self, app: &str, spec: Value) -> anyhow::Result<Service> {
        let mut service = json!({
            "metadata": {"name": app},
            "spec": {
                "selector": {"app": app},
                "ports": [{"name": "http", "port": 80, "targetPort": PORT}],
            },
        });
        for (field, value) in spec.as_object().into_iter().flatten() {
            service["spec"][field] = value.clone();
        }
        let service: Service = parse(service)?;
        Ok(self.api().create(&PostParams::default(), &service).await?)
    }

    /// Sets an annotation of a Service.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn annotate_service(&self, name: &str, key: &str, value: &str) -> anyhow::Result<()> {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {key: value}}}));
        self.api::<Service>()
            .patch(name, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    /// Runs an application to its end in a pod of its own, and returns its log.
    ///
    /// # Errors
    /// If it fails.
    pub async fn run(&self, app: &App) -> anyhow::Result<String> {
        let once = App {
            pod_spec: json!({"restartPolicy": "Never"}),
            ..app.clone()
        };
        let pod = self.pod(&once).await?;
        let phase = self.until_ended(&app.name).await?;
        let log = observe::log(&self.client, &pod, "app").await?;
        anyhow::ensure!(phase == "Succeeded", "{} {phase}: {log}", app.name);
        Ok(log)
    }

    /// Runs an application as a Job, and waits until that is complete.
    ///
    /// # Errors
    /// If it does not complete.
    pub async fn job(&self, app: &App) -> anyhow::Result<()> {
        self.start_job(app, "Never", 0).await?;
        self.until_complete(app).await
    }

    /// Begins to run an application as a Job, which may fail so many times.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn start_job(&self, app: &App, policy: &str, failures: u32) -> anyhow::Result<()> {
        let mut template = app.template(&self.test_image);
        template["spec"]["restartPolicy"] = json!(policy);
        let job: Job = parse(json!({
            "metadata": {"name": app.name},
            "spec": {"template": template, "backoffLimit": failures},
        }))?;
        self.api().create(&PostParams::default(), &job).await?;
        Ok(())
    }

    /// Waits until a Job is complete.
    ///
    /// # Errors
    /// If it does not complete.
    pub async fn until_complete(&self, app: &App) -> anyhow::Result<()> {
        let complete = |job: Option<&Job>| {
            let status = job.and_then(|job| job.status.as_ref());
            status.is_some_and(|status| status.succeeded == Some(1))
        };
        let waited = timeout(PATIENCE, await_condition(self.api(), &app.name, complete)).await;
        waited.with_context(|| format!("job {} did not complete", app.name))??;
        Ok(())
    }

    /// Makes a CronJob of an application that was due at the last full hour, and waits until
    /// its Job is complete; returns that.
    ///
    /// # Errors
    /// If it does not complete.
    pub async fn cron_job(&self, app: &App) -> anyhow::Result<Job> {
        let mut template = app.template(&self.test_image);
        template["spec"]["restartPolicy"] = json!("OnFailure");
        let cron_job: CronJob = parse(json!({
            "metadata": {"name": app.name},
            "spec": {
                "schedule": "@hourly",
                "concurrencyPolicy": "Forbid",
                "jobTemplate": {"spec": {"template": template}},
            },
        }))?;
        let cron_jobs: Api<CronJob> = self.api();
        cron_jobs.create(&PostParams::default(), &cron_job).await?;
        // What is missed since then is made up for, if it's only once.
        let before = Timestamp::now().checked_sub(SignedDuration::from_mins(61))?;
        let before = before.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let status = Patch::Merge(json!({"status": {"lastScheduleTime": before}}));
        cron_jobs
            .patch_status(&app.name, &PatchParams::default(), &status)
            .await?;
        let complete = async || -> anyhow::Result<Option<Job>> {
            let jobs = self.api::<Job>().list(&ListParams::default()).await?;
            Ok(jobs.into_iter().find(|job| {
                let mut owners = job.owner_references().iter();
                let status = job.status.as_ref();
                owners.any(|owner| owner.kind == "CronJob" && owner.name == app.name)
                    && status.is_some_and(|status| status.succeeded == Some(1))
            }))
        };
        let what = format!("a job of {} is complete", app.name);
        eventually(&what, async || Ok(complete().await?.is_some())).await?;
        complete().await?.context("it stays so")
    }

    /// Changes the number of an application's replicas, without waiting.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn scale(&self, app: &str, replicas: u32) -> anyhow::Result<()> {
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        let deployments: Api<Deployment> = self.api();
        deployments
            .patch(app, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    /// Replaces all pods of an application, and waits until that is done.
    ///
    /// # Errors
    /// If it does not come about.
    pub async fn restart(&self, app: &str) -> anyhow::Result<()> {
        self.api::<Deployment>().restart(app).await?;
        observe::until_available(&self.client, &self.name, app).await
    }

    /// Deletes a pod, gracefully, without waiting.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn delete_pod(&self, name: &str) -> anyhow::Result<()> {
        self.api::<Pod>()
            .delete(name, &DeleteParams::default())
            .await?;
        Ok(())
    }

    /// Removes the namespace with all that is in it, without waiting.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn delete(self) -> anyhow::Result<()> {
        let namespaces: Api<KubeNamespace> = Api::all(self.client.clone());
        namespaces
            .delete(&self.name, &DeleteParams::background())
            .await?;
        Ok(())
    }

    /// Name of a service of this namespace, as applications call it.
    #[must_use]
    pub fn host(&self, service: &str) -> String {
        format!("{service}.{}.svc", self.name)
    }

    /// A client with all rights.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }
}

fn parse<K: DeserializeOwned>(object: Value) -> anyhow::Result<K> {
    serde_json::from_value(object).context("a manifest of the tests does not parse")
}
