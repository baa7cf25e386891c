//! `netting config`: what a sidecar holds.

use serde_json::Value;

use crate::{
    cluster,
    commands::named::Named,
    exit::Exit,
    forward::NoAnswer,
    mesh,
    output::{self, Cell, Table, Tone},
    sidecar::{Config, Destination},
};

const EXAMPLES: &str = "\
Examples:
  netting config shop/web-7d4b-x2x
  netting config -n shop web-7d4b-x2x -o json";

/// Whose.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The pod: NAME or NAMESPACE/NAME
    pod: String,

    /// The pod's namespace; by default the context's
    #[arg(short = 'n', long, value_name = "NAME")]
    namespace: Option<String>,

    /// How to print it.
    #[command(flatten)]
    output: output::Flags,
}

impl Args {
    /// Prints it.
    ///
    /// # Errors
    /// If the pod doesn't answer.
    pub async fn run(self, cluster: &cluster::Flags) -> anyhow::Result<Exit> {
        let cluster = cluster.connect().await?;
        let named = Named::read(&self.pod, self.namespace.as_deref(), &cluster)?;
        let pod = named.pod(&cluster).await?;
        let text = mesh::ask(&cluster.client(), &pod, "/config").await;
        let text = text.map_err(NoAnswer::into_error)?;
        let config = mesh::read_config(&text).map_err(NoAnswer::into_error)?;
        // All that it says, also what this version does not know.
        let all: Value = serde_json::from_str(&text)?;
        self.output.print(&all, || table(&config))?;
        Ok(Exit::Fine)
    }
}

fn table(config: &Config) -> Table {
    let mut table = Table::new([
        "ADDRESS",
        "DESTINATION",
        "PROTOCOL",
        "ENDPOINT",
        "STATE",
        "RESPONSE",
    ])
    .wide(["POD", "ZONE", "MESHED", "OPEN", "REQUESTS"]);
    for held in &config.destinations {
        if held.endpoints.is_empty() {
            table.row([
                Cell::from(held.address.as_str()),
                title(held),
                held.protocol_hint.as_str().into(),
                Tone::Faint.cell("-"),
            ]);
        }
        for endpoint in &held.endpoints {
            let state = match (endpoint.ejected_for_ms, endpoint.is_used()) {
                (Some(_), _) => Tone::Bad.cell("ejected"),
                (None, true) => Tone::Good.cell("used"),
                (None, false) => Tone::Warning.cell("unused"),
            };
            table.row([
                Cell::from(held.address.as_str()),
                title(held),
                held.protocol_hint.as_str().into(),
                endpoint.address.as_str().into(),
                state,
                crate::stat::millis(endpoint.response_ms),
                endpoint.pod.as_str().into(),
                endpoint.zone.as_str().into(),
                endpoint.meshed.to_string().into(),
                endpoint.connections_open.to_string().into(),
                endpoint.requests_total.to_string().into(),
            ]);
        }
    }
    table
}

fn title(held: &Destination) -> Cell {
    match held.kind.as_str() {
        "unknown" => Tone::Faint.cell("unknown: passed through"),
        "waiting" => Tone::Warning.cell("waiting for the catalog"),
        _ => held.title().into(),
    }
}
