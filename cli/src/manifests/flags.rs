//! The flags of the programs in the containers, which their own parsers have a look at
//! before a pod fails of them.

use clap::{
    Arg, ArgMatches, Command, CommandFactory as _, FromArgMatches as _, builder::Resettable,
};

use netting_webhook::names;

use crate::exit::Usage;

/// A part of the control plane, and which of its flags can be given.
pub(super) struct Program {
    /// As its Deployment is called.
    pub(super) name: &'static str,
    /// The flag of this command that gives it one of its own.
    pub(super) setting: &'static str,
    /// How its own parser reads them.
    pub(super) command: fn() -> Command,
    /// Flags that can't be given, and why, with what to do instead: the manifests have in
    /// other places what they say, so that another value would break the installation.
    pub(super) fixed: &'static [(&'static str, &'static str)],
}

pub(super) const WEBHOOK: Program = Program {
    name: names::WEBHOOK,
    setting: "--webhook-set",
    command: netting_webhook::Args::command,
    fixed: &[
        (
            "https-port",
            "the container's port and the Service in front of it are for 8443; to have another, \
             change what netting render prints",
        ),
        ("admin-port", ADMIN_PORT),
        (
            "pod-namespace",
            "it is the namespace that Netting is in, which --system-namespace chooses",
        ),
        ("pod-name", POD_NAME),
        (
            "service",
            "the Service is called netting-webhook; to call it otherwise, change what netting \
             render prints",
        ),
        (
            "webhook-configuration",
            "the MutatingWebhookConfiguration is called netting, and the webhook may change no \
             other; leave it out",
        ),
        (
            "tls-secret",
            "the webhook may read the Secret netting-webhook-tls alone; put a certificate of your \
             own there",
        ),
        ("tls-cert", FILE),
        ("tls-key", FILE),
        ("tls-ca", FILE),
    ],
};

pub(super) const CATALOG: Program = Program {
    name: names::CATALOG,
    setting: "--catalog-set",
    command: netting_catalog::Args::command,
    fixed: &[
        (
            "grpc-port",
            "the Service is for 15010, and so are the sidecars; to have another, change what \
             netting render prints",
        ),
        (
            "http-port",
            "the Service is for 15080, where the netting command asks; to have another, change \
             what netting render prints",
        ),
        ("admin-port", ADMIN_PORT),
        ("pod-name", POD_NAME),
        (
            "pod-namespace",
            "it is the namespace that the pod is in; leave it out",
        ),
    ],
};

/// Both parts.
#[cfg(test)]
pub(super) const PROGRAMS: [Program; 2] = [WEBHOOK, CATALOG];

const ADMIN_PORT: &str = "probes and Prometheus ask port 15020; to have another, change what \
                          netting render prints";
const POD_NAME: &str = "it is the name of the pod itself; leave it out";
const FILE: &str = "no files are mounted into the container; put a certificate of your own into \
                    the Secret netting-webhook-tls, or mount files in what netting render prints";

/// What makes a program print something and end is for nobody's container.
pub(super) const ONLY_PRINT: [&str; 2] = ["help", "version"];

impl Program {
    /// What the program itself makes of these flags (`streams-max=20000`).
    ///
    /// # Errors
    /// If one isn't the program's, can't be given, is given twice, or says what can't be.
    pub(super) fn read(&self, given: &[String]) -> Result<ArgMatches, Usage> {
        let wrong = |why: &str| Usage(format!("{}: {why}", self.setting));
        let settable = self.settable();
        for flag in given {
            let name = flag.split('=').next().unwrap_or_default();
            if let Some((_, why)) = self.fixed.iter().find(|(fixed, _)| *fixed == name) {
                return Err(wrong(&format!("{name} is fixed: {why}")));
            }
            if !settable.iter().any(|known| known == name) {
                let all = settable.join(", ");
                let why = format!("{} has no flag {name}; it has {all}", self.name);
                return Err(wrong(&why));
            }
        }
        // That knows nothing of the environment that this command runs in.
        let command = (self.command)().mut_args(|arg| arg.env(Resettable::Reset));
        let flags = given.iter().map(|flag| format!("--{flag}"));
        let line = std::iter::once(self.name.to_owned()).chain(flags);
        command.try_get_matches_from(line).map_err(|error| {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            wrong(first.trim_start_matches("error: "))
        })
    }

    /// The flags that can be given, as `--help` has them.
    pub(super) fn settable(&self) -> Vec<String> {
        let command = (self.command)();
        let all = command.get_arguments().filter_map(Arg::get_long);
        let others = all.filter(|name| !self.is_fixed(name) && !ONLY_PRINT.contains(name));
        others.map(str::to_owned).collect()
    }

    fn is_fixed(&self, flag: &str) -> bool {
        self.fixed.iter().any(|(fixed, _)| *fixed == flag)
    }
}

/// Has the webhook look at flags that each for itself may be right.
///
/// # Errors
/// If one is wrong, or they contradict each other.
pub(super) fn understood_by_the_webhook(given: &[String]) -> Result<(), Usage> {
    let wrong = |why: &dyn std::fmt::Display| Usage(format!("{}: {why}", WEBHOOK.setting));
    let matches = WEBHOOK.read(given)?;
    let args = netting_webhook::Args::from_arg_matches(&matches).map_err(|error| wrong(&error))?;
    args.options().map(|_| ()).map_err(|error| wrong(&error))
}
