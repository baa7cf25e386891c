//! Datagrams, by UDP or a Unix socket. Nobody says whether they arrive.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    net::{UdpSocket, UnixDatagram},
    time::{Instant, sleep, timeout},
};

use super::{
    net::Dialer,
    reason::{Failure, Reason},
};

/// A name is looked up again after this long: what it stands for moves without a word.
const RESOLVED_FOR: Duration = Duration::from_secs(60);
/// So many datagrams are sent in a row, and then there is a pause: who receives them
/// has a buffer of some 200 KiB, and loses what is beyond.
const BURST: u32 = 8;
const BURST_PAUSE: Duration = Duration::from_millis(2);

/// Sends datagrams to one place.
pub(crate) struct Datagrams {
    to: Place,
    timeout: Duration,
    socket: Option<(Socket, Instant)>,
    sent: u32,
}

/// Where a datagram goes.
pub(crate) enum Place {
    Udp(Dialer),
    Unix(PathBuf),
}

enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Datagrams {
    pub(crate) fn new(to: Place, timeout: Duration) -> Self {
        Self {
            to,
            timeout,
            socket: None,
            sent: 0,
        }
    }

    /// Sends one. A failure is the end of it: who knows whether it has arrived.
    pub(crate) async fn send(&mut self, datagram: &[u8]) -> Result<(), Failure> {
        self.sent = self.sent.wrapping_add(1);
        if self.sent.is_multiple_of(BURST) {
            sleep(BURST_PAUSE).await;
        }
        let (socket, since) = match self.socket.take() {
            Some(open) if open.1.elapsed() < RESOLVED_FOR => open,
            _ => (self.open().await?, Instant::now()),
        };
        let sent = match timeout(self.timeout, socket.send(datagram)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Failure::lasting(Reason::Broken, error)),
            // A Unix socket whose reader is stuck.
            Err(_) => Err(Failure::lasting(Reason::Timeout, "nobody reads")),
        };
        if sent.is_ok() {
            self.socket = Some((socket, since));
        }
        sent
    }

    /// A failure here is before anything was sent.
    async fn open(&self) -> Result<Socket, Failure> {
        match &self.to {
            Place::Unix(path) => unix(path)
                .map(Socket::Unix)
                .map_err(|error| Failure::transient(Reason::Connect, error)),
            Place::Udp(dialer) => {
                let addresses = dialer.addresses().await?;
                let socket = udp(&addresses).await;
                socket
                    .map(Socket::Udp)
                    .map_err(|error| Failure::transient(Reason::Connect, error))
            }
        }
    }
}

impl Socket {
    async fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        match self {
            Self::Udp(socket) => socket.send(datagram).await,
            Self::Unix(socket) => socket.send(datagram).await,
        }
    }
}

fn unix(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(socket)
}

async fn udp(addresses: &[SocketAddr]) -> io::Result<UdpSocket> {
    let mut last = io::ErrorKind::NotFound.into();
    for addr in addresses {
        let any: SocketAddr = match addr {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).await?;
        match socket.connect(addr).await {
            Ok(()) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn a_socket_that_is_not_there_yet_may_be_tried_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("dsd.socket");
        let mut datagrams = Datagrams::new(Place::Unix(path.clone()), TIMEOUT);
        let failure = datagrams.send(b"a:1|c").await.expect_err("nobody is there");
        assert_eq!(
            failure,
            Failure::transient(Reason::Connect, failure.message.clone())
        );

        let reader = UnixDatagram::bind(&path).expect("a free path");
        datagrams.send(b"a:1|c").await.expect("somebody is there");
        let mut read = [0; 16];
        let length = reader.recv(&mut read).await.expect("it arrives");
        assert_eq!(&read[..length], b"a:1|c");
    }

    #[tokio::test]
    async fn a_reader_that_is_stuck_is_not_waited_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("dsd.socket");
        let _reader = UnixDatagram::bind(&path).expect("a free path");
        let mut datagrams = Datagrams::new(Place::Unix(path), TIMEOUT);
        let failure = loop {
            if let Err(failure) = datagrams.send(&[b'x'; 8192]).await {
                break failure;
            }
        };
        assert_eq!(failure, Failure::lasting(Reason::Timeout, "nobody reads"));
    }
}
