//! What a container of a pod is to be started with, from its image to its last words.

use std::collections::BTreeMap;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use kube::ResourceExt as _;

use super::{Life, place};
use crate::node::containers::Launch;
use crate::node::fields::Placed;
use crate::node::launcher::{ContainerSpec, Mount, Process};
use crate::node::{env, etc, security};

/// What Kubernetes keeps of a container's last words.
const TERMINATION_MESSAGE_BYTES_MAX: usize = 4096;

/// Why a container has no process: the reason and message of its status.
type Failure = (&'static str, String);

/// All that is needed to start `container`, for the `attempt`th time from 0 on.
///
/// # Errors
/// What keeps it from being started; it may be tried again.
pub(super) async fn launch(
    life: &Life,
    container: &Container,
    attempt: u32,
) -> Result<Launch, Failure> {
    let config_error = |message: String| ("CreateContainerConfigError", message);
    let image = life
        .node
        .images
        .find(container.image.as_deref().unwrap_or_default());
    let image = image.map_err(|message| ("ImagePullBackOff", message))?;
    let credentials = security::credentials(&life.spec, container).map_err(config_error)?;
    let hostname = etc::hostname(&life.pod);
    let mut variables = variables(life, container).await.map_err(config_error)?;
    let argv = env::command_line(container, &variables);
    if argv.is_empty() {
        let message = "no command specified; images on this node have none".to_owned();
        return Err(("RunContainerError", message));
    }
    let home = if credentials.uid == 0 { "/root" } else { "/" };
    for (name, value) in [("HOSTNAME", &*hostname), ("HOME", home)] {
        variables
            .entry(name.to_owned())
            .or_insert_with(|| value.to_owned());
    }
    let mounts = mounts(life, container);
    let mounts = mounts.map_err(|error| config_error(format!("{error:#}")))?;
    let dir = dir(life, &container.name);
    let place = life
        .place
        .get()
        .expect("containers start when there is a place");
    let context = container.security_context.as_ref();
    let read_only_root = context.and_then(|context| context.read_only_root_filesystem);
    Ok(Launch {
        launcher: life.node.launcher.clone(),
        spec_file: dir.join(format!("{attempt}.json")),
        log: dir.join(format!("{attempt}.log")),
        spec: ContainerSpec {
            root: dir.join("rootfs"),
            hostname,
            netns: place.netns(),
            sysctls: sysctls(&life.spec),
            image: image.to_owned(),
            etc: etc::files(&life.pod, &place.addrs, &credentials, life.node.resolver()),
            mounts,
            read_only_root: read_only_root.unwrap_or(false),
            process: Process {
                argv,
                env: variables.into_iter().collect(),
                cwd: container.working_dir.as_deref().unwrap_or("/").into(),
                credentials,
            },
        },
    })
}

/// What the container `name` wrote to its termination log.
pub(super) fn last_words(life: &Life, name: &str) -> Option<String> {
    let said = std::fs::read(dir(life, name).join("termination-log")).ok();
    let mut said = said.filter(|said| !said.is_empty())?;
    said.truncate(TERMINATION_MESSAGE_BYTES_MAX);
    Some(String::from_utf8_lossy(&said).into_owned())
}

fn dir(life: &Life, container: &str) -> PathBuf {
    place::logs_dir(&life.node, &life.pod).join(container)
}

async fn variables(life: &Life, container: &Container) -> Result<BTreeMap<String, String>, String> {
    let namespace = life.pod.namespace().unwrap_or_default();
    let links = life.spec.enable_service_links.unwrap_or(true);
    let mut cluster = life.node.cluster.clone();
    let known = cluster.wait_for(Option::is_some).await;
    let known = known.map_err(|_| "the agent is ending".to_owned())?.clone();
    let services = known.map(|cluster| env::service_variables(&cluster, &namespace, links));
    let addrs = life.state.borrow().addrs.clone();
    let placed = Placed {
        pod: &life.pod,
        addrs: &addrs,
        node_addrs: life.node.network.node_addrs(),
    };
    env::variables(placed, container, &services.unwrap_or_default())
}

/// The pod's volumes, and the file for the container's last words.
fn mounts(life: &Life, container: &Container) -> anyhow::Result<Vec<Mount>> {
    let dir = dir(life, &container.name);
    std::fs::create_dir_all(&dir)?;
    let place = life
        .place
        .get()
        .expect("containers start when there is a place");
    let mut mounts = place.volumes.mounts(container)?;
    let source = dir.join("termination-log");
    std::fs::write(&source, "")?;
    let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(&source, everyone)?;
    let target = container.termination_message_path.as_deref();
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

/// What containerd sets (`enable_unprivileged_ports`), then the pod's own.
fn sysctls(spec: &PodSpec) -> Vec<(String, String)> {
    let ports = (
        "net.ipv4.ip_unprivileged_port_start".to_owned(),
        "0".to_owned(),
    );
    let context = spec.security_context.as_ref();
    let own = context
        .and_then(|context| context.sysctls.as_ref())
        .into_iter()
        .flatten();
    let own = own.filter(|sysctl| sysctl.name.starts_with("net."));
    std::iter::once(ports)
        .chain(own.map(|one| (one.name.clone(), one.value.clone())))
        .collect()
}
