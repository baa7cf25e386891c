//! A box with an API server and a node agent in it, for one test.

use std::fmt::Debug;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{Event, Pod, PodStatus};
use kube::api::{DeleteParams, ListParams, LogParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::await_condition;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Config, Resource};
use netting_sandbox::{api, node};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Far longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_netting-sandbox");

/// The only image.
pub(crate) const IMAGE: &str = "example.org/tools:1";

/// What a test works with.
pub(crate) struct Box {
    pub(crate) client: Client,
    /// A directory that pods can have as a hostPath.
    pub(crate) shared: PathBuf,
    root: PathBuf,
}

#[derive(clap::Parser)]
struct Options {
    #[command(flatten)]
    node: node::Args,
}

/// Runs a test in a box, with a node that has these options besides the usual ones; afterwards
/// nothing of the node's may be left.
pub(crate) fn in_a_box<F>(options: &[&str], test: impl FnOnce(Box) -> F + Send + 'static)
where
    F: Future<Output = ()>,
{
    let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
    in_namespaces(async move || {
        let (boxed, _dir, cluster) = with_api(&options).await;
        let (stop, stopped) = oneshot::channel::<()>();
        let args = Options::parse_from(boxed.node_args(&options)).node;
        let state = boxed.state();
        let mut node = tokio::spawn(node::serve(args, async move { drop(stopped.await) }));
        tokio::select! {
            () = test(boxed) => (),
            result = &mut node => panic!("the node ended before the test: {result:?}"),
        }
        stop.send(()).expect("the node runs");
        node.await.expect("no panic").expect("a good end");
        assert_nothing_left(&state);
        cluster.stop();
    });
}

/// Runs a test in a box with an API only.
pub(crate) fn in_a_box_without_a_node<F>(test: impl FnOnce(Box) -> F + Send + 'static)
where
    F: Future<Output = ()>,
{
    in_namespaces(async move || {
        let (boxed, _dir, cluster) = with_api(&[]).await;
        test(boxed).await;
        cluster.stop();
    });
}

/// Namespaces belong to threads, as does everything that is started in them here.
fn in_namespaces<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::spawn(move || {
        enter_namespaces();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// `/run` is new so that `ip netns` sees only this box's namespaces.
fn enter_namespaces() {
    // For whoever looks for the reason of a failure.
    let filter = std::env::var("NETTING_LOG").unwrap_or_else(|_| "warn".to_owned());
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_test_writer()
        .try_init();
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
        .expect("these tests make namespaces and need root");
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("mounts of its own");
    mount(
        Some("tmpfs"),
        "/run",
        Some("tmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )
    .expect("a /run");
    command("ip", &["link", "set", "lo", "up"]);
}

/// Runs a command in the box and returns what it says.
pub(crate) fn command(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().expect(program);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    said
}

async fn with_api(options: &[String]) -> (Box, TempDir, Arc<api::Cluster>) {
    let dir = tempfile::tempdir().expect("a directory");
    let cluster = api::Cluster::new(api::Options {
        advertised: Some("10.244.0.1:6443".parse().expect("an address")),
        ..api::Options::default()
    })
    .expect("a cluster");
    let listener = TcpListener::bind("0.0.0.0:6443")
        .await
        .expect("a port of the box");
    tokio::spawn(api::serve(cluster.clone(), vec![listener]));
    let server = "https://127.0.0.1:6443";
    // A kubelet may not bind pods.
    let yaml = match options.iter().any(|option| option == "--schedule") {
        true => cluster.admin_kubeconfig(server),
        false => cluster.node_kubeconfig(server, "box"),
    };
    std::fs::write(dir.path().join("kubeconfig"), yaml).expect("a kubeconfig");
    let client = client(&cluster.admin_kubeconfig(server)).await;
    let shared = dir.path().join("shared");
    std::fs::create_dir(&shared).expect("a directory");
    let image = dir.path().join("image");
    std::fs::create_dir(&image).expect("a directory");
    std::fs::write(image.join("hello"), "from the image\n").expect("a file");
    let root = dir.path().to_owned();
    let boxed = Box {
        client,
        shared,
        root,
    };
    (boxed, dir, cluster)
}

async fn client(kubeconfig: &str) -> Client {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).expect("a kubeconfig");
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .expect("a config");
    Client::try_from(config).expect("a client")
}

pub(crate) fn assert_nothing_left(state: &Path) {
    assert_eq!(command("ip", &["netns", "list"]), "");
    let links = command("ip", &["-brief", "link"]);
    assert_eq!(links.lines().count(), 1, "{links}");
    for save in ["iptables-save", "ip6tables-save"] {
        let rules = command(save, &[]);
        assert!(!rules.contains("NETTING-SANDBOX"), "{rules}");
    }
    let mounts = std::fs::read_to_string("/proc/thread-self/mounts").expect("mounts");
    assert!(!mounts.contains(&state.display().to_string()), "{mounts}");
    let left: Vec<_> = std::fs::read_dir(state).expect("the state").collect();
    assert!(left.is_empty(), "{left:?}");
}

impl Box {
    /// The node's own directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// The command line of a node.
    pub(crate) fn node_args(&self, more: &[String]) -> Vec<String> {
        let path = |name: &str| self.root.join(name).display().to_string();
        let mut args = vec![
            "node".to_owned(),
            format!("--kubeconfig={}", path("kubeconfig")),
            format!("--state={}", path("state")),
            format!("--image={IMAGE}={}", path("image")),
            format!("--launcher={PROGRAM}"),
            "--node-name=box".to_owned(),
        ];
        args.extend_from_slice(more);
        args
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Creates an object in the default namespace.
    pub(crate) async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        let object = serde_json::from_value(object).expect("an object");
        self.api()
            .create(&PostParams::default(), &object)
            .await
            .expect("created")
    }

    /// Creates a pod that runs on the node.
    pub(crate) async fn run(&self, name: &str, mut spec: Value) -> Pod {
        spec["nodeName"] = json!("box");
        let labels = json!({"app": name});
        self.create(json!({"metadata": {"name": name, "labels": labels}, "spec": spec}))
            .await
    }

    /// Waits until a pod is so, and returns its status.
    pub(crate) async fn pod_is(
        &self,
        name: &str,
        what: &str,
        condition: impl Fn(&Pod) -> bool,
    ) -> PodStatus {
        let is = await_condition(self.api::<Pod>(), name, |pod: Option<&Pod>| {
            pod.is_some_and(&condition)
        });
        match tokio::time::timeout(PATIENCE, is).await {
            Ok(pod) => pod
                .expect("a watch")
                .and_then(|pod| pod.status)
                .expect("a status"),
            Err(_) => {
                let pod = self.api::<Pod>().get_opt(name).await.expect("an answer");
                let status = pod.and_then(|pod| pod.status);
                let status = serde_json::to_string_pretty(&status).expect("JSON");
                panic!(
                    "pod {name} was never {what}: {status} {:#?}",
                    self.events(name).await
                )
            }
        }
    }

    pub(crate) async fn ready(&self, name: &str) -> PodStatus {
        self.pod_is(name, "ready", |pod| condition(pod, "Ready") == Some("True"))
            .await
    }

    pub(crate) async fn in_phase(&self, name: &str, phase: &str) -> PodStatus {
        self.pod_is(name, phase, |pod| {
            pod.status
                .as_ref()
                .and_then(|status| status.phase.as_deref())
                == Some(phase)
        })
        .await
    }

    /// Runs a pod of one container to its end, and returns what it said.
    pub(crate) async fn output(&self, name: &str, container: Value, mut spec: Value) -> String {
        spec["restartPolicy"] = json!("Never");
        spec["containers"] = json!([container]);
        self.run(name, spec).await;
        self.in_phase(name, "Succeeded").await;
        self.logs(name, "main").await
    }

    pub(crate) async fn logs(&self, name: &str, container: &str) -> String {
        let params = LogParams {
            container: Some(container.to_owned()),
            ..LogParams::default()
        };
        self.api::<Pod>().logs(name, &params).await.expect("logs")
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.api::<Pod>()
            .delete(name, &DeleteParams::default())
            .await
            .expect("deleted");
    }

    pub(crate) async fn gone(&self, name: &str) {
        let gone = await_condition(self.api::<Pod>(), name, |pod: Option<&Pod>| pod.is_none());
        let gone = tokio::time::timeout(PATIENCE, gone).await;
        gone.expect("the pod is removed in time").expect("a watch");
    }

    /// Waits for an event of a pod and returns its message.
    pub(crate) async fn event(&self, name: &str, reason: &str) -> String {
        let of_pod = watcher::Config::default().fields(&format!("involvedObject.name={name}"));
        let events = watcher(self.api::<Event>(), of_pod).applied_objects();
        let mut found =
            pin!(events.try_filter(|event| {
                std::future::ready(event.reason.as_deref() == Some(reason))
            }));
        match tokio::time::timeout(PATIENCE, found.next()).await {
            Ok(event) => {
                let event = event.expect("a watch goes on").expect("a watch");
                event.message.unwrap_or_default()
            }
            Err(_) => panic!("no {reason} of {name}, but {:#?}", self.events(name).await),
        }
    }

    /// Reasons and messages of a pod's events.
    pub(crate) async fn events(&self, name: &str) -> Vec<String> {
        let of_pod = ListParams::default().fields(&format!("involvedObject.name={name}"));
        let events = self.api::<Event>().list(&of_pod).await.expect("events");
        let words = |event: Event| {
            format!(
                "{}: {}",
                event.reason.unwrap_or_default(),
                event.message.unwrap_or_default()
            )
        };
        events.items.into_iter().map(words).collect()
    }

    /// What a container wrote to a file in the shared directory; nothing if there is none.
    pub(crate) fn shared(&self, file: &str) -> String {
        std::fs::read_to_string(self.shared.join(file)).unwrap_or_default()
    }

    /// The shared directory as a volume; containers mount it at /shared.
    pub(crate) fn volume(&self) -> Value {
        json!({"name": "shared", "hostPath": {"path": self.shared, "type": "Directory"}})
    }
}

/// A container that runs a script and has the shared directory, if the pod has.
pub(crate) fn shell(name: &str, script: &str) -> Value {
    json!({"name": name, "image": IMAGE, "command": ["/bin/bash", "-euc", script]})
}

/// The same with the shared directory.
pub(crate) fn sharing(name: &str, script: &str) -> Value {
    let mut container = shell(name, script);
    container["volumeMounts"] = json!([{"name": "shared", "mountPath": "/shared"}]);
    container
}

/// Adds fields to an object.
pub(crate) fn with(mut object: Value, fields: Value) -> Value {
    let fields = fields.as_object().cloned().expect("an object");
    object.as_object_mut().expect("an object").extend(fields);
    object
}

pub(crate) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a str> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions
        .iter()
        .find(|condition| condition.type_ == kind)?;
    Some(found.status.as_str())
}
