//! `netting upgrade`: the control plane first; sidecars follow when their pods are
//! restarted.

use anyhow::{Context as _, bail};

use crate::{
    cluster,
    exit::{Exit, Usage},
    installation::{
        Installation, Refusal,
        permissions::{self, Action},
        progress::Progress,
        removal, upgrade_refusal,
    },
    manifests::{IMAGE, Settings},
    workload::how_to_restart_all,
};

use super::install::{self, Applying};

const EXAMPLES: &str = "\
Examples:
  netting upgrade
  netting upgrade --dry-run
  netting upgrade --ha
  netting upgrade --image registry.example.com/netting:0.2.0

Settings that aren't given stay as they were. The control plane is replaced without a
failed request; pods keep the sidecars that they have until they are restarted.";

/// What changes, and how.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What changes.
    #[command(flatten)]
    settings: Settings,

    /// Forget the settings of the installation: those that aren't given are as in the
    /// manifests
    #[arg(long)]
    reset_settings: bool,

    /// Go back to this version, though what is there is newer
    #[arg(long)]
    allow_downgrade: bool,

    /// Leave out versions in between, though sidecars of the old version aren't tested
    /// with this one
    #[arg(long)]
    allow_skip: bool,

    /// How it is applied.
    #[command(flatten)]
    applying: Applying,
}

impl Args {
    /// Upgrades Netting, or changes its settings.
    ///
    /// # Errors
    /// If there is nothing to upgrade, something stands in the way, or it doesn't work
    /// in time.
    pub async fn run(&self, cluster: &cluster::Flags) -> anyhow::Result<Exit> {
        let cluster = cluster.connect().await?;
        let namespace = &cluster.system_namespace;
        let mut needed = permissions::looking(namespace);
        // Those with a sidecar, which are told of at the end.
        needed.insert(Action::core("list", "pods", None));
        permissions::check(&cluster, &needed).await?;
        let found = Installation::find(&cluster).await?;
        if let Some(obstacle) = found.in_the_way() {
            bail!(obstacle);
        }
        let versions = found.versions();
        if versions.is_empty() {
            bail!("Netting is not installed in the namespace {namespace}: use netting install");
        }
        let own = env!("CARGO_PKG_VERSION");
        self.refuse(upgrade_refusal(&versions, own), own)?;
        let settings = self.settings(&found)?;
        let objects = found.adapted(install::objects(&settings, &cluster)?);
        self.applying.apply(&cluster, &objects, &found).await?;
        if self.applying.is_dry_run() {
            return Ok(Exit::Fine);
        }
        let progress = Progress::new();
        progress.title(&format!("The control plane is of version {own}."));
        let meshed = removal::meshed_pods(&cluster).await?;
        if versions.values().any(|version| *version != own) && !meshed.is_empty() {
            progress.title("Pods keep the sidecars that they have; when it suits:");
            for namespace in meshed.keys() {
                progress.title(&format!("  {}", how_to_restart_all(namespace)));
            }
        }
        Ok(Exit::Fine)
    }

    fn refuse(&self, refusal: Option<Refusal>, own: &str) -> anyhow::Result<()> {
        match refusal {
            Some(Refusal::Downgrade { there }) if !self.allow_downgrade => bail!(
                "{there} is newer than this command, which is {own}: use a newer one, or go back by --allow-downgrade"
            ),
            Some(Refusal::Skips { there }) if !self.allow_skip => bail!(
                "from {there} to {own} is more than one minor version: upgrade one by one, or leave them out by --allow-skip"
            ),
            _ => Ok(()),
        }
    }

    /// Those given, over those that it was installed with.
    fn settings(&self, found: &Installation) -> anyhow::Result<Settings> {
        if self.reset_settings {
            return Ok(self.settings.clone());
        }
        let before = found.settings().context(
            "the settings of the installation can't be read; give those that you want, and --reset-settings",
        )?;
        own_image_is_given(&self.settings, &before, found)?;
        Ok(self.settings.clone().over(before))
    }
}

/// An image from elsewhere is of the old version: what the new one is called there,
/// nobody can know.
fn own_image_is_given(
    given: &Settings,
    before: &Settings,
    found: &Installation,
) -> Result<(), Usage> {
    let same_version = found
        .versions()
        .values()
        .all(|version| *version == env!("CARGO_PKG_VERSION"));
    match &before.image {
        Some(image) if given.image.is_none() && !same_version => Err(Usage(format!(
            "the installation has the image {image}; name the one of this version by --image, or the public one: --image {IMAGE}"
        ))),
        _ => Ok(()),
    }
}
