//! Injection: which pods get a Netting sidecar, and the patch that gives it to
//! them. The first half is pure, for the webhook, the CLI and the tests alike; the
//! second serves it to the API server. In reading order:
//!
//! - [`names`]: labels, annotations, containers and ports;
//! - [`pod`]: a view of a pod's raw JSON;
//! - [`options`]: how to inject, and what annotations change about it;
//! - [`warnings`]: what the pod's author is told;
//! - [`decision`]: whether to inject, and if not, why not;
//! - `inject`: what is added, as a JSON patch; `status`: the note that it leaves;
//! - `removal`: a pod as it was before that; [`documents`]: both, for manifests;
//! - [`review`]: the API server's questions and the answers to them;
//! - what it looks up in the cluster: [`api_version`], [`namespaces`]; and what it
//!   writes there: [`events`];
//! - [`mutate`]: the same over HTTP; [`server`]: that over TLS;
//! - [`certificate`]: what TLS is served with; [`ca_bundle`]: why it is trusted;
//! - [`args`]: the command line; [`process`]: all of it put together.

pub mod api_version;
pub mod args;
pub mod ca_bundle;
pub mod certificate;
pub mod decision;
pub mod documents;
pub mod events;
mod inject;
pub mod mutate;
pub mod names;
pub mod namespaces;
pub mod options;
pub mod pod;
pub mod process;
mod removal;
pub mod review;
pub mod server;
mod status;
pub mod warnings;
mod workload;

pub use args::Args;
pub use decision::{Asks, Decision, SkipReason, Verdict, asked_for, decide};
pub use inject::restore_probes;
pub use options::{Namespace, Options};
pub use removal::restored;

/// The options of a webhook without flags, whatever the environment says.
#[cfg(test)]
fn test_options() -> Options {
    use clap::Parser as _;
    let args = Args::parse_from([
        "netting-webhook",
        "--image=ghcr.io/netting-dev/netting:0.1.0",
        "--catalog=netting-catalog.netting.svc:15010",
        "--pod-namespace=netting",
        "--sidecar-mode=native",
    ]);
    args.options().expect("the defaults agree with each other")
}
