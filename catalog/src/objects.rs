//! What the index needs of Kubernetes objects, parsed once, where they arrive.
//!
//! Garbage is refused item by item: a slice keeps its good endpoints when one of
//! them is bad. What is left of an object can't be wrong any more.

pub mod address;
pub mod endpoints;
pub mod pod;
pub mod policy;
pub mod protocol;
pub mod service;
pub mod slice;
pub mod traffic;

use std::{fmt, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub use address::Family;
pub use endpoints::Endpoints;
pub use pod::Pod;
pub use policy::{Policy, RetryOn};
pub use service::{Service, ServicePort};
pub use slice::{Group, GroupPort, Hints, Member, Slice};
pub use traffic::{Distribution, Traffic};

/// Namespace and name of an object; which kind of object, the context tells.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The namespace. Empty in no object that an API server sends.
    pub namespace: Arc<str>,
    /// The name within the namespace.
    pub name: Arc<str>,
}

impl Key {
    /// A key of two strings.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    fn of(meta: &ObjectMeta) -> Self {
        Self::new(
            meta.namespace.as_deref().unwrap_or_default(),
            meta.name.as_deref().unwrap_or_default(),
        )
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How old an object is, to settle which of two holds an IP: the younger one,
/// for the IP was free when it was made. One that is being deleted gives way to any
/// that isn't. Equal on every replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Born {
    /// It has no `deletionTimestamp`.
    pub stays: bool,
    /// When it could have been given an IP, in seconds since the Unix epoch: its
    /// `creationTimestamp`, or when a pod came to its node, for which it may have waited
    /// long.
    pub at_seconds: i64,
    /// `uid`, between objects of the same second.
    pub uid: Box<str>,
}

impl Born {
    fn of(meta: &ObjectMeta) -> Self {
        let created = meta.creation_timestamp.as_ref();
        Self {
            stays: meta.deletion_timestamp.is_none(),
            at_seconds: created.map_or(0, |time| time.0.as_second()),
            uid: meta.uid.as_deref().unwrap_or_default().into(),
        }
    }
}

/// What came of parsing an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed<T> {
    /// Which object it was.
    pub key: Key,
    /// What is to be indexed; `None` if nothing is, be it because the object is
    /// refused, or because its kind is of no interest.
    pub object: Option<T>,
    /// What was refused, in the order of the object.
    pub refused: Vec<Refusal>,
}

/// Something in an object that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// The offending value, as it was given.
    pub value: String,
}

/// Why an object, or an item of it, is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// An EndpointSlice without the label that names its service.
    NoServiceName,
    /// An EndpointSlice whose addresses are neither IPv4 nor IPv6.
    AddressType,
    /// No IP address.
    BadAddress,
    /// An IP address of the other family than its object says.
    OtherFamily,
    /// An IP address that means something else in each network namespace:
    /// unspecified, loopback, link-local or multicast.
    SpecialAddress,
    /// An endpoint without an address.
    NoAddress,
    /// A port outside 1 to 65535.
    BadPort,
    /// A port without a number, which would mean all of them.
    NoPort,
    /// A pod that says it is meshed, and lives in its node's network namespace.
    HostNetwork,
    /// A pod that says it is meshed, and has no sidecar.
    NoSidecar,
    /// A session affinity that lasts for no time that Kubernetes allows.
    BadAffinity,
    /// An annotation of ours that can't be what was meant. The value says what was
    /// expected.
    BadAnnotation,
}

impl Reason {
    /// As in logs and labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::NoServiceName => "no_service_name",
            Reason::AddressType => "address_type",
            Reason::BadAddress => "bad_address",
            Reason::OtherFamily => "other_family",
            Reason::SpecialAddress => "special_address",
            Reason::NoAddress => "no_address",
            Reason::BadPort => "bad_port",
            Reason::NoPort => "no_port",
            Reason::HostNetwork => "host_network",
            Reason::NoSidecar => "no_sidecar",
            Reason::BadAffinity => "bad_affinity",
            Reason::BadAnnotation => "bad_annotation",
        }
    }

    fn of(self, value: impl fmt::Display) -> Refusal {
        Refusal {
            reason: self,
            value: value.to_string(),
        }
    }
}

/// A port number, for TCP; `Ok(None)` for the protocols that are not ours.
fn tcp_port(protocol: Option<&str>, port: i32) -> Result<Option<u16>, Refusal> {
    if !matches!(protocol, None | Some("" | "TCP")) {
        return Ok(None);
    }
    match u16::try_from(port) {
        Ok(port) if port != 0 => Ok(Some(port)),
        _ => Err(Reason::BadPort.of(port)),
    }
}

#[cfg(test)]
mod tests;
