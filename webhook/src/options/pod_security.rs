//! What the API server's own configuration says of Pod Security, which it tells nobody,
//! so that whoever runs the cluster says it here.
//! <https://kubernetes.io/docs/tasks/configure-pod-container/enforce-standards-admission-controller/>

use clap::ValueEnum;

use super::Namespace;

/// In the place of a namespace's name: any.
const ALL: &str = "*";

/// A Pod Security Standard.
/// <https://kubernetes.io/docs/concepts/security/pod-security-standards/>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Standard {
    /// Everything is allowed, netting-init's capabilities too.
    #[default]
    Privileged,
    /// They are not.
    Baseline,
    /// Less still is.
    Restricted,
}

impl Standard {
    /// Kubernetes' name for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }

    /// What a namespace's label asks for. The API server takes what it doesn't know for
    /// the strictest.
    #[must_use]
    pub fn of_label(value: &str) -> Self {
        let known = [Self::Privileged, Self::Baseline, Self::Restricted];
        let known = known.into_iter().find(|known| known.as_str() == value);
        known.unwrap_or(Self::Restricted)
    }
}

/// How the API server enforces Pod Security, apart from namespaces' labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct PodSecurity {
    /// Pod Security Standard that the API server enforces in namespaces without a label for
    /// it, as its AdmissionConfiguration says (defaults.enforce)
    #[arg(
        long,
        env = "NETTING_POD_SECURITY_DEFAULT",
        value_name = "STANDARD",
        default_value = "privileged"
    )]
    pub pod_security_default: Standard,

    /// Namespaces that the API server's AdmissionConfiguration exempts from Pod Security
    /// (exemptions.namespaces), such as legacy,tools; * for all, where nobody enforces it
    #[arg(
        long,
        env = "NETTING_POD_SECURITY_EXEMPT_NAMESPACES",
        value_name = "NAMESPACES",
        value_delimiter = ','
    )]
    pub pod_security_exempt_namespaces: Vec<String>,
}

impl PodSecurity {
    /// What the pods of a namespace must meet to be admitted.
    #[must_use]
    pub fn enforced(&self, namespace: &Namespace<'_>) -> Standard {
        let exempt = &self.pod_security_exempt_namespaces;
        if exempt
            .iter()
            .any(|name| name == ALL || name == namespace.name)
        {
            return Standard::Privileged;
        }
        let label = namespace.pod_security.map(Standard::of_label);
        label.unwrap_or(self.pod_security_default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enforced(default: Standard, exempt: &[&str], label: Option<&str>) -> &'static str {
        let pod_security = PodSecurity {
            pod_security_default: default,
            pod_security_exempt_namespaces: exempt.iter().copied().map(str::to_owned).collect(),
        };
        let namespace = Namespace {
            pod_security: label,
            ..Namespace::named("shop")
        };
        pod_security.enforced(&namespace).as_str()
    }

    #[test]
    fn a_label_goes_over_the_default_and_an_exemption_over_both() {
        for (default, exempt, label, expected) in [
            (Standard::Privileged, [].as_slice(), None, "privileged"),
            (Standard::Baseline, &[], None, "baseline"),
            (Standard::Restricted, &[], Some("privileged"), "privileged"),
            (Standard::Privileged, &[], Some("baseline"), "baseline"),
            (Standard::Privileged, &[], Some("strict"), "restricted"),
            (Standard::Privileged, &[], Some(""), "restricted"),
            (
                Standard::Baseline,
                &["shop"],
                Some("restricted"),
                "privileged",
            ),
            (Standard::Baseline, &["bank", "sho"], None, "baseline"),
            (Standard::Baseline, &["*"], Some("restricted"), "privileged"),
        ] {
            let actual = enforced(default, exempt, label);
            assert_eq!(actual, expected, "{default:?} {exempt:?} {label:?}");
        }
    }
}
