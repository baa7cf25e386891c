//! The real binary, the real rules, in network namespaces of their own: nothing of the machine's
//! own network is touched, and the kernel removes the namespaces when a test ends, however it ends.
//!
//! Needs root (CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_NET_RAW), iptables, iproute2 and util-linux.

/// A test for each backend of iptables, from one function that takes the backend's name.
macro_rules! with_each_backend {
    ($($(#[$attribute:meta])* fn $name:ident($backend:ident) $body:block)*) => {
        $(mod $name {
            use super::*;

            $(#[$attribute])*
            fn $name($backend: &str) $body

            #[test]
            fn nft() {
                $name("nft");
            }

            #[test]
            fn legacy() {
                $name("legacy");
            }
        })*
    };
}

#[path = "netns/backends.rs"]
mod backends;
#[path = "netns/commands.rs"]
mod commands;
#[path = "netns/inbound.rs"]
mod inbound;
#[path = "netns/outbound.rs"]
mod outbound;
#[path = "netns/pod.rs"]
mod pod;
#[path = "netns/refusals.rs"]
mod refusals;
#[path = "netns/tables.rs"]
mod tables;
#[path = "netns/userns.rs"]
mod userns;
#[path = "netns/verify.rs"]
mod verify;
