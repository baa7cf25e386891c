//! The services that are asked, each of which has a load of its own.

use std::{net::SocketAddr, ops::RangeInclusive};

use netting_proto::v1;

use super::replica::{Slot, Way};
use crate::harness::namespace::dst;

/// A service, which all replicas serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Service {
    /// Speaks HTTP/1. What may be done twice is tried again also if a replica breaks off.
    Http1,
    /// Speaks HTTP/1, and says nothing of how it is to be treated.
    Plain,
    /// Speaks HTTP/2, and is otherwise as the first.
    Http2,
}

pub(super) const SERVICES: [Service; 3] = [Service::Http1, Service::Plain, Service::Http2];

impl Service {
    pub(super) fn addr(self) -> SocketAddr {
        let host = match self {
            Service::Http1 => "192.0.2.10",
            Service::Plain => "192.0.2.11",
            Service::Http2 => "192.0.2.12",
        };
        dst(host, 80)
    }

    /// Where a replica serves it.
    pub(super) fn endpoint(self, slot: Slot) -> SocketAddr {
        let ports = ports_of_http1(slot);
        let port = match self {
            Service::Http1 => *ports.start(),
            Service::Plain => *ports.end(),
            Service::Http2 => ports.end() + 1,
        };
        dst(slot.way().host(), port)
    }

    pub(super) fn is_http2(self) -> bool {
        self == Service::Http2
    }

    /// Whether it can be told that a replica which ends in this way had not read a request:
    /// by HTTP/1, if there is no sidecar there that may have.
    pub(super) fn tells_unread(self, way: Way) -> bool {
        !self.is_http2() && !way.is_meshed()
    }

    /// What its annotations say: `retry-on: reset`, which saves a request from a replica that
    /// breaks off, and from an application that does so behind its sidecar.
    pub(super) fn policy(self) -> Option<v1::ServicePolicy> {
        let broken_off = v1::RetryOn {
            reset: true,
            ..Default::default()
        };
        let policy = v1::ServicePolicy {
            retries: Some(3),
            retry_on: Some(broken_off),
            ..Default::default()
        };
        (self != Service::Plain).then_some(policy)
    }
}

/// Where a replica serves what speaks HTTP/1.
pub(super) fn ports_of_http1(slot: Slot) -> RangeInclusive<u16> {
    let first = 8000 + 10 * slot.number();
    first..=first + 1
}
