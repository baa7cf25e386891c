//! The flags for what is installed, read into what they change.

use netting_webhook::{
    names,
    options::{Exporters, LogFilter},
};
use serde::{Deserialize, Serialize};

use super::flags::{self, understood_by_the_webhook};
use crate::{cluster::SYSTEM_NAMESPACE, exit::Usage, installation::trial};

/// The image that the manifests name.
pub const IMAGE: &str = concat!("ghcr.io/netting-dev/netting:", env!("CARGO_PKG_VERSION"));

/// What is installed. What isn't given is as in the manifests, or when something is
/// there already, as it was installed.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Settings {
    /// Image of the control plane, and of what is injected; by default the one of this
    /// version
    #[arg(long, env = "NETTING_IMAGE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,

    /// When kubelets pull the image; left to Kubernetes by default
    #[arg(long, env = "NETTING_IMAGE_PULL_POLICY", value_name = "POLICY", value_parser = ["Always", "IfNotPresent", "Never"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<String>,

    /// Two replicas of each part, with PodDisruptionBudgets
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ha: Option<bool>,

    /// What becomes of a pod that asks for a sidecar while the webhook can't be asked:
    /// Ignore (the default) starts it without one, Fail refuses it
    #[arg(long, value_name = "POLICY", value_parser = ["Ignore", "Fail"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_policy: Option<String>,

    /// Log filter of the control plane: a level, or directives such as
    /// info,netting_webhook=debug
    #[arg(long, value_name = "FILTER", value_parser = log_filter)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,

    /// Log format of the control plane: json or text
    #[arg(long, value_name = "FORMAT", value_parser = ["json", "text"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<String>,

    /// A flag of netting-webhook, such as proxy-log=warn; may be given several times
    #[arg(long = "webhook-set", value_name = "FLAG=VALUE", value_parser = flag)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub webhook: Vec<String>,

    /// A flag of netting-catalog, such as streams-max=20000; may be given several times
    #[arg(long = "catalog-set", value_name = "FLAG=VALUE", value_parser = flag)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub catalog: Vec<String>,
}

/// What is other than in the manifests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) namespace: Option<String>,
    pub(super) image: Option<String>,
    pub(super) failure_policy: Option<String>,
    pub(super) image_pull_policy: Option<String>,
    pub(super) webhook: Container,
    pub(super) catalog: Container,
}

/// What is other about a part's container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Container {
    /// Variables to add.
    pub(super) env: Vec<(&'static str, String)>,
    /// The list of exporters, if one is given: what it refers to is to be among the variables.
    pub(super) exporters: Option<Exporters>,
    /// Arguments to give.
    pub(super) args: Vec<String>,
}

impl Settings {
    /// These, and for what they leave out `before`, which goes for each flag of a part.
    #[must_use]
    pub fn over(self, before: Self) -> Self {
        Self {
            image: self.image.or(before.image),
            image_pull_policy: self.image_pull_policy.or(before.image_pull_policy),
            ha: self.ha.or(before.ha),
            failure_policy: self.failure_policy.or(before.failure_policy),
            log: self.log.or(before.log),
            log_format: self.log_format.or(before.log_format),
            webhook: flags_over(self.webhook, before.webhook),
            catalog: flags_over(self.catalog, before.catalog),
        }
    }

    /// # Errors
    /// If the namespace or the image can't be Netting's, the webhook or the catalog would
    /// refuse its flags, or the manifests don't follow one.
    pub(super) fn changes(&self, namespace: &str) -> Result<Changes, Usage> {
        if namespace == trial::NAMESPACE {
            return Err(Usage(format!(
                "--system-namespace {namespace}: its pods would never get a sidecar, and the pod \
                 on trial there neither; give Netting a namespace of its own"
            )));
        }
        let image = self.image.as_deref().unwrap_or(IMAGE);
        if image.is_empty() || image.contains(char::is_whitespace) {
            return Err(Usage(format!("--image {image:?} names no image")));
        }
        let mut changes = Changes {
            namespace: Some(namespace.to_owned()).filter(|name| name != SYSTEM_NAMESPACE),
            image: Some(image.to_owned()).filter(|image| image != IMAGE),
            failure_policy: self.failure_policy.clone(),
            image_pull_policy: self.image_pull_policy.clone(),
            webhook: Container::with_flags(&self.webhook),
            catalog: Container::with_flags(&self.catalog),
        };
        understood_by_the_webhook(&self.webhook)?;
        flags::CATALOG.read(&self.catalog)?;
        if changes.namespace.is_some() {
            let catalog = ("NETTING_CATALOG", names::catalog_in(namespace));
            changes.webhook.env.push(catalog);
        }
        if let Some(policy) = &self.image_pull_policy {
            let of_sidecars = ("NETTING_IMAGE_PULL_POLICY", policy.clone());
            changes.webhook.env.push(of_sidecars);
        }
        for part in [&mut changes.webhook, &mut changes.catalog] {
            let log = self.log.iter().map(|log| ("NETTING_LOG", log.clone()));
            part.env.extend(log);
            let format = self.log_format.iter();
            part.env
                .extend(format.map(|format| ("NETTING_LOG_FORMAT", format.clone())));
        }
        Ok(changes)
    }
}

impl Container {
    fn with_flags(flags: &[String]) -> Self {
        let telemetry = flags
            .iter()
            .find_map(|flag| flag.strip_prefix("telemetry="));
        Self {
            env: Vec::new(),
            exporters: telemetry.and_then(|list| Exporters::read(list).0),
            args: flags.iter().map(|flag| format!("--{flag}")).collect(),
        }
    }
}

fn log_filter(text: &str) -> Result<String, String> {
    let filter: LogFilter = text
        .parse()
        .map_err(|error: netting_webhook::options::NotALogFilter| error.to_string())?;
    Ok(filter.to_string())
}

fn flags_over(given: Vec<String>, before: Vec<String>) -> Vec<String> {
    fn name(flag: &str) -> &str {
        flag.split('=').next().unwrap_or_default()
    }
    let mut all = before;
    all.retain(|flag| !given.iter().any(|other| name(other) == name(flag)));
    all.extend(given);
    all
}

/// `name=value`, where the name is a flag's; the dashes before it may be there.
fn flag(text: &str) -> Result<String, String> {
    let text = text.strip_prefix("--").unwrap_or(text);
    let name = text.split('=').next().unwrap_or_default();
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.starts_with('-') || !name.chars().all(inner) {
        return Err("expected a flag's name and its value, such as log-format=json".to_owned());
    }
    Ok(text.to_owned())
}
