//! The flags for what is installed, read into what they change.

use clap::{Parser as _, ValueEnum};
use netting_webhook::options::{ImagePullPolicy, LogFilter};
use serde::Serialize;

use crate::{cluster::SYSTEM_NAMESPACE, exit::Usage};

/// The image that the manifests name.
pub(super) const IMAGE: &str = concat!("ghcr.io/netting-dev/netting:", env!("CARGO_PKG_VERSION"));

/// What is installed.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Image of the control plane, and of what is injected
    #[arg(long, env = "NETTING_IMAGE", default_value = IMAGE)]
    pub image: String,

    /// When kubelets pull the image; left to Kubernetes if not given
    #[arg(long, env = "NETTING_IMAGE_PULL_POLICY", value_name = "POLICY")]
    pub image_pull_policy: Option<ImagePullPolicy>,

    /// Two replicas of each part, with PodDisruptionBudgets
    #[arg(long)]
    pub ha: bool,

    /// What becomes of a pod that asks for a sidecar while the webhook can't be asked:
    /// Ignore starts it without one, Fail refuses it
    #[arg(long, value_name = "POLICY", default_value = "Ignore")]
    pub failure_policy: FailurePolicy,

    /// Log filter of the control plane: a level, or directives such as
    /// info,netting_webhook=debug
    #[arg(long, value_name = "FILTER")]
    pub log: Option<LogFilter>,

    /// Log format of the control plane: json or text
    #[arg(long, value_name = "FORMAT", value_parser = ["json", "text"])]
    pub log_format: Option<String>,

    /// A flag of netting-webhook, such as proxy-log=warn; may be given several times
    #[arg(long = "webhook-set", value_name = "FLAG=VALUE", value_parser = flag)]
    pub webhook: Vec<String>,

    /// A flag of netting-catalog, such as streams-max=20000; may be given several times
    #[arg(long = "catalog-set", value_name = "FLAG=VALUE", value_parser = flag)]
    pub catalog: Vec<String>,
}

/// `failurePolicy` of a webhook configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum FailurePolicy {
    /// The pod starts as it is.
    #[default]
    Ignore,
    /// The pod is refused.
    Fail,
}

impl ValueEnum for FailurePolicy {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Ignore, Self::Fail]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(self.as_str().into())
    }
}

impl FailurePolicy {
    /// Kubernetes' name for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ignore => "Ignore",
            Self::Fail => "Fail",
        }
    }
}

/// What is other than in the manifests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) namespace: Option<String>,
    pub(super) image: Option<String>,
    pub(super) failure_policy: Option<FailurePolicy>,
    pub(super) image_pull_policy: Option<&'static str>,
    pub(super) webhook: Container,
    pub(super) catalog: Container,
}

/// What is other about a part's container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Container {
    /// Variables to add.
    pub(super) env: Vec<(&'static str, String)>,
    /// Arguments to give.
    pub(super) args: Vec<String>,
}

impl Settings {
    /// As they are without any flag.
    #[must_use]
    pub fn defaults() -> Self {
        Self {
            image: IMAGE.to_owned(),
            image_pull_policy: None,
            ha: false,
            failure_policy: FailurePolicy::Ignore,
            log: None,
            log_format: None,
            webhook: Vec::new(),
            catalog: Vec::new(),
        }
    }

    /// # Errors
    /// If the image's name can't be one, or the webhook would refuse its flags.
    pub(super) fn changes(&self, namespace: &str) -> Result<Changes, Usage> {
        if self.image.is_empty() || self.image.contains(char::is_whitespace) {
            return Err(Usage(format!("--image {:?} names no image", self.image)));
        }
        let mut changes = Changes {
            webhook: Container {
                env: Vec::new(),
                args: arguments(&self.webhook),
            },
            catalog: Container {
                env: Vec::new(),
                args: arguments(&self.catalog),
            },
            ..Changes::default()
        };
        if namespace != SYSTEM_NAMESPACE {
            changes.namespace = Some(namespace.to_owned());
            let catalog = format!("netting-catalog.{namespace}.svc:15010");
            changes.webhook.env.push(("NETTING_CATALOG", catalog));
        }
        if self.image != IMAGE {
            changes.image = Some(self.image.clone());
        }
        if self.failure_policy != FailurePolicy::default() {
            changes.failure_policy = Some(self.failure_policy);
        }
        if let Some(policy) = self.image_pull_policy {
            changes.image_pull_policy = Some(policy.as_str());
            let of_sidecars = ("NETTING_IMAGE_PULL_POLICY", policy.as_str().to_owned());
            changes.webhook.env.push(of_sidecars);
        }
        for part in [&mut changes.webhook, &mut changes.catalog] {
            if let Some(log) = &self.log {
                part.env.push(("NETTING_LOG", log.to_string()));
            }
            if let Some(format) = &self.log_format {
                part.env.push(("NETTING_LOG_FORMAT", format.clone()));
            }
        }
        understood(&changes.webhook.args)?;
        Ok(changes)
    }
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

fn arguments(flags: &[String]) -> Vec<String> {
    flags.iter().map(|flag| format!("--{flag}")).collect()
}

/// Has the webhook's own parser look at its flags, before a pod fails of them.
fn understood(args: &[String]) -> Result<(), Usage> {
    if args.is_empty() {
        return Ok(());
    }
    let args = std::iter::once("netting-webhook").chain(args.iter().map(String::as_str));
    let parsed = netting_webhook::Args::try_parse_from(args).map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        Usage(format!(
            "--webhook-set: {}",
            first.trim_start_matches("error: ")
        ))
    })?;
    match parsed.options() {
        Ok(_) => Ok(()),
        Err(error) => Err(Usage(format!("--webhook-set: {error}"))),
    }
}
