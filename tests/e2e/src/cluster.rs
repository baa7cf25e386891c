//! The cluster that a test runs in.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::{
    api::core::v1::{Namespace, Node},
    jiff::Timestamp,
};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{DeleteParams, ListParams},
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
    runtime::wait::await_condition,
};
use tempfile::{NamedTempFile, TempDir};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::apps::NAME_PREFIX;

/// The image that the manifests name.
pub const IMAGE: &str = "ghcr.io/netting-dev/netting:0.1.0";
/// The image of the applications.
pub const TEST_IMAGE: &str = "ghcr.io/netting-dev/netting-test-app:0.1.0";
/// The binaries that the images have, which the sandbox takes from where they were built.
const IN_IMAGES: [&str; 5] = [
    "netting-iptables-init",
    "netting-sidecar",
    "netting-catalog",
    "netting-webhook",
    "netting-test-app",
];
/// The name of the node agent's node.
const NODE: &str = "netting-e2e";
/// How long the sandbox or the node agent may take to end.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two looks at whether it has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How long they may take to be ready.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// What people need to look around in a sandbox.
#[derive(Clone, Debug)]
pub struct Enter {
    /// For `kubectl --kubeconfig`.
    pub kubeconfig: PathBuf,
    /// Put before a command, runs it inside.
    pub prefix: String,
}

/// A running cluster, ended when it is dropped if the test began it.
pub struct Cluster {
    client: Client,
    kubeconfig: PathBuf,
    image: String,
    test_image: String,
    /// What the test began: the sandbox, or the node agent.
    own: Option<Own>,
}

struct Own {
    process: Child,
    /// How to get in, for people.
    enter: Option<Enter>,
    /// Kept for as long as the process uses it.
    _state: TempDir,
}

impl Cluster {
    /// The cluster that the environment asks for.
    ///
    /// # Errors
    /// If it cannot be started or reached.
    pub async fn start() -> anyhow::Result<Self> {
        let own = |image: &str| image.to_owned();
        let Some(kubeconfig) = env::var_os("NETTING_KUBECONFIG").map(PathBuf::from) else {
            let state = TempDir::new()?;
            let (process, enter) = sandbox(state.path()).await?;
            return Ok(Self {
                client: client(&enter.kubeconfig).await?,
                kubeconfig: enter.kubeconfig.clone(),
                image: own(IMAGE),
                test_image: own(TEST_IMAGE),
                own: Some(Own {
                    process,
                    enter: Some(enter),
                    _state: state,
                }),
            });
        };
        let client = client(&kubeconfig).await?;
        sweep(&client).await?;
        match (env::var("NETTING_IMAGE"), env::var("NETTING_TEST_IMAGE")) {
            (Ok(image), Ok(test_image)) => Ok(Self {
                client,
                kubeconfig,
                image,
                test_image,
                own: None,
            }),
            (Err(_), Err(_)) => {
                let state = TempDir::new()?;
                let process = node_agent(&client, &kubeconfig, state.path()).await?;
                Ok(Self {
                    client,
                    kubeconfig,
                    image: own(IMAGE),
                    test_image: own(TEST_IMAGE),
                    own: Some(Own {
                        process,
                        enter: None,
                        _state: state,
                    }),
                })
            }
            _ => bail!("set both NETTING_IMAGE and NETTING_TEST_IMAGE, or neither"),
        }
    }

    /// A client with all rights.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The file that leads others here, with all rights.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The same with the rights of whoever has this token.
    ///
    /// # Errors
    /// If it can't be read, or there is no room for another.
    pub fn kubeconfig_of(&self, token: &str) -> anyhow::Result<NamedTempFile> {
        // With whole paths, for files that it may name beside itself.
        let mut kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
        for user in &mut kubeconfig.auth_infos {
            let token = Some(token.to_owned().into());
            user.auth_info = Some(AuthInfo {
                token,
                ..AuthInfo::default()
            });
        }
        let file = NamedTempFile::new()?;
        std::fs::write(file.path(), serde_json::to_vec(&kubeconfig)?)?;
        Ok(file)
    }

    /// How people get in, if this is a sandbox.
    #[must_use]
    pub fn enter(&self) -> Option<&Enter> {
        self.own.as_ref()?.enter.as_ref()
    }

    /// Whether pods that were running before have a node agent that is new to them.
    #[must_use]
    pub fn has_new_node(&self) -> bool {
        self.own.as_ref().is_some_and(|own| own.enter.is_none())
    }

    /// Whether the images have the `netting` command as well, besides what runs in pods: a
    /// sandbox takes all that was built for them.
    #[must_use]
    pub fn has_command_in_images(&self) -> bool {
        self.own.is_some()
    }

    /// The image to install.
    #[must_use]
    pub fn image(&self) -> &str {
        &self.image
    }

    /// The image of the applications.
    #[must_use]
    pub fn test_image(&self) -> &str {
        &self.test_image
    }
}

impl Drop for Own {
    /// Asks it to end, so that it takes away what it made, and waits until it has.
    fn drop(&mut self) {
        let Some(pid) = self.process.id() else {
            return;
        };
        let asked = std::process::Command::new("kill")
            .arg(pid.to_string())
            .status();
        let begun = Instant::now();
        while asked.is_ok() && begun.elapsed() < END_TIMEOUT {
            match self.process.try_wait() {
                Ok(None) => std::thread::sleep(LOOK_AGAIN),
                _ => return,
            }
        }
        // It is killed when the process is dropped.
        eprintln!("what the test began did not end within {END_TIMEOUT:?}");
    }
}

async fn client(kubeconfig: &Path) -> anyhow::Result<Client> {
    let read = Kubeconfig::read_from(kubeconfig)
        .with_context(|| format!("could not read {}", kubeconfig.display()))?;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    let version = client.apiserver_version().await;
    version
        .with_context(|| format!("the API server of {} does not answer", kubeconfig.display()))?;
    Ok(client)
}

/// Deletes what tests that failed left in a cluster, where it would go on making load.
async fn sweep(client: &Client) -> anyhow::Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    for namespace in namespaces.list(&ListParams::default()).await? {
        let name = namespace.name_any();
        if name.starts_with(NAME_PREFIX) && namespace.metadata.deletion_timestamp.is_none() {
            let params = DeleteParams::background();
            namespaces.delete(&name, &params).await?;
        }
    }
    Ok(())
}

/// Where the binaries are: beside this one, which cargo puts into `deps`.
fn bin_dir() -> anyhow::Result<PathBuf> {
    if let Some(dir) = env::var_os("NETTING_BIN_DIR") {
        return Ok(dir.into());
    }
    let own = env::current_exe()?;
    let deps = own.parent().and_then(Path::parent);
    Ok(deps.context("this binary is in no directory")?.to_owned())
}

/// One of the binaries.
///
/// # Errors
/// If it has not been built.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let path = bin_dir()?.join(name);
    ensure!(
        path.exists(),
        "{} is missing; run cargo build --workspace --bins first",
        path.display()
    );
    Ok(path)
}

fn sandbox_command(subcommand: &str, state: &Path) -> anyhow::Result<Command> {
    for name in IN_IMAGES {
        binary(name)?;
    }
    let mut command = Command::new(binary("netting-sandbox")?);
    command.arg(subcommand).arg("--state").arg(state);
    let images = bin_dir()?;
    for image in [IMAGE, TEST_IMAGE] {
        command
            .arg("--image")
            .arg(format!("{image}={}", images.display()));
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

/// Starts the sandbox and returns how to get in once it is ready.
async fn sandbox(state: &Path) -> anyhow::Result<(Child, Enter)> {
    let mut process = sandbox_command("up", state)?
        .stdout(Stdio::piped())
        .spawn()
        .context("could not start the sandbox")?;
    let stdout = process.stdout.take().context("its stdout is piped")?;
    let mut lines = BufReader::new(stdout).lines();
    let ready = timeout(START_TIMEOUT, lines.next_line()).await;
    let line = ready
        .with_context(|| format!("the sandbox was not ready within {START_TIMEOUT:?}"))??
        .context("the sandbox ended before it was ready; it needs root")?;
    let ready: serde_json::Value =
        serde_json::from_str(&line).with_context(|| format!("the sandbox said {line}"))?;
    let text = |field: &str| {
        let text = ready[field].as_str().map(ToOwned::to_owned);
        text.with_context(|| format!("the sandbox does not name its {field}: {line}"))
    };
    let enter = Enter {
        kubeconfig: text("kubeconfig")?.into(),
        prefix: text("enter")?,
    };
    Ok((process, enter))
}

/// Starts the node agent, and returns once the cluster knows of it.
async fn node_agent(client: &Client, kubeconfig: &Path, state: &Path) -> anyhow::Result<Child> {
    let begun = Timestamp::now();
    let mut process = sandbox_command("node", state)?
        .args(["--node-name", NODE, "--schedule", "--kubeconfig"])
        .arg(kubeconfig)
        .spawn()
        .context("could not start the node agent")?;
    // What an earlier agent said of itself may be there still. Times have no fractions.
    let is_new = |node: Option<&Node>| {
        let conditions = node.and_then(|node| node.status.as_ref()?.conditions.as_ref());
        let mut conditions = conditions.into_iter().flatten();
        let since = conditions.find(|one| one.type_ == "Ready" && one.status == "True");
        let since = since.and_then(|ready| ready.last_transition_time.as_ref());
        since.is_some_and(|since| since.0.as_second() >= begun.as_second())
    };
    let ready = await_condition(Api::<Node>::all(client.clone()), NODE, is_new);
    tokio::select! {
        ready = timeout(START_TIMEOUT, ready) => {
            ready.with_context(|| format!("the node was not ready within {START_TIMEOUT:?}"))??;
        }
        ended = process.wait() => bail!("the node agent ended ({}); it needs root", ended?),
    }
    Ok(process)
}
