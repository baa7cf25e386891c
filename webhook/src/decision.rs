//! Whether a pod is injected, and if not, why not. Pure: the webhook, the CLI and
//! the tests ask the same function.

use std::fmt;

use json_patch::Patch;
use serde_json::Value;

use crate::{
    inject,
    names::SidecarMode,
    options::{Namespace, Options, PodOptions},
    pod::{Named, NotAPod, Pod},
    warnings::Warnings,
};

mod asked;
mod obstacles;
mod skip_reason;
#[cfg(test)]
mod tests;

pub use asked::{Asks, asked_for};
pub use skip_reason::SkipReason;

/// What happens to a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It is injected by applying this patch (RFC 6902).
    Inject(Patch),
    /// It stays as it is.
    Skip(SkipReason),
}

impl Decision {
    /// `inject` or `skip`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Inject(_) => "inject",
            Self::Skip(_) => "skip",
        }
    }

    /// Why: the skip reason, or `requested`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Inject(_) => "requested",
            Self::Skip(reason) => reason.as_str(),
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.as_str(), self.reason())
    }
}

/// A decision, and what the pod's author should be told along with it.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What happens to the pod.
    pub decision: Decision,
    /// Lines for people, at most a handful, each of at most about 120 characters.
    pub warnings: Vec<String>,
}

impl Verdict {
    /// A pod that is skipped before anything in it was looked at.
    #[must_use]
    pub fn skip(reason: SkipReason) -> Self {
        Self {
            decision: Decision::Skip(reason),
            warnings: Vec::new(),
        }
    }
}

/// Decides about a pod, given as raw JSON, that is to run in `namespace`.
///
/// The caller knows that the pod's namespace or the pod itself asks to be
/// injected: in a cluster the selectors of the webhook configuration see to
/// that, and no other pod gets here, but those whose own label is a mistake.
#[must_use]
pub fn decide(pod: &Value, namespace: &Namespace<'_>, options: &Options) -> Verdict {
    decide_template(pod, None, namespace, options)
}

/// As [`decide`], about a pod template. Its pods will be of `object`, if that is known.
pub(crate) fn decide_template(
    pod: &Value,
    object: Option<Named<'_>>,
    namespace: &Namespace<'_>,
    options: &Options,
) -> Verdict {
    let mut warnings = Warnings::default();
    let pod = Pod::read(pod).map(|pod| pod.of_template_in(object));
    let decision = match judge(pod, namespace, options, &mut warnings) {
        Ok(patch) => Decision::Inject(patch),
        Err(Obstacles { first, others }) => {
            for reason in std::iter::once(&first).chain(&others) {
                if let Some(line) = reason.warning() {
                    warnings.push(line);
                }
            }
            Decision::Skip(first)
        }
    };
    Verdict {
        decision,
        warnings: warnings.into_lines(),
    }
}

/// What keeps a pod from being injected.
struct Obstacles {
    first: SkipReason,
    others: Vec<SkipReason>,
}

fn judge(
    pod: Result<Pod<'_>, NotAPod>,
    namespace: &Namespace<'_>,
    options: &Options,
    warnings: &mut Warnings,
) -> Result<Patch, Obstacles> {
    let pod = pod.map_err(|error| Obstacles {
        first: SkipReason::NotAPod(error),
        others: Vec::new(),
    })?;
    let mut obstacles = obstacles::find(&pod, *namespace, options, warnings).into_iter();
    if let Some(first) = obstacles.next() {
        if matches!(first, SkipReason::AlreadyInjected) {
            // What is chosen was warned about the first time.
            let mut warned = Warnings::default();
            let chosen = PodOptions::choose(options, &pod, *namespace, &mut warned);
            if let Some(patch) = inject::mend(&pod, &chosen, warnings) {
                return Ok(patch);
            }
        }
        let others = obstacles.collect();
        return Err(Obstacles { first, others });
    }
    if namespace.unanswered {
        warnings.push("netting: the namespace's options are not known; defaults are used".into());
    }
    let chosen = PodOptions::choose(options, &pod, *namespace, warnings);
    if options.catalog_may_be_out_of_reach(&pod) {
        let policy = pod.spec("dnsPolicy").and_then(Value::as_str);
        let policy = policy.unwrap_or_default();
        let until = match chosen.mode {
            SidecarMode::Native => "connections pass through",
            SidecarMode::Classic => "connections pass through, and a Job does not end",
        };
        warnings.push(format!(
            "netting: dnsPolicy {policy} may hide the catalog from the sidecar; meanwhile {until}"
        ));
    }
    if chosen.mode == SidecarMode::Classic {
        let sidecars = pod.init_containers().iter();
        for sidecar in sidecars.filter(|container| container.is_native_sidecar()) {
            warnings.too_early(sidecar.name());
        }
    }
    let patch = inject::patch(&pod, *namespace, options, &chosen, warnings);
    patch.map_err(|first| Obstacles {
        first,
        others: Vec::new(),
    })
}
