//! `netting render`: the manifests, for those who apply them in their own way.

use netting_webhook::documents;

use crate::{
    cluster::{self, Version},
    exit::Exit,
    manifests::{self, Settings},
    output,
};

const EXAMPLES: &str = "\
Examples:
  netting render > netting.yaml
  netting render --ha --image registry.example.com/netting:0.1.0 | kubectl apply --server-side -f -
  netting render --kubernetes 1.27 --webhook-set proxy-log=warn

No cluster is asked. The objects are those of k8s/overlays/default (or ha), and of the
Helm chart.";

/// What is rendered.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What is rendered.
    #[command(flatten)]
    settings: Settings,

    /// The version of Kubernetes to render for, such as 1.27
    #[arg(long, value_name = "VERSION", value_parser = Version::parse)]
    kubernetes: Option<Version>,
}

impl Args {
    /// Prints the manifests.
    ///
    /// # Errors
    /// If a setting is wrong.
    pub fn run(&self, cluster: &cluster::Flags) -> anyhow::Result<Exit> {
        let namespace = &cluster.system_namespace;
        let kubernetes = self.kubernetes.as_ref();
        let objects = manifests::render(&self.settings, namespace, kubernetes)?;
        let documents: Vec<String> = objects.iter().map(documents::yaml).collect();
        output::write(&documents.join("---\n"))?;
        Ok(Exit::Fine)
    }
}
