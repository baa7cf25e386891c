//! How the webhook of a cluster is configured, as its Deployment says.

use clap::{Arg, CommandFactory as _, FromArgMatches as _, builder::Resettable};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Container};
use netting_webhook::{Args, Options, args::SidecarChoice};

/// The options of the webhook that this Deployment runs, in a cluster with or without
/// native sidecars. Without a Deployment those of a webhook without flags.
///
/// # Errors
/// What the webhook itself would say of its flags.
pub fn options_of(webhook: Option<&Deployment>, native_sidecars: bool) -> anyhow::Result<Options> {
    let container = webhook.and_then(|deployment| {
        let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
        pod.containers.first()
    });
    let namespace = webhook.and_then(|deployment| deployment.metadata.namespace.clone());
    let line = std::iter::once("netting-webhook".to_owned())
        .chain(container.map(flags).unwrap_or_default())
        .chain(namespace.map(|namespace| format!("--pod-namespace={namespace}")));
    let matches = command().try_get_matches_from(line)?;
    let args = Args::from_arg_matches(&matches)?;
    let mut options = args.options()?;
    // Whoever chooses that knows better.
    options.native_sidecars = native_sidecars || args.sidecar_mode == SidecarChoice::Native;
    Ok(options)
}

/// That knows nothing of the environment that this command runs in.
fn command() -> clap::Command {
    Args::command()
        .mut_args(|arg| arg.env(Resettable::Reset))
        .args_override_self(true)
}

/// The flags of a container, and its variables as flags. Those that come from
/// elsewhere (`valueFrom`) are not known here; of the webhook's own, they are its
/// pod's name and namespace.
fn flags(container: &Container) -> Vec<String> {
    let known = Args::command();
    let flag_of = |variable: &str| {
        let is_it = |arg: &&Arg| arg.get_env().is_some_and(|name| name == variable);
        let arg = known.get_arguments().find(is_it)?;
        Some((arg.get_long()?.to_owned(), arg.get_action().takes_values()))
    };
    let variables = container.env.iter().flatten().filter_map(|variable| {
        let (flag, takes_value) = flag_of(&variable.name)?;
        let value = variable.value.as_ref()?;
        match (takes_value, value.as_str()) {
            (true, value) => Some(format!("--{flag}={value}")),
            (false, "" | "false" | "0" | "no" | "off" | "n" | "f") => None,
            (false, _) => Some(format!("--{flag}")),
        }
    });
    let own = container.args.iter().flatten().cloned();
    // What is said twice is said by the flag: it is the later one.
    variables.chain(own).collect()
}
