//! `netting explain`: why things are as they are.

mod ask;
mod owner;
mod target;

use clap::Subcommand;
use k8s_openapi::api::core::v1::Service;
use kube::Api;

use crate::{
    admission::{Standing, judge},
    cluster::{self, Asked as _, Cluster},
    commands::named::Named,
    exit::Exit,
    explain::{self, Explanation},
    mesh, output,
};

use target::Target;

const EXAMPLES: &str = "\
Examples:
  netting explain pod web-7d4b-x2x -n shop            why has it a sidecar, or none?
  netting explain service echo.shop                   what is behind it?
  netting explain connection shop/web-7d4b-x2x echo:80
  netting explain connection shop/web-7d4b-x2x 10.96.3.4:443";

/// Explain what.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// About what.
    #[command(subcommand)]
    about: About,
}

/// What all of them have.
#[derive(Debug, clap::Args)]
struct Options {
    /// The namespace of names without one; by default the context's
    #[arg(short = 'n', long, value_name = "NAME")]
    namespace: Option<String>,

    /// How to print it: a table is a list of steps.
    #[command(flatten)]
    output: output::Flags,
}

#[derive(Debug, Subcommand)]
enum About {
    /// Why a pod has a sidecar, or has none
    Pod {
        /// NAME or NAMESPACE/NAME
        pod: String,
        #[command(flatten)]
        options: Options,
    },
    /// What is behind a service, and how it is treated
    Service {
        /// NAME, NAMESPACE/NAME or NAME.NAMESPACE
        service: String,
        #[command(flatten)]
        options: Options,
    },
    /// Where a connection of a pod goes
    Connection {
        /// Who connects: NAME or NAMESPACE/NAME
        pod: String,
        /// Where to: ADDRESS:PORT, or SERVICE:PORT as the pod would call it (echo:80,
        /// echo.shop.svc:http)
        #[arg(value_parser = Target::read)]
        target: Target,
        #[command(flatten)]
        options: Options,
    },
}

impl Args {
    /// Explains it.
    ///
    /// # Errors
    /// If the cluster can't be asked, or has no such thing.
    pub async fn run(self, cluster: &cluster::Flags) -> anyhow::Result<Exit> {
        let cluster = cluster.connect().await?;
        let read = |name: &str, options: &Options| {
            Named::read(name, options.namespace.as_deref(), &cluster)
        };
        let (explanation, options) = match self.about {
            About::Pod { pod, options } => {
                let named = read(&pod, &options)?;
                (about_pod(&cluster, &named).await?, options)
            }
            About::Service { service, options } => {
                let named = read(&slashed(&service), &options)?;
                let about = Box::pin(about_service(&cluster, &named)).await?;
                (about, options)
            }
            About::Connection {
                pod,
                target,
                options,
            } => {
                let named = read(&pod, &options)?;
                let about = Box::pin(about_connection(&cluster, &named, &target)).await?;
                (about, options)
            }
        };
        let output = options.output;
        output.print_text(&explanation, |colours| explanation.render(colours))?;
        Ok(Exit::Fine)
    }
}

/// `echo.shop` as `shop/echo`: names of services have no dots.
fn slashed(name: &str) -> String {
    let mut parts = name.splitn(3, '.');
    match (parts.next(), parts.next()) {
        (Some(service), Some(namespace)) if !name.contains('/') => format!("{namespace}/{service}"),
        _ => name.to_owned(),
    }
}

async fn about_pod(cluster: &Cluster, named: &Named) -> anyhow::Result<Explanation> {
    let pod = named.pod(cluster).await?;
    let namespace = ask::namespace(cluster, &named.namespace).await?;
    let limit_ranges = ask::limit_ranges(cluster, &named.namespace).await;
    let webhook = ask::webhook(cluster).await;
    let events = ask::events(cluster, &pod).await;
    Ok(explain::pod::explain(&explain::pod::Known {
        pod: &pod,
        namespace: &namespace,
        limit_ranges: &limit_ranges,
        options: &webhook.options,
        events: &events,
        is_installed: webhook.is_installed,
    }))
}

async fn about_service(cluster: &Cluster, named: &Named) -> anyhow::Result<Explanation> {
    let services: Api<Service> = Api::namespaced(cluster.client(), &named.namespace);
    let doing = format!("get Service {}/{}", named.namespace, named.name);
    let service = services.get(&named.name).await.asked(&doing)?;
    if let Some(alias) = explain::service::alias(&service) {
        return Ok(alias);
    }
    let instances = ask::instances(cluster, &named.namespace, &named.name).await;
    let instances = instances.map_err(|error| format!("{error:#}"));
    let selected = ask::selected(cluster, &service).await;
    Ok(explain::service::explain(&explain::service::Known {
        service: &service,
        instances: instances.as_deref().map_err(String::as_str),
        selected,
    }))
}

async fn about_connection(
    cluster: &Cluster,
    named: &Named,
    target: &Target,
) -> anyhow::Result<Explanation> {
    let pod = named.pod(cluster).await?;
    let found = target.find(cluster, &named.namespace).await?;
    let namespace = ask::namespace(cluster, &named.namespace).await?;
    let limit_ranges = ask::limit_ranges(cluster, &named.namespace).await;
    let webhook = ask::webhook(cluster).await;
    let judgement = judge(&pod, &namespace, &limit_ranges, &webhook.options);
    let not_injected = match judgement.standing {
        Standing::Injected(_) => None,
        Standing::Missing => Some("not_asked_about"),
        Standing::Skipped(reason) => Some(reason.as_str()),
    };
    let config = match not_injected {
        Some(why) => Err(why.to_owned()),
        None => mesh::config(&cluster.client(), &pod)
            .await
            .map_err(|error| error.line()),
    };
    let catalog = match &found.owner {
        explain::connection::Owner::Service {
            namespace, name, ..
        } => ask::instances(cluster, namespace, name).await.ok(),
        _ => None,
    };
    Ok(explain::connection::explain(&explain::connection::Known {
        pod: &pod,
        not_injected,
        target: found.address,
        asked_as: &target.to_string(),
        of_addresses: found.of_addresses,
        owner: &found.owner,
        config: config.as_ref().map_err(String::as_str),
        catalog: catalog.as_deref(),
    }))
}
