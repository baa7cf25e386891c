//! `netting catalog watch`: what becomes of a service's endpoints.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    cluster::Cluster,
    commands::named::Named,
    output,
    queries::{Catalog, Instance, Versioned},
};

/// How long one question waits; the next one goes on where it ended.
const WAIT: Duration = Duration::from_secs(55);

/// Whose endpoints.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// NAME or NAMESPACE/NAME
    service: String,

    /// The service's namespace; by default the context's
    #[arg(short = 'n', long, value_name = "NAME")]
    namespace: Option<String>,

    /// End after so many changes; the first look is none
    #[arg(long, value_name = "COUNT")]
    changes: Option<usize>,
}

type States = BTreeMap<String, String>;

impl Args {
    pub(super) async fn run(self, cluster: &Cluster) -> anyhow::Result<()> {
        let named = Named::read(&self.service, self.namespace.as_deref(), cluster)?;
        let path = format!("/v1/health/service/{}?ns={}", named.name, named.namespace);
        let mut catalog = Catalog::open(cluster).await?;
        let (mut index, mut before, mut seen) = (0, States::new(), 0);
        loop {
            let asked = catalog.changed::<Vec<Instance>>(&path, index, WAIT).await;
            let Versioned {
                value,
                index: version,
            } = match asked {
                Ok(answer) => answer,
                // Its pod may have been replaced; another one knows the same.
                Err(error) if index > 0 => {
                    eprintln!("netting: asking another catalog: {error:#}");
                    catalog = Catalog::open(cluster).await?;
                    index = 0;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let now = states(&value);
            let lines = changes(&before, &now);
            if !lines.is_empty() {
                output::write(&lines)?;
                seen += usize::from(index > 0);
            }
            if self.changes.is_some_and(|wanted| seen >= wanted) {
                return Ok(());
            }
            (before, index) = (now, version.max(1));
        }
    }
}

fn states(instances: &[Instance]) -> States {
    let states = instances.iter().map(|one| {
        let port = one.service.tags.join(",");
        let address = format!("{}:{}", one.service.address, one.service.port);
        let id = format!("{} {address} {port}", one.service.id);
        (id.trim_end().to_owned(), one.readiness().to_owned())
    });
    states.collect()
}

/// A line for each endpoint that came, went or changed.
fn changes(before: &States, now: &States) -> String {
    let came = now.iter().filter_map(|(id, state)| match before.get(id) {
        None => Some(format!("+ {id}: {state}\n")),
        Some(was) if was != state => Some(format!("~ {id}: {state}, was {was}\n")),
        Some(_) => None,
    });
    let went = before.keys().filter(|id| !now.contains_key(*id));
    came.chain(went.map(|id| format!("- {id}\n"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_of_an_endpoint_is_a_line() {
        let states = |pairs: &[(&str, &str)]| -> States {
            pairs
                .iter()
                .map(|(id, state)| ((*id).to_owned(), (*state).to_owned()))
                .collect()
        };
        let before = states(&[("a", "ready"), ("b", "ready"), ("c", "ready")]);
        let now = states(&[("a", "ready"), ("b", "not ready"), ("d", "ready")]);
        assert_eq!(
            changes(&before, &now),
            "~ b: not ready, was ready\n+ d: ready\n- c\n"
        );
        assert_eq!(changes(&now, &now), "");
    }
}
