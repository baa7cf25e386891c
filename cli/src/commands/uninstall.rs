//! `netting uninstall`: leaves nothing.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, IsTerminal as _},
    time::Duration,
};

use anyhow::bail;
use serde_json::Value;

use crate::{
    cluster,
    exit::{Exit, Usage},
    installation::{
        Installation,
        permissions::{self, Action},
        progress::Progress,
        removal,
    },
    manifests,
    output::Tone,
};

const EXAMPLES: &str = "\
Examples:
  netting uninstall
  netting uninstall --yes
  netting uninstall --dry-run

Pods keep their sidecars until they are restarted, and go on working: sidecars that
have no catalog pass connections through. Labels and annotations of your own namespaces
and workloads stay. If it breaks off, the same command goes on from there.";

/// How it is asked, and waited for.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Don't ask
    #[arg(short, long)]
    yes: bool,

    /// Change nothing; say what would go
    #[arg(long)]
    dry_run: bool,

    /// How long to wait until everything is gone
    #[arg(long, value_name = "DURATION", default_value = "3m", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

impl Args {
    /// Removes Netting from the cluster, or what an earlier run left of it.
    ///
    /// # Errors
    /// If something can't be removed, or isn't gone in time.
    pub async fn run(&self, cluster: &cluster::Flags) -> anyhow::Result<Exit> {
        let cluster = cluster.connect().await?;
        let namespace = &cluster.system_namespace;
        let found = Installation::find(&cluster).await?;
        if found.is_helms() {
            bail!(
                "Helm has installed Netting here: helm uninstall removes it; run this again for what is left then"
            );
        }
        let progress = Progress::new();
        let mut objects = found.to_remove();
        let elsewhere = found.elsewhere();
        if let (Some(other), true) = (elsewhere, objects.is_empty()) {
            bail!(
                "what is there belongs to the installation in the namespace {other}: \
                 netting uninstall --system-namespace {other}"
            );
        }
        if objects.is_empty() {
            progress.title(&format!(
                "Nothing of Netting is in the cluster, nor in the namespace {namespace}."
            ));
            return Ok(Exit::Fine);
        }
        let strangers = removal::strangers(&cluster).await?;
        if !strangers.is_empty() {
            objects.retain(|object| object["kind"] != "Namespace");
        }
        if objects.is_empty() {
            progress.title(&stays(namespace, &strangers));
            return Ok(Exit::Fine);
        }
        let meshed = removal::meshed_pods(&cluster).await?;
        announce(progress, &objects, namespace, &strangers, &meshed);
        if self.dry_run {
            return Ok(Exit::Fine);
        }
        let values: Vec<Value> = objects.iter().map(|object| (*object).clone()).collect();
        let mut needed = permissions::needed(&["get", "delete"], &values);
        needed.insert(Action::core("list", "pods", Some(namespace)));
        permissions::check(&cluster, &needed).await?;
        if !self.yes && !is_sure()? {
            progress.title("Nothing was removed.");
            return Ok(Exit::NotWell);
        }
        removal::all(&cluster, &objects, self.timeout).await?;
        progress.title(&match (elsewhere, strangers.is_empty()) {
            (Some(other), _) => format!(
                "Nothing of this installation is left. Another is in the namespace {other}: \
                 netting uninstall --system-namespace {other}"
            ),
            (None, false) => format!(
                "Nothing of Netting is left but the namespace {namespace}, for what else is in it."
            ),
            (None, true) => "Nothing of Netting is left.".to_owned(),
        });
        Ok(Exit::Fine)
    }
}

fn announce(
    progress: Progress,
    objects: &[&Value],
    namespace: &str,
    strangers: &[String],
    meshed: &BTreeMap<String, usize>,
) {
    progress.title("This goes:");
    for object in objects {
        progress.say(Tone::Bad, "remove", &manifests::title(object));
    }
    if !strangers.is_empty() {
        progress.title(&stays(namespace, strangers));
    }
    if !meshed.is_empty() {
        progress.title(
            "These pods keep their sidecars, and go on without a mesh, until they are restarted:",
        );
        for (namespace, count) in meshed {
            progress.say(
                Tone::Warning,
                "restart",
                &format!(
                    "{count} in {namespace}: kubectl label namespace {namespace} netting.dev/inject-; \
                     kubectl -n {namespace} rollout restart deployment"
                ),
            );
        }
    }
}

fn stays(namespace: &str, strangers: &[String]) -> String {
    format!(
        "The namespace {namespace} stays, because not all in it is Netting's: {}",
        strangers.join(", ")
    )
}

fn is_sure() -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        return Err(
            Usage("there is nobody to ask: say --yes to remove all of this".to_owned()).into(),
        );
    }
    eprint!("Remove all of this? [y/N] ");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
