//! The roles that an address can have. A function that takes one of them cannot
//! be handed another.

use std::{fmt, net::SocketAddr};

macro_rules! role {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub SocketAddr);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

role! {
    /// Who connected to the sidecar.
    ClientAddr
}
role! {
    /// Where the connection was going before the kernel redirected it.
    OriginalDst
}
role! {
    /// Where one endpoint of a destination listens.
    EndpointAddr
}
