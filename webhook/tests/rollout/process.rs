//! The webhook as a process of its own, on ports that the kernel chooses.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Stdio,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, bail, ensure};
use netting_webhook::certificate::{CaPem, self_made};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// Whom its certificate is for.
pub(crate) const HOST: &str = "netting-webhook.netting.svc";
const START_TIMEOUT: Duration = Duration::from_secs(20);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// A running webhook, which ends with its owner.
pub(crate) struct Process {
    child: Child,
    ca: Option<CaPem>,
    port: u16,
    admin_port: u16,
    _files: TempDir,
}

impl Process {
    /// Starts it with a certificate made for it, without an API server.
    pub(crate) async fn start(binary: &Path, flags: &[&str]) -> anyhow::Result<Self> {
        let made = self_made::make(HOST, SystemTime::now())?;
        let files = tempfile::tempdir()?;
        let (chain, key) = (files.path().join("tls.crt"), files.path().join("tls.key"));
        fs::write(&chain, &made.pair.chain)?;
        fs::write(&key, &made.pair.key)?;
        let (chain, key) = (chain.display(), key.display());
        let own = [format!("--tls-cert={chain}"), format!("--tls-key={key}")];
        let flags: Vec<_> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Self::launch(binary, &[&own, &*flags].concat(), files, Some(made.ca)).await
    }

    /// Starts a replica of those that an API server keeps a certificate for.
    pub(crate) async fn join(
        binary: &Path,
        api_server: SocketAddr,
        flags: &[&str],
    ) -> anyhow::Result<Self> {
        let files = tempfile::tempdir()?;
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "it",
            "clusters": [{"name": "it", "cluster": {"server": format!("http://{api_server}")}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "users": [{"name": "it", "user": {}}],
        });
        fs::write(files.path().join("kubeconfig"), kubeconfig.to_string())?;
        let flags: Vec<_> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Self::launch(binary, &flags, files, None).await
    }

    async fn launch(
        binary: &Path,
        flags: &[String],
        files: TempDir,
        ca: Option<CaPem>,
    ) -> anyhow::Result<Self> {
        let mut child = Command::new(binary)
            .args(["--https-port=0", "--admin-port=0", "--log-format=json"])
            .args(flags)
            .env_clear()
            .env("KUBECONFIG", files.path().join("kubeconfig"))
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let log = child.stderr.take().context("its log is piped")?;
        let mut lines = BufReader::new(log).lines();
        let ports = async {
            while let Some(line) = lines.next_line().await? {
                if let Some(ports) = ports(&line) {
                    return Ok(ports);
                }
            }
            bail!("it ended before it served")
        };
        let (port, admin_port) = timeout(START_TIMEOUT, ports).await??;
        // Nobody reads on, and it must not wait for that.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self {
            child,
            ca,
            port,
            admin_port,
            _files: files,
        })
    }

    /// What its certificate is trusted by, if it was made for it alone.
    pub(crate) fn ca(&self) -> &CaPem {
        self.ca
            .as_ref()
            .expect("it was started with one of its own")
    }

    /// Where it serves HTTPS.
    pub(crate) fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Where it serves `/ready`.
    pub(crate) fn admin_addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.admin_port).into()
    }

    fn id(&self) -> anyhow::Result<u32> {
        self.child.id().context("it has ended")
    }

    /// Time that its threads have spent on a CPU.
    pub(crate) fn cpu_time(&self) -> anyhow::Result<Duration> {
        let mut time = Duration::ZERO;
        for task in fs::read_dir(format!("/proc/{}/task", self.id()?))? {
            // The first field of schedstat is nanoseconds on a CPU, far finer than the
            // hundredths of a second of stat.
            let stat = fs::read_to_string(task?.path().join("schedstat"))?;
            let on_cpu = stat.split_ascii_whitespace().next();
            time += Duration::from_nanos(on_cpu.context("schedstat is empty")?.parse()?);
        }
        Ok(time)
    }

    /// Its resident memory.
    pub(crate) fn resident_memory_kib(&self) -> anyhow::Result<u64> {
        self.status("VmRSS:")
    }

    /// The most of it that there has been.
    pub(crate) fn resident_memory_peak_kib(&self) -> anyhow::Result<u64> {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|line| line.split_ascii_whitespace().next());
        number
            .with_context(|| format!("status has no {field}"))?
            .parse()
            .context("it is a number")
    }

    /// Tells it to end, as the kubelet does.
    pub(crate) async fn terminate(&self) -> anyhow::Result<()> {
        let id = self.id()?.to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().await?;
        ensure!(sent.success(), "kill failed: {sent}");
        Ok(())
    }

    /// Tells it to end, and waits until it has, in order.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.terminate().await?;
        self.ended().await
    }

    /// Waits until it has ended, in order.
    pub(crate) async fn ended(mut self) -> anyhow::Result<()> {
        let ended = timeout(STOP_TIMEOUT, self.child.wait()).await;
        let status = ended.context("it has not ended in time")??;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }
}

fn ports(line: &str) -> Option<(u16, u16)> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let field = |name| u16::try_from(line.get(name)?.as_u64()?).ok();
    Some((field("port")?, field("admin_port")?))
}
