//! `netting uninstall`: leaves nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead as _, IsTerminal as _},
    time::Duration,
};

use anyhow::bail;
use serde_json::Value;

use crate::{
    cluster::{self, Cluster},
    exit::{Exit, Usage},
    installation::{
        Installation,
        permissions::{self, Action},
        progress::Progress,
        removal, strangers,
    },
    manifests,
    output::Tone,
    workload::how_to_restart_all,
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
        let mut needed = permissions::looking(namespace);
        needed.insert(Action::core("list", "pods", None));
        permissions::check(&cluster, &needed).await?;
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
        let is_noted = found.is_guest() && found.is_noted();
        if objects.is_empty() && !is_noted {
            progress.title(&format!(
                "Nothing of Netting is in the cluster, nor in the namespace {namespace}."
            ));
            return Ok(Exit::Fine);
        }
        let stays = Stays::of(&cluster, &found).await?;
        if stays.is_some() {
            objects.retain(|object| object["kind"] != "Namespace");
        }
        if let (Some(stays), true) = (&stays, objects.is_empty() && !is_noted) {
            progress.title(&stays.why(namespace));
            return Ok(Exit::Fine);
        }
        let meshed = removal::meshed_pods(&cluster).await?;
        announce(progress, &objects, &meshed);
        if let Some(stays) = &stays {
            progress.title(&stays.why(namespace));
        }
        if self.dry_run {
            return Ok(Exit::Fine);
        }
        permissions::check(&cluster, &needed_for(&objects, namespace, is_noted)).await?;
        if !self.yes && !is_sure()? {
            progress.title("Nothing was removed.");
            return Ok(Exit::NotWell);
        }
        removal::all(&cluster, &objects, self.timeout).await?;
        if is_noted {
            removal::forget(&cluster).await?;
        }
        progress.title(&done(namespace, elsewhere, stays.as_ref()));
        Ok(Exit::Fine)
    }
}

/// Why the namespace stays.
enum Stays {
    /// Somebody else has made it.
    Guest,
    /// There is something in it that is not Netting's.
    Strangers(Vec<String>),
}

impl Stays {
    async fn of(cluster: &Cluster, found: &Installation) -> anyhow::Result<Option<Self>> {
        if found.is_guest() {
            return Ok(Some(Self::Guest));
        }
        // Without the namespace there is nobody in it.
        if found.system_namespace().is_none() {
            return Ok(None);
        }
        let strangers = strangers::find(cluster).await?;
        Ok((!strangers.is_empty()).then_some(Self::Strangers(strangers)))
    }

    fn why(&self, namespace: &str) -> String {
        match self {
            Self::Guest => {
                format!("The namespace {namespace} stays, because it was not made by Netting.")
            }
            Self::Strangers(strangers) => format!(
                "The namespace {namespace} stays, because not all in it is Netting's: {}",
                strangers.join(", ")
            ),
        }
    }
}

fn needed_for(objects: &[&Value], namespace: &str, is_noted: bool) -> BTreeSet<Action> {
    let values: Vec<Value> = objects.iter().map(|object| (*object).clone()).collect();
    let mut needed = permissions::needed(&["get", "delete"], &values);
    needed.insert(Action::core("list", "pods", Some(namespace)));
    if is_noted {
        needed.insert(Action::core("patch", "namespaces", None));
    }
    needed
}

fn done(namespace: &str, elsewhere: Option<&str>, stays: Option<&Stays>) -> String {
    match (elsewhere, stays) {
        (Some(other), _) => format!(
            "Nothing of this installation is left. Another is in the namespace {other}: \
             netting uninstall --system-namespace {other}"
        ),
        (None, Some(Stays::Strangers(_))) => format!(
            "Nothing of Netting is left but the namespace {namespace}, for what else is in it."
        ),
        (None, Some(Stays::Guest)) => {
            format!("Nothing of Netting is left; the namespace {namespace} was not made by it.")
        }
        (None, None) => "Nothing of Netting is left.".to_owned(),
    }
}

fn announce(progress: Progress, objects: &[&Value], meshed: &BTreeMap<String, usize>) {
    progress.title("This goes:");
    for object in objects {
        progress.say(Tone::Bad, "remove", &manifests::title(object));
    }
    if !meshed.is_empty() {
        progress.title(
            "These pods keep their sidecars, and go on without a mesh, until they are restarted:",
        );
        for (namespace, count) in meshed {
            let restart = how_to_restart_all(namespace);
            let how = format!("kubectl label namespace {namespace} netting.dev/inject-; {restart}");
            let line = format!("{count} in {namespace}: {how}");
            progress.say(Tone::Warning, "restart", &line);
        }
    }
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
