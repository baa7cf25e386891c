//! `netting inject`: workloads in files, with the sidecar that the webhook would give
//! their pods.

use std::net::SocketAddr;

use netting_webhook::{
    Namespace, Options, documents,
    names::{self, SidecarMode},
    options::{Defaults, ImagePullPolicy, PodSecurity},
};

use crate::{
    cluster, edit,
    exit::{Exit, Usage},
};

const EXAMPLES: &str = "\
Examples:
  netting inject shop.yaml | kubectl apply -f -
  kubectl get deployment web -o yaml | netting inject - | kubectl apply -f -
  netting inject --namespace shop --proxy-cpu-limit 200m web.yaml worker.yaml > injected.yaml

What becomes of each workload is said on stderr, with the reason if it is left as it is.
Everything else in the files stays as it is, byte for byte. No cluster is asked.";

/// Which files, and how.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Which files.
    #[command(flatten)]
    edit: edit::Flags,

    /// Only what asks for it: by the label netting.dev/inject of its own, or of its
    /// Namespace if that is in the files too. Otherwise all that didn't opt out
    #[arg(long)]
    if_asked: bool,

    /// The namespace of objects that don't say theirs
    #[arg(
        short,
        long,
        value_name = "NAME",
        default_value = "default",
        value_parser = cluster::namespace_name
    )]
    namespace: String,

    /// Image that is injected, for both the init container and the sidecar
    #[arg(long, env = "NETTING_IMAGE", default_value = concat!("ghcr.io/netting-dev/netting:", env!("CARGO_PKG_VERSION")))]
    image: String,

    /// When the kubelet pulls the injected image; left to Kubernetes if not given
    #[arg(long, env = "NETTING_IMAGE_PULL_POLICY", value_name = "POLICY")]
    image_pull_policy: Option<ImagePullPolicy>,

    /// Where sidecars find the catalog, as host:port; by default the Service
    /// netting-catalog in the system namespace
    #[arg(long, env = "NETTING_CATALOG", value_name = "HOST:PORT")]
    catalog: Option<String>,

    /// The catalog's ClusterIP and port, for pods whose dnsPolicy is None or Default
    #[arg(long, env = "NETTING_CATALOG_ADDRESS", value_name = "IP:PORT")]
    catalog_address: Option<SocketAddr>,

    /// How the sidecar runs where a pod doesn't choose: native (Kubernetes 1.29 and
    /// later) or classic
    #[arg(
        long,
        env = "NETTING_SIDECAR_MODE",
        value_name = "MODE",
        default_value = "native",
        value_parser = sidecar_mode
    )]
    sidecar_mode: SidecarMode,

    /// What pods get that don't choose.
    #[command(flatten)]
    defaults: Defaults,
}

fn sidecar_mode(name: &str) -> Result<SidecarMode, String> {
    SidecarMode::from_name(name).ok_or_else(|| "expected native or classic".to_owned())
}

impl Args {
    /// Prints the files with sidecars.
    ///
    /// # Errors
    /// If flags contradict each other, or a file can't be read.
    pub fn run(&self, cluster: &cluster::Flags) -> anyhow::Result<Exit> {
        let options = self.options(&cluster.system_namespace)?;
        let namespace = Namespace::named(&self.namespace);
        self.edit.run(|text, all| {
            if self.if_asked {
                let namespaces = all
                    .iter()
                    .flat_map(|file| documents::namespace_labels(&file.text));
                documents::inject_asked(text, &namespace, &namespaces.collect(), &options)
            } else {
                documents::inject(text, &namespace, &options)
            }
        })
    }

    fn options(&self, system_namespace: &str) -> Result<Options, Usage> {
        let own = || names::catalog_in(system_namespace);
        let pod_defaults = self.defaults.pod_options(self.sidecar_mode);
        Ok(Options {
            image: self.image.clone(),
            image_pull_policy: self.image_pull_policy,
            catalog: self.catalog.clone().unwrap_or_else(own),
            catalog_address: self.catalog_address,
            system_namespace: system_namespace.to_owned(),
            native_sidecars: self.sidecar_mode == SidecarMode::Native,
            // Whoever injects a file has decided that its pods are to have a sidecar.
            pod_security: PodSecurity::default(),
            pod_defaults: pod_defaults.map_err(|error| Usage(error.to_string()))?,
        })
    }
}
