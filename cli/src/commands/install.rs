//! `netting install`.

use std::{collections::BTreeSet, time::Duration};

use anyhow::bail;
use serde_json::Value;

use crate::{
    cluster::{self, Cluster, Version},
    exit::Exit,
    installation::{
        Installation,
        apply::{self, How},
        escalation,
        permissions::{self, Action},
        progress::Progress,
        ready, removal,
        trial::{self, Trial},
    },
    manifests::{self, Settings},
    output::Tone,
    workload::how_to_restart_all,
};

const EXAMPLES: &str = "\
Examples:
  netting install
  netting install --ha --image registry.example.com/netting:0.1.0
  netting install --dry-run
  netting install --system-namespace mesh --webhook-set proxy-log=warn

Then label a namespace, and restart what is in it:
  kubectl label namespace shop netting.dev/inject=enabled
  kubectl -n shop rollout restart deployment,statefulset,daemonset

Objects are applied by the API server (server-side apply), as the field manager
\"netting\". If it breaks off, the same command goes on from there.";

/// What is installed, and how.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What is installed.
    #[command(flatten)]
    settings: Settings,

    /// How it is applied.
    #[command(flatten)]
    pub(super) applying: Applying,
}

/// How objects are applied, and what is waited for.
#[derive(Clone, Debug, clap::Args)]
pub struct Applying {
    /// Change nothing; say what would change
    #[arg(long)]
    dry_run: bool,

    /// Don't wait until the control plane works
    #[arg(long)]
    no_wait: bool,

    /// How long to wait for it
    #[arg(long, value_name = "DURATION", default_value = "3m", value_parser = humantime::parse_duration)]
    timeout: Duration,

    /// Take fields over that another field manager has set
    #[arg(long)]
    force_conflicts: bool,
}

impl Args {
    /// Installs Netting, or goes on with what an earlier run began.
    ///
    /// # Errors
    /// If something stands in the way, or it doesn't work in time.
    pub async fn run(&self, cluster: &cluster::Flags) -> anyhow::Result<Exit> {
        let cluster = cluster.connect().await?;
        let objects = objects(&self.settings, &cluster)?;
        let mut needed = self.applying.needed(&cluster, &objects);
        needed.extend(permissions::looking(&cluster.system_namespace));
        permissions::check(&cluster, &needed).await?;
        let found = Installation::find(&cluster).await?;
        let objects = found.adapted(objects);
        if let Some(obstacle) = obstacle(&found, &self.settings, &objects) {
            bail!(obstacle);
        }
        if found.is_guest() {
            Progress::new().say(Tone::Warning, "kept", &kept(&cluster.system_namespace));
        }
        self.applying.apply(&cluster, &objects, &found).await?;
        if !self.applying.dry_run {
            Progress::new().title(&next());
        }
        Ok(Exit::Fine)
    }
}

fn next() -> String {
    let restart = how_to_restart_all("NAMESPACE");
    format!(
        "Netting is installed. To mesh what is in a namespace:\n  \
         kubectl label namespace NAMESPACE netting.dev/inject=enabled\n  {restart}"
    )
}

/// Of a namespace that somebody else has made.
fn kept(namespace: &str) -> String {
    format!(
        "Namespace {namespace}: it was there before, so it is neither labelled nor ever removed; if \
         nothing else runs in it, have it enforce what Netting meets: kubectl label namespace {namespace} \
         pod-security.kubernetes.io/enforce=restricted"
    )
}

/// The manifests for a cluster, with a note of what was asked for.
///
/// # Errors
/// If a setting is wrong, or the cluster too old.
pub(super) fn objects(settings: &Settings, cluster: &Cluster) -> anyhow::Result<Vec<Value>> {
    let (namespace, version) = (&cluster.system_namespace, &cluster.version);
    if let Some(too_old) = too_old(version) {
        bail!(too_old);
    }
    let mut objects = manifests::render(settings, namespace, Some(version))?;
    manifests::record(settings, &mut objects);
    Ok(objects)
}

fn too_old(version: &Version) -> Option<String> {
    let (major, minor) = Version::OLDEST;
    version.is_before(major, minor).then(|| {
        format!("the API server is {version}; Netting needs Kubernetes {major}.{minor} or later: upgrade the cluster first")
    })
}

/// What stands in the way of an installation, with what to do about it.
fn obstacle(found: &Installation, settings: &Settings, objects: &[Value]) -> Option<String> {
    if let Some(obstacle) = found.in_the_way() {
        return Some(obstacle);
    }
    let own = env!("CARGO_PKG_VERSION");
    let versions = found.versions();
    let other = versions.iter().find(|(_, version)| **version != own);
    if let Some((part, version)) = other {
        return Some(format!(
            "{part} is there as version {version}, and this is {own}: use netting upgrade"
        ));
    }
    let is_whole = found.missing(objects).is_empty();
    if is_whole && found.settings().ok().as_ref() != Some(settings) {
        return Some(
            "Netting is installed already, with other settings; netting upgrade changes those \
             that are given, and keeps the others"
                .to_owned(),
        );
    }
    None
}

impl Applying {
    /// Applies the objects after asking whether that is allowed, and waits.
    ///
    /// # Errors
    /// If it isn't, one is refused, or it doesn't work in time.
    pub(super) async fn apply(
        &self,
        cluster: &Cluster,
        objects: &[Value],
        found: &Installation,
    ) -> anyhow::Result<()> {
        let left_over = found.superfluous(objects);
        let mut needed = self.needed(cluster, objects);
        let going: Vec<Value> = left_over.iter().map(|object| (*object).clone()).collect();
        needed.extend(permissions::needed(&["get", "delete"], &going));
        permissions::check(cluster, &needed).await?;
        escalation::check(cluster, objects, found).await?;
        let how = How {
            dry_run: self.dry_run,
            force: self.force_conflicts,
        };
        apply::all(cluster, objects, found, how).await?;
        if self.dry_run {
            for object in left_over {
                Progress::new().say(Tone::Bad, "remove", &manifests::title(object));
            }
            return Ok(());
        }
        let trial = if self.no_wait {
            None
        } else {
            Some(ready::until_it_works(cluster, self.timeout).await?)
        };
        removal::left_over(cluster, &left_over, self.timeout).await?;
        match trial {
            Some(Trial::Refused(refusal)) => bail!(
                "the control plane works, but pods with a sidecar are refused here: a namespace that \
                 is labelled gets no new pods; {}",
                trial::advice(&refusal)
            ),
            _ => Ok(()),
        }
    }

    /// What has to be allowed for it.
    fn needed(&self, cluster: &Cluster, objects: &[Value]) -> BTreeSet<Action> {
        let mut needed = permissions::needed(&["get", "create", "patch"], objects);
        if !self.no_wait && !self.dry_run {
            let namespace = cluster.system_namespace.as_str();
            needed.insert(Action::core("list", "pods", Some(namespace)));
            let tried = Some(trial::NAMESPACE);
            needed.insert(Action::core("create", "pods", tried));
        }
        needed
    }

    /// Whether nothing is to change.
    pub(super) fn is_dry_run(&self) -> bool {
        self.dry_run
    }
}

#[cfg(test)]
mod tests;
