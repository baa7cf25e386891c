use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::Error;
use crate::Family;

/// How long an accepted connection, and then its token, may take: it is already made.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_millis(200);

/// Who sees a redirected connection arrive at the outbound port.
#[derive(Debug)]
pub enum Witness {
    /// We do, as nobody listens there yet.
    Listener(TcpListener),
    /// The kernel's table of connections does, as the sidecar already listens.
    SocketTable {
        /// The outbound port.
        port: u16,
    },
}

impl Witness {
    /// The form of log fields.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Listener(_) => "listener",
            Self::SocketTable { .. } => "socket_table",
        }
    }

    /// Listens where the kernel redirects connections made in the pod: on loopback, and so
    /// reachable for nobody else.
    pub(super) fn at(family: Family, port: u16) -> Result<Self, Error> {
        let loopback = match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Family::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        let addr = SocketAddr::new(loopback, port);
        match TcpListener::bind(addr) {
            Ok(listener) => Ok(Self::Listener(listener)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                Ok(Self::SocketTable { port })
            }
            Err(source) => Err(Error::Listen { addr, source }),
        }
    }

    /// Whether `client`, which was meant for `probe`, has arrived here.
    pub(super) fn saw(&self, client: &TcpStream, probe: SocketAddr) -> io::Result<()> {
        match self {
            Self::Listener(listener) => hand_over_token(listener, client, probe),
            Self::SocketTable { port } => find_in_socket_table(*port, client.local_addr()?),
        }
    }
}

/// Accepts `client`, sends a token, and expects `client` to have received it.
fn hand_over_token(
    listener: &TcpListener,
    client: &TcpStream,
    probe: SocketAddr,
) -> io::Result<()> {
    let mut accepted = accept(listener, client.local_addr()?)?;
    let original = match probe {
        SocketAddr::V4(_) => SockRef::from(&accepted).original_dst_v4()?,
        SocketAddr::V6(_) => SockRef::from(&accepted).original_dst_v6()?,
    };
    if original.as_socket() != Some(probe) {
        return Err(io::Error::other(format!(
            "the kernel says that it was meant for {:?}",
            original.as_socket()
        )));
    }
    let token = RandomState::new().build_hasher().finish().to_be_bytes();
    accepted.write_all(&token)?;
    client.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let mut received = [0; 8];
    { client }.read_exact(&mut received)?;
    // Closing by reset leaves nothing in TIME_WAIT on the port that the sidecar needs next.
    SockRef::from(&accepted).set_linger(Some(Duration::ZERO))?;
    if received == token {
        Ok(())
    } else {
        Err(io::Error::other("it brought back another token"))
    }
}

/// Accepts connections until one is that of `client`; in a running pod there may be others.
fn accept(listener: &TcpListener, client: SocketAddr) -> io::Result<TcpStream> {
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    // Linux applies a socket's receive timeout to accept(2) as well (socket(7)).
    SockRef::from(listener).set_read_timeout(Some(ANSWER_TIMEOUT))?;
    loop {
        let (accepted, peer) = listener.accept()?;
        if (peer.ip(), peer.port()) == (client.ip(), client.port()) {
            return Ok(accepted);
        }
        // Looked at last: a process that had to wait for its turn has still one look.
        if Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

/// Looks for a connection from `client` to `port` on loopback among those of the pod. Its own
/// end names the probe, so that only a redirected connection has another such end.
fn find_in_socket_table(port: u16, client: SocketAddr) -> io::Result<()> {
    // A listener on [::] has its IPv4 connections in the table for IPv6.
    let found = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .any(|table| has_arrived(&table, port, client));
    if found {
        Ok(())
    } else {
        Err(io::Error::other(
            "no such connection is in /proc/net/tcp or tcp6",
        ))
    }
}

fn has_arrived(table: &str, port: u16, client: SocketAddr) -> bool {
    table.lines().any(|line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let mut addr = || columns.next().and_then(table_addr);
        let (Some(local), Some(remote)) = (addr(), addr()) else {
            return false;
        };
        local.ip().is_loopback()
            && local.port() == port
            && (remote.ip(), remote.port()) == (client.ip(), client.port())
    })
}

/// An address as in `0100007F:3A99` (`proc_pid_net(5)`): words of 32 bits in the machine's own
/// byte order, then the port.
fn table_addr(text: &str) -> Option<SocketAddr> {
    let (words, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::with_capacity(16);
    for i in (0..words.len()).step_by(8) {
        let word = u32::from_str_radix(words.get(i..i + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let ip = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    const TABLE: &str = "  \
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:3A99 00000000:0000 0A 00000000:00000000 00:00000000 00000000  4150        0 1 1
   1: 0200000A:9C40 010200C0:0009 01 00000000:00000000 00:00000000 00000000     0        0 2 1
   2: 0100007F:3A99 0200000A:9C40 01 00000000:00000000 00:00000000 00000000  4150        0 3 1
";
    const TABLE_V6: &str = "  \
   0: 0000000000000000FFFF00000100007F:3A99 0000000000000000FFFF00000200000A:9C41 01
   1: 00000000000000000000000001000000:3A99 000000FD000000000000000002000000:9C42 01
";

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_listener_or_the_clients_own_end_is_no_arrival() {
        let without_line_2: String = TABLE.lines().take(3).map(|l| format!("{l}\n")).collect();
        assert!(!has_arrived(&without_line_2, 15001, addr("10.0.0.2:40000")));
    }

    #[test]
    fn another_port_or_another_client_is_no_arrival() {
        assert!(!has_arrived(TABLE, 15002, addr("10.0.0.2:40000")));
        assert!(!has_arrived(TABLE, 15001, addr("10.0.0.2:40001")));
        assert!(!has_arrived(TABLE, 15001, addr("10.0.0.3:40000")));
    }

    #[test]
    fn finds_the_other_end_of_a_redirected_connection() {
        assert!(has_arrived(TABLE, 15001, addr("10.0.0.2:40000")));
        assert!(has_arrived(TABLE_V6, 15001, addr("10.0.0.2:40001")));
        assert!(has_arrived(TABLE_V6, 15001, addr("[fd00::2]:40002")));
    }

    #[test]
    fn takes_nothing_from_a_table_it_does_not_understand() {
        for table in [
            "",
            "x",
            "0: x y",
            "0: 0100007F 0200000A",
            "0: :3A99 :9C40",
            "0: é:1 é:1",
        ] {
            assert!(
                !has_arrived(table, 15001, addr("10.0.0.2:40000")),
                "{table}"
            );
        }
    }
}
