//! What can be decided of a connection by its addresses alone.

use crate::{
    addr::{ClientAddr, OriginalDst},
    reason::Reason,
};

/// The ports that the sidecar listens on.
#[derive(Clone, Copy, Debug)]
pub struct OwnPorts {
    /// Outbound connections are redirected here.
    pub outbound: u16,
    /// Inbound connections are redirected here.
    pub inbound: u16,
    /// The admin server.
    pub admin: u16,
}

impl OwnPorts {
    /// Whether it is one of them.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        [self.outbound, self.inbound, self.admin].contains(&port)
    }
}

/// Where an outbound connection may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outbound {
    /// Where the catalog says.
    Discover(OriginalDst),
    /// Where it was going.
    PassThrough(OriginalDst, Reason),
    /// Nowhere.
    Refuse(Reason),
}

/// Where an inbound connection may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// To the application, at the address it was going to.
    Deliver(OriginalDst),
    /// Nowhere.
    Refuse(Reason),
}

/// Decides on a connection of the local application.
///
/// A connection to the pod's own address comes from that address: the kernel picks
/// the destination as the source of what it delivers locally.
#[must_use]
pub fn outbound(dst: Option<OriginalDst>, client: ClientAddr, own: &OwnPorts) -> Outbound {
    let Some(dst) = dst else {
        return Outbound::Refuse(Reason::NotRedirected);
    };
    if dst.0.ip() != client.0.ip() {
        return Outbound::Discover(dst);
    }
    if own.contains(dst.0.port()) {
        return Outbound::Refuse(Reason::OwnPort);
    }
    Outbound::PassThrough(dst, Reason::OwnAddress)
}

/// Decides on a connection to the local application.
#[must_use]
pub fn inbound(dst: Option<OriginalDst>, own: &OwnPorts) -> Inbound {
    match dst {
        None => Inbound::Refuse(Reason::NotRedirected),
        Some(dst) if own.contains(dst.0.port()) => Inbound::Refuse(Reason::OwnPort),
        Some(dst) if dst.0.ip().to_canonical().is_loopback() => {
            Inbound::Refuse(Reason::LoopbackDestination)
        }
        Some(dst) => Inbound::Deliver(dst),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: OwnPorts = OwnPorts {
        outbound: 15001,
        inbound: 15006,
        admin: 15020,
    };

    fn dst(text: &str) -> OriginalDst {
        OriginalDst(text.parse().expect("a literal address"))
    }

    fn client(text: &str) -> ClientAddr {
        ClientAddr(text.parse().expect("a literal address"))
    }

    #[test]
    fn refuses_what_was_not_redirected() {
        let pod = client("10.0.0.5:4000");
        assert_eq!(
            outbound(None, pod, &OWN),
            Outbound::Refuse(Reason::NotRedirected)
        );
        assert_eq!(inbound(None, &OWN), Inbound::Refuse(Reason::NotRedirected));
    }

    #[test]
    fn refuses_what_would_come_back_to_the_sidecar() {
        for port in [15001, 15006, 15020] {
            let own = dst(&format!("10.0.0.5:{port}"));
            let pod = client("10.0.0.5:4000");
            assert_eq!(
                outbound(Some(own), pod, &OWN),
                Outbound::Refuse(Reason::OwnPort)
            );
            assert_eq!(inbound(Some(own), &OWN), Inbound::Refuse(Reason::OwnPort));
        }
    }

    #[test]
    fn refuses_loopback_from_outside() {
        for loopback in ["127.0.0.1:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
            let refused = Inbound::Refuse(Reason::LoopbackDestination);
            assert_eq!(inbound(Some(dst(loopback)), &OWN), refused, "{loopback}");
        }
    }

    #[test]
    fn passes_the_pods_own_address_through() {
        let own = dst("[fd00::5]:8080");
        let decided = outbound(Some(own), client("[fd00::5]:4000"), &OWN);
        assert_eq!(decided, Outbound::PassThrough(own, Reason::OwnAddress));
    }

    #[test]
    fn asks_the_catalog_of_all_else() {
        let pod = client("10.0.0.5:4000");
        for other in ["10.96.0.10:80", "10.0.0.6:15001"] {
            let other = dst(other);
            assert_eq!(outbound(Some(other), pod, &OWN), Outbound::Discover(other));
        }
    }

    #[test]
    fn delivers_to_the_address_that_was_meant() {
        let meant = dst("10.0.0.5:8080");
        assert_eq!(inbound(Some(meant), &OWN), Inbound::Deliver(meant));
    }
}
