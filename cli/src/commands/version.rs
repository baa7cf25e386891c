//! `netting version`: of this command, and of what is installed.

use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, ObjectList},
};
use serde::Serialize;

use crate::{
    cluster::{self, Asked as _},
    exit::Exit,
    installation::selector,
    output::{self, Table},
};

const EXAMPLES: &str = "\
Examples:
  netting version
  netting version --client
  netting version -o json";

/// Which versions.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Of this command alone, without asking a cluster
    #[arg(long)]
    client: bool,

    /// How to print it.
    #[command(flatten)]
    output: output::Flags,
}

#[derive(Debug, Serialize)]
struct Versions {
    client: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kubernetes: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    installed: Vec<Installed>,
}

#[derive(Debug, Serialize)]
struct Installed {
    name: String,
    version: String,
    image: String,
}

impl Args {
    /// Prints them.
    ///
    /// # Errors
    /// If the cluster can't be asked.
    pub async fn run(self, cluster: &cluster::Flags) -> anyhow::Result<Exit> {
        let mut versions = Versions {
            client: env!("CARGO_PKG_VERSION"),
            kubernetes: None,
            installed: Vec::new(),
        };
        if !self.client {
            let cluster = cluster.connect().await?;
            let namespace = &cluster.system_namespace;
            let deployments: Api<Deployment> = Api::namespaced(cluster.client(), namespace);
            let ours = ListParams::default().labels(&selector());
            let listed = deployments.list(&ours).await;
            versions.installed = installed(&listed.asked("list Deployments")?);
            versions.kubernetes = Some(cluster.version.to_string());
        }
        self.output.print(&versions, || table(&versions))?;
        Ok(Exit::Fine)
    }
}

fn installed(deployments: &ObjectList<Deployment>) -> Vec<Installed> {
    let deployments = deployments.iter().map(|deployment| {
        let spec = deployment.spec.as_ref();
        let containers = spec
            .and_then(|spec| spec.template.spec.as_ref())
            .map(|pod| pod.containers.as_slice());
        let image = containers.and_then(|containers| containers.first()?.image.clone());
        let version = deployment.labels().get("app.kubernetes.io/version");
        Installed {
            name: deployment.name_any(),
            version: version.cloned().unwrap_or_else(|| "unknown".to_owned()),
            image: image.unwrap_or_default(),
        }
    });
    deployments.collect()
}

fn table(versions: &Versions) -> Table {
    let mut table = Table::new(["PART", "VERSION"]).wide(["IMAGE"]);
    table.row(["netting (this command)", versions.client, ""]);
    if let Some(kubernetes) = &versions.kubernetes {
        table.row(["Kubernetes", kubernetes, ""]);
        if versions.installed.is_empty() {
            table.row(["Netting", "not installed", ""]);
        }
    }
    for installed in &versions.installed {
        table.row([
            installed.name.as_str(),
            &installed.version,
            &installed.image,
        ]);
    }
    table
}
