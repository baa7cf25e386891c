//! `$(HOST_IP)`, `$(secret:NAME/KEY)`: what stands for a value that only the pod has.
//!
//! The sidecar puts the values in itself, from variables of its own, and after the
//! list was taken apart: a password may have any character in it.

use std::fmt;

/// A value that a configuration names instead of having it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    /// Of the pod itself.
    Field(Field),
    /// A key of a Secret in the pod's own namespace.
    Secret {
        /// The Secret's name.
        name: String,
        /// The key in its data.
        key: String,
    },
}

/// What Kubernetes' downward API knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// The node's address, where a node's agent listens.
    HostIp,
    /// The node's name.
    NodeName,
    /// The pod's address.
    PodIp,
    /// The pod's name.
    PodName,
    /// The pod's namespace.
    PodNamespace,
}

impl Field {
    const ALL: [Self; 5] = [
        Self::HostIp,
        Self::NodeName,
        Self::PodIp,
        Self::PodName,
        Self::PodNamespace,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::HostIp => "HOST_IP",
            Self::NodeName => "NODE_NAME",
            Self::PodIp => "POD_IP",
            Self::PodName => "POD_NAME",
            Self::PodNamespace => "POD_NAMESPACE",
        }
    }

    /// For a variable's `fieldRef`.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::HostIp => "status.hostIP",
            Self::NodeName => "spec.nodeName",
            Self::PodIp => "status.podIP",
            Self::PodName => "metadata.name",
            Self::PodNamespace => "metadata.namespace",
        }
    }
}

/// Why `$(…)` is no reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadReference {
    /// Nothing closes it.
    #[error("$( has no )")]
    Unclosed,
    /// Not one of ours.
    #[error("$({0}) is not HOST_IP, NODE_NAME, POD_IP, POD_NAME, POD_NAMESPACE or secret:NAME/KEY")]
    Unknown(String),
    /// Known, but without a value here.
    #[error("{0} has no value: the variable {var} is not set", var = .0.variable())]
    NoValue(Reference),
}

impl Reference {
    fn parse(text: &str) -> Option<Self> {
        if let Some(field) = Field::ALL.into_iter().find(|field| field.as_str() == text) {
            return Some(Self::Field(field));
        }
        let (name, key) = text.strip_prefix("secret:")?.split_once('/')?;
        let named = |text: &str, also: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || also.contains(c);
            !text.is_empty() && text.len() <= 253 && text.chars().all(fits)
        };
        // As Kubernetes names Secrets and their keys, which become files' names.
        let is_key = named(key, "-._") && key != "." && !key.starts_with("..");
        (named(name, "-.") && is_key).then(|| Self::Secret {
            name: name.to_owned(),
            key: key.to_owned(),
        })
    }

    /// The variable that the sidecar finds the value in. A Secret's name has no
    /// underscore, so no two references share one.
    #[must_use]
    pub fn variable(&self) -> String {
        match self {
            Self::Field(field) => format!("NETTING_{}", field.as_str()),
            Self::Secret { name, key } => format!("NETTING_SECRET_{name}_{key}"),
        }
    }

    fn is_address(&self) -> bool {
        matches!(self, Self::Field(Field::HostIp | Field::PodIp))
    }

    /// Something of the right kind, to try a configuration without the pod.
    #[must_use]
    pub fn example(&self) -> String {
        match self {
            _ if self.is_address() => "192.0.2.1".to_owned(),
            _ => "example".to_owned(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(field) => write!(f, "$({})", field.as_str()),
            Self::Secret { name, key } => write!(f, "$(secret:{name}/{key})"),
        }
    }
}

/// Splits a text into what is plain and what is a reference, and gives each of the
/// latter to `value`.
pub(super) fn expand(
    text: &str,
    value: &mut dyn FnMut(&Reference) -> Option<String>,
) -> Result<String, BadReference> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, after)) = rest.split_once("$(") {
        let (name, after) = after.split_once(')').ok_or(BadReference::Unclosed)?;
        let reference =
            Reference::parse(name).ok_or_else(|| BadReference::Unknown(name.to_owned()))?;
        let value = value(&reference).ok_or(BadReference::NoValue(reference.clone()))?;
        expanded.push_str(plain);
        // As URLs want an IPv6 address.
        if reference.is_address() && value.contains(':') {
            expanded.push_str(&format!("[{value}]"));
        } else {
            expanded.push_str(&value);
        }
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, BadReference> {
        expand(text, &mut |reference| {
            (reference.variable() != "NETTING_POD_IP").then(|| reference.variable())
        })
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        assert_eq!(expanded("a$(b"), Err(BadReference::Unclosed));
        for name in [
            "PATH",
            "secret:a",
            "secret:a_b/c",
            "secret:a/",
            "secret:/c",
            "secret:a/.",
            "secret:a/..",
            "secret:a/..c",
            "",
        ] {
            let unknown = BadReference::Unknown(name.to_owned());
            assert_eq!(expanded(&format!("$({name})")), Err(unknown));
        }
    }

    #[test]
    fn a_value_that_is_not_there_says_which_variable() {
        let error = expanded("udp://$(POD_IP):8125").expect_err("it has no value");
        assert_eq!(
            error.to_string(),
            "$(POD_IP) has no value: the variable NETTING_POD_IP is not set"
        );
    }

    #[test]
    fn values_take_the_place_of_references() {
        assert_eq!(
            expanded("http://$(HOST_IP):1/$(secret:o-tel/api.key_1)!").as_deref(),
            Ok("http://NETTING_HOST_IP:1/NETTING_SECRET_o-tel_api.key_1!")
        );
        assert_eq!(expanded("$HOST_IP $").as_deref(), Ok("$HOST_IP $"));
    }
}
