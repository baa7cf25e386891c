//! One run of one of a pod's containers, from its image to its exit code.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::jiff::Timestamp;
use tokio::sync::watch;

use super::said::{Sayer, What};
use crate::node::agent::Node;
use crate::node::containers::{Exec, Launch, Order};
use crate::node::env;
use crate::node::etc;
use crate::node::events::Kind;
use crate::node::launcher::{ContainerSpec, Mount, Process, START_ERROR_CODE};
use crate::node::lifecycle::Exit;
use crate::node::probes::{Check, Subject};
use crate::node::security;
use crate::node::volumes::Volumes;

/// What Kubernetes keeps of a container's last words.
const TERMINATION_MESSAGE_BYTES_MAX: usize = 4096;

/// Why a container has no process: the reason and message of its status.
type Failure = (&'static str, String);

/// All that a run needs to know.
pub(super) struct Start {
    pub(super) node: Arc<Node>,
    pub(super) pod: Arc<Pod>,
    pub(super) container: Container,
    /// Counted from zero; names the log.
    pub(super) attempt: u32,
    pub(super) addrs: Vec<IpAddr>,
    pub(super) netns: Option<PathBuf>,
    pub(super) volumes: Option<Arc<Volumes>>,
    pub(super) dir: PathBuf,
    pub(super) grace: Duration,
}

impl Start {
    /// Says how it goes, until the container's end.
    pub(super) async fn run(self, orders: watch::Receiver<Order>, sayer: Sayer) {
        let launch = match self.prepare().await {
            Ok(launch) => launch,
            Err((reason, message)) => {
                sayer.say(What::NotStarted { reason, message }).await;
                return;
            }
        };
        let name = self.container.name.as_str();
        let image = self.container.image.as_deref().unwrap_or_default();
        let tell = |kind, reason, message| {
            self.node
                .events
                .tell(&self.pod, Some(name), kind, reason, message);
        };
        let present = format!("Container image {image:?} already present on machine");
        tell(Kind::Normal, "Pulled", present);
        tell(
            Kind::Normal,
            "Created",
            format!("Container created: {name}"),
        );
        let started = launch.start().await;
        // It holds the environment, and has done its part.
        let _ = std::fs::remove_file(&launch.spec_file);
        let running = match started {
            Ok(running) => running,
            Err(error) => {
                let message = format!("failed to start container {name:?}: {error:#}");
                tell(Kind::Warning, "Failed", format!("Error: {message}"));
                sayer
                    .say(What::Ended(exit(START_ERROR_CODE, Some(message), None)))
                    .await;
                return;
            }
        };
        let since = Timestamp::now();
        tell(
            Kind::Normal,
            "Started",
            format!("Container started: {name}"),
        );
        let exec = Exec {
            launcher: launch.launcher.clone(),
            dir: self.dir.clone(),
            pid: running.pid,
            process: launch.spec.process.clone(),
        };
        let code = if self.post_start(&exec).await {
            sayer.say(What::Started { exec, since }).await;
            running.wait(orders).await
        } else {
            let (_, killed) = watch::channel(Order::Terminate(self.grace));
            running.wait(killed).await
        };
        sayer
            .say(What::Ended(exit(code, self.last_words(), Some(since))))
            .await;
    }

    async fn prepare(&self) -> Result<Launch, Failure> {
        let config_error = |message: String| ("CreateContainerConfigError", message);
        let image = self.container.image.as_deref().unwrap_or_default();
        let never = self.container.image_pull_policy.as_deref() == Some("Never");
        let reason = if never {
            "ErrImageNeverPull"
        } else {
            "ImagePullBackOff"
        };
        let image = self
            .node
            .images
            .find(image)
            .map_err(|message| (reason, message))?;
        let default = PodSpec::default();
        let spec = self.pod.spec.as_ref().unwrap_or(&default);
        let credentials = security::credentials(spec, &self.container).map_err(config_error)?;
        let hostname = etc::hostname(&self.pod);
        let mut variables = self.variables(spec).await.map_err(config_error)?;
        let argv = env::command_line(&self.container, &variables);
        if argv.is_empty() {
            let message = "no command specified; images on this node have none".to_owned();
            return Err(("RunContainerError", message));
        }
        variables
            .entry("HOSTNAME".to_owned())
            .or_insert_with(|| hostname.clone());
        let home = if credentials.uid == 0 { "/root" } else { "/" };
        variables
            .entry("HOME".to_owned())
            .or_insert_with(|| home.to_owned());
        let mounts = self
            .mounts(&variables)
            .map_err(|error| config_error(format!("{error:#}")))?;
        let context = self.container.security_context.as_ref();
        let read_only_root = context.and_then(|context| context.read_only_root_filesystem);
        Ok(Launch {
            launcher: self.node.launcher.clone(),
            spec_file: self.dir.join(format!("{}.json", self.attempt)),
            log: self.dir.join(format!("{}.log", self.attempt)),
            spec: ContainerSpec {
                root: self.dir.join("rootfs"),
                hostname,
                netns: self.netns.clone(),
                sysctls: sysctls(spec),
                image: image.to_owned(),
                etc: etc::files(&self.pod, &self.addrs, &credentials, self.node.resolver()),
                mounts,
                read_only_root: read_only_root.unwrap_or(false),
                process: Process {
                    argv,
                    env: variables.into_iter().collect(),
                    cwd: self
                        .container
                        .working_dir
                        .clone()
                        .unwrap_or("/".to_owned())
                        .into(),
                    credentials,
                },
            },
        })
    }

    /// The pod's volumes, and the file for the container's last words.
    fn mounts(&self, variables: &BTreeMap<String, String>) -> anyhow::Result<Vec<Mount>> {
        std::fs::create_dir_all(&self.dir)?;
        let mut mounts = match &self.volumes {
            Some(volumes) => volumes.mounts(&self.container, variables)?,
            None => Vec::new(),
        };
        let source = self.termination_log();
        std::fs::write(&source, "")?;
        let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(&source, everyone)?;
        let target = self.container.termination_message_path.as_deref();
        let target = target
            .filter(|path| !path.is_empty())
            .unwrap_or("/dev/termination-log");
        mounts.push(Mount {
            source,
            target: target.into(),
            read_only: false,
        });
        Ok(mounts)
    }

    fn termination_log(&self) -> PathBuf {
        self.dir.join("termination-log")
    }

    fn last_words(&self) -> Option<String> {
        let mut said = std::fs::read(self.termination_log())
            .ok()
            .filter(|said| !said.is_empty())?;
        said.truncate(TERMINATION_MESSAGE_BYTES_MAX);
        Some(String::from_utf8_lossy(&said).into_owned())
    }

    /// Whether the container may live.
    async fn post_start(&self, exec: &Exec) -> bool {
        let lifecycle = self.container.lifecycle.as_ref();
        let Some(hook) = lifecycle.and_then(|lifecycle| lifecycle.post_start.as_ref()) else {
            return true;
        };
        let Some(addr) = self.addrs.first() else {
            return true;
        };
        let subject = Subject {
            addr: *addr,
            container: &self.container,
            exec: exec.clone(),
        };
        // A hook has no limit of its own; it ends with its container or its pod.
        let forever = Duration::from_secs(3600);
        let ran = match Check::of_hook(hook, &subject) {
            Ok(check) => check.run(forever).await,
            Err(error) => Err(error),
        };
        let Err(error) = ran else { return true };
        let message = format!("PostStartHook failed: {error}");
        let (events, name) = (&self.node.events, Some(self.container.name.as_str()));
        events.tell(
            &self.pod,
            name,
            Kind::Warning,
            "FailedPostStartHook",
            message,
        );
        false
    }
}

/// Those that containerd sets (`enable_unprivileged_ports`, `enable_unprivileged_icmp`), then the
/// pod's own.
fn sysctls(spec: &PodSpec) -> Vec<(String, String)> {
    let mut sysctls = vec![
        (
            "net.ipv4.ip_unprivileged_port_start".to_owned(),
            "0".to_owned(),
        ),
        (
            "net.ipv4.ping_group_range".to_owned(),
            "0 2147483647".to_owned(),
        ),
    ];
    let own = spec
        .security_context
        .as_ref()
        .and_then(|context| context.sysctls.as_ref());
    let own = own
        .into_iter()
        .flatten()
        .filter(|sysctl| sysctl.name.starts_with("net."));
    sysctls.extend(own.map(|sysctl| (sysctl.name.clone(), sysctl.value.clone())));
    sysctls
}

fn exit(code: i32, message: Option<String>, started_at: Option<Timestamp>) -> Exit {
    Exit {
        code,
        message,
        started_at,
        finished_at: Timestamp::now(),
    }
}
