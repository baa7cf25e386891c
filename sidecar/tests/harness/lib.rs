//! What the test programs share: network namespaces, sidecars in them behind the
//! real rules, and a catalog that knows what a test tells it.
//!
//! Needs root (or `CAP_SYS_ADMIN` and `CAP_NET_ADMIN`), iptables, iproute2 and
//! util-linux.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod catalog;
pub(crate) mod namespace;
pub(crate) mod node;
pub(crate) mod pod;
pub(crate) mod sidecar;

use std::time::Duration;

/// Nothing here takes this long unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How long somebody may take to come to something on a machine that is busy with others.
pub(crate) const WAITED_FOR: Duration = Duration::from_secs(60);

/// Between two looks at something that has no event to wait for.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(5);
