//! Accepts redirected connections, of both families.

use std::{
    future::Future,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use netting_runtime::Drain;
use netting_telemetry::connections::DirectionMetrics;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use crate::{addr::ClientAddr, connect, reason::Reason};

/// Connections that the kernel holds until they are accepted. A burst beyond it
/// would see its SYNs dropped and wait a second for the retransmission.
const BACKLOG: i32 = 4096;
/// Pause after a failed accept, so that a lack of file descriptors doesn't spin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// Places for open connections, shared by both directions.
pub type Places = Arc<Semaphore>;

/// One port on each family that the pod has.
///
/// They listen on all addresses: the kernel redirects local connections to
/// loopback, and those from outside to the address of the interface they came by.
#[derive(Debug)]
pub struct Listeners {
    v4: TcpListener,
    v6: Option<TcpListener>,
}

impl Listeners {
    /// Binds the port; 0 takes a free one. Without IPv6 in the kernel or the pod,
    /// listens on IPv4 alone.
    ///
    /// # Errors
    /// If the port is taken, or a socket cannot be had.
    pub fn bind(port: u16) -> io::Result<Self> {
        let v4 = listen((Ipv4Addr::UNSPECIFIED, port).into())?;
        let port = v4.local_addr()?.port();
        let v6 = match listen((Ipv6Addr::UNSPECIFIED, port).into()) {
            Ok(v6) => Some(v6),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => {
                tracing::info!(%error, "listening on IPv4 alone");
                None
            }
        };
        Ok(Self { v4, v6 })
    }

    /// The port that was bound.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.v4.local_addr()?.port())
    }

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let Some(v6) = &self.v6 else {
            return self.v4.accept().await;
        };
        tokio::select! {
            accepted = self.v4.accept() => accepted,
            accepted = v6.accept() => accepted,
        }
    }
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts until the process ends, while it drains too: the application may still
/// be finishing. Each connection is a task that the drain waits for.
pub async fn accept<F, C>(
    listeners: Listeners,
    places: Places,
    metrics: DirectionMetrics,
    drain: Drain,
    connection: F,
) where
    F: Fn(TcpStream, ClientAddr) -> C,
    C: Future<Output = ()> + Send + 'static,
{
    loop {
        let (downstream, client) = match listeners.accept().await {
            Ok((downstream, client)) => (downstream, ClientAddr(client)),
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            metrics.refused(Reason::TooManyConnections.as_str());
            tracing::debug!(%client, reason = %Reason::TooManyConnections, "refused a connection");
            connect::reset(downstream);
            continue;
        };
        metrics.opened.inc();
        metrics.active.inc();
        let active = metrics.active.clone();
        let connection = connection(downstream, client);
        drain.spawn(async move {
            connection.await;
            active.dec();
            drop(place);
        });
    }
}
