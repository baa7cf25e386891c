//! Which cluster is asked: kubeconfig and its contexts, or the cluster that the
//! command runs in; and why it can't be asked, with what to do about it.

use std::{env, path::PathBuf, time::Duration};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

mod kubeconfig;
mod proxy;
mod refusal;
#[cfg(test)]
mod tests;
mod version;

pub use refusal::{Asked, CannotAsk, is_refusal};
pub use version::Version;

use kubeconfig::Found;
use proxy::{NoProxyUrl, Proxy};

/// How long connecting to the API server may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Which cluster.
#[derive(Clone, Debug, clap::Args)]
pub struct Flags {
    /// The kubeconfig file; by default $KUBECONFIG, ~/.kube/config, or the cluster that
    /// this runs in
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The kubeconfig's context; by default its current one
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,

    /// The namespace that Netting itself runs in
    #[arg(
        long,
        global = true,
        env = "NETTING_SYSTEM_NAMESPACE",
        value_name = "NAME",
        default_value = SYSTEM_NAMESPACE,
        value_parser = namespace_name
    )]
    pub system_namespace: String,
}

/// Where Netting runs if nobody says otherwise.
pub const SYSTEM_NAMESPACE: &str = "netting";

/// Which namespaces a command is about.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Scope {
    /// The namespace; by default the context's
    #[arg(short = 'n', long, value_name = "NAME", value_parser = namespace_name)]
    pub namespace: Option<String>,

    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
}

impl Scope {
    /// The namespace; `None` for all.
    #[must_use]
    pub fn in_cluster<'a>(&'a self, cluster: &'a Cluster) -> Option<&'a str> {
        let one = self.namespace.as_deref().unwrap_or(&cluster.namespace);
        (!self.all_namespaces).then_some(one)
    }
}

/// A cluster that answers.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    /// The URL of its API server.
    pub server: String,
    /// The namespace of the context, for what says none.
    pub namespace: String,
    /// The namespace that Netting itself runs in.
    pub system_namespace: String,
    /// The API server's version.
    pub version: Version,
}

impl Cluster {
    /// A client with the rights of whoever runs the command.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }
}

impl Flags {
    /// Finds the cluster and asks for its version, so that what is wrong with the
    /// way there is told once and as such.
    ///
    /// # Errors
    /// If there is none, or it doesn't answer.
    pub async fn connect(&self) -> Result<Cluster, CannotAsk> {
        let (mut config, proxy) = self.config().await?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        let provider = config.auth_info.auth_provider.as_ref();
        let is_oidc = provider.is_some_and(|provider| provider.name == "oidc");
        let connected = self.connect_to(config, proxy).await;
        connected.map_err(|refused| if is_oidc { refused.of_oidc() } else { refused })
    }

    /// Makes a client, and asks for the version.
    async fn connect_to(&self, config: Config, proxy: Option<Proxy>) -> Result<Cluster, CannotAsk> {
        let server = config.cluster_url.to_string();
        let namespace = config.default_namespace.clone();
        let client = match &proxy {
            Some(proxy) => proxy::client(&config, proxy),
            None => Client::try_from(config),
        };
        let client = client.map_err(CannotAsk::from_credentials)?;
        let version = client.apiserver_version().await;
        let version = version.map_err(|error| {
            CannotAsk::from_error(error, "ask for its version", &server, proxy.as_ref())
        })?;
        Ok(Cluster {
            client,
            server,
            namespace,
            system_namespace: self.system_namespace.clone(),
            version: Version::read(&version),
        })
    }

    async fn config(&self) -> Result<(Config, Option<Proxy>), CannotAsk> {
        let found = kubeconfig::find(self.kubeconfig.as_deref()).map_err(CannotAsk::Kubeconfig)?;
        let mut kubeconfig = match found {
            Found::Kubeconfig(kubeconfig) => *kubeconfig,
            Found::Nothing(files) => return Ok((self.inside(&files)?, None)),
        };
        let context = self.choose_context(&kubeconfig)?;
        let in_kubeconfig = kubeconfig::take_proxy_url(&mut kubeconfig, &context);
        let options = KubeConfigOptions {
            context: Some(context),
            ..KubeConfigOptions::default()
        };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        let mut config = config.map_err(CannotAsk::Kubeconfig)?;
        config.proxy_url = None;
        let variable = |name: &str| env::var(name).ok();
        let proxy = Proxy::before(&config.cluster_url, in_kubeconfig.as_deref(), variable)
            .map_err(|NoProxyUrl(named_by)| CannotAsk::ProxyUrl(named_by))?;
        Ok((config, proxy))
    }

    fn choose_context(&self, kubeconfig: &Kubeconfig) -> Result<String, CannotAsk> {
        let contexts = || {
            let names = kubeconfig.contexts.iter().map(|one| &*one.name);
            names.collect::<Vec<_>>().join(", ")
        };
        let wanted = self.context.as_ref();
        let wanted = wanted.or(kubeconfig.current_context.as_ref());
        let Some(wanted) = wanted.filter(|name| !name.is_empty()) else {
            return Err(CannotAsk::NoCurrentContext(contexts()));
        };
        if kubeconfig.contexts.iter().any(|one| one.name == *wanted) {
            return Ok(wanted.clone());
        }
        Err(CannotAsk::NoContext {
            wanted: wanted.clone(),
            contexts: contexts(),
        })
    }

    /// The cluster that the command runs in, as it has no kubeconfig.
    fn inside(&self, missing: &[PathBuf]) -> Result<Config, CannotAsk> {
        match &self.context {
            Some(wanted) => Err(CannotAsk::NoContext {
                wanted: wanted.clone(),
                contexts: String::new(),
            }),
            None => Config::incluster().map_err(|_| CannotAsk::NoCluster {
                files: missing.to_vec(),
            }),
        }
    }
}

/// Parses a namespace's name, which is a label as RFC 1123 has them.
///
/// # Errors
/// If it is none; says what one looks like.
pub fn namespace_name(text: &str) -> Result<String, String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fits = (1..=63).contains(&text.len())
        && text.chars().all(|c| inner(c) || c == '-')
        && text.starts_with(inner)
        && text.ends_with(inner);
    if fits {
        Ok(text.to_owned())
    } else {
        Err("a namespace's name has 1 to 63 lower-case letters, digits and inner dashes".to_owned())
    }
}
