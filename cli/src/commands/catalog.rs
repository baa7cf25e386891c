//! `netting catalog`: what the catalog knows, which is what sidecars are told.

mod watch;

use clap::Subcommand;

use crate::{
    cluster::{self, Scope},
    commands::named::Named,
    exit::Exit,
    output::{self, Cell, Table, Tone},
    queries::{Catalog, Instance, Services},
};

const EXAMPLES: &str = "\
Examples:
  netting catalog services -A
  netting catalog endpoints shop/echo -o wide
  netting catalog watch shop/echo               a line for each endpoint that changes";

/// Which of it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print the services and the names of their ports
    Services {
        /// Of which namespaces.
        #[command(flatten)]
        scope: Scope,
        /// How to print it.
        #[command(flatten)]
        output: output::Flags,
    },
    /// Print the endpoints of a service
    Endpoints {
        /// NAME or NAMESPACE/NAME
        service: String,
        /// The service's namespace; by default the context's
        #[arg(short = 'n', long, value_name = "NAME")]
        namespace: Option<String>,
        /// How to print it.
        #[command(flatten)]
        output: output::Flags,
    },
    /// Print the endpoints of a service whenever they change, until interrupted
    Watch(watch::Args),
}

impl Args {
    /// Asks it.
    ///
    /// # Errors
    /// If the cluster or the catalog can't be asked.
    pub async fn run(self, cluster: &cluster::Flags) -> anyhow::Result<Exit> {
        let cluster = cluster.connect().await?;
        match self.what {
            What::Services { scope, output } => {
                let mut catalog = Catalog::open(&cluster).await?;
                let services = catalog.services(scope.in_cluster(&cluster)).await?;
                output.print(&services, || services_table(&services))?;
            }
            What::Endpoints {
                service,
                namespace,
                output,
            } => {
                let named = Named::read(&service, namespace.as_deref(), &cluster)?;
                let mut catalog = Catalog::open(&cluster).await?;
                let endpoints = catalog.endpoints(&named.namespace, &named.name).await?;
                output.print(&endpoints, || endpoints_table(&endpoints))?;
                if endpoints.is_empty() {
                    eprintln!(
                        "netting: the catalog knows no endpoints of {}/{}",
                        named.namespace, named.name
                    );
                }
            }
            What::Watch(args) => Box::pin(args.run(&cluster)).await?,
        }
        Ok(Exit::Fine)
    }
}

fn services_table(services: &Services) -> Table {
    let mut table = Table::new(["SERVICE", "PORTS"]);
    for (name, ports) in services {
        table.row([name.clone(), ports.join(",")]);
    }
    table
}

fn endpoints_table(endpoints: &[Instance]) -> Table {
    let mut table = Table::new(["ENDPOINT", "PORT", "ADDRESS", "STATE", "MESHED"]).wide([
        "NODE",
        "ZONE",
        "PROTOCOL",
        "SERVICE ACCOUNT",
    ]);
    for one in endpoints {
        let state = match one.readiness() {
            "ready" => Tone::Good.cell("ready"),
            other => Tone::Warning.cell(other),
        };
        table.row([
            Cell::from(one.service.id.as_str()),
            one.service.tags.join(",").into(),
            format!("{}:{}", one.service.address, one.service.port).into(),
            state,
            one.meta("meshed").into(),
            one.node.node.as_str().into(),
            one.meta("zone").into(),
            one.meta("protocol").into(),
            one.meta("service-account").into(),
        ]);
    }
    table
}
