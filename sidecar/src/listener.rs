//! Accepts redirected connections, of both families.

use std::{
    future::Future,
    io,
    net::{self, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use netting_runtime::{Drain, drain::Task};
use netting_telemetry::connections::{DirectionMetrics, Gauge};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use crate::{addr::ClientAddr, connect, memory::Peak, reason::Reason};

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
    v4: net::TcpListener,
    v6: Option<net::TcpListener>,
}

/// What connections are accepted with.
#[derive(Clone, Debug)]
pub struct Door {
    /// Where there is room for them.
    pub places: Places,
    /// What waits for them.
    pub drain: Drain,
    /// Is told how many there are.
    pub peak: Peak,
    /// The direction's instruments.
    pub metrics: DirectionMetrics,
}

/// An open connection, until it is dropped.
#[derive(Debug)]
struct Open {
    active: Gauge,
    _place: OwnedSemaphorePermit,
    _task: Task,
}

impl Listeners {
    /// Binds the port; 0 takes a free one. Without IPv6 in the kernel or the pod,
    /// listens on IPv4 alone.
    ///
    /// # Errors
    /// If the port is taken, or a socket cannot be had.
    pub fn bind(port: u16) -> io::Result<Self> {
        Self::bind_shared(port, false)
    }

    /// Binds the port so many times. The kernel spreads connections over them
    /// (`SO_REUSEPORT`, socket(7)), so that each thread has its own to accept.
    ///
    /// # Errors
    /// If the port is taken, or a socket cannot be had.
    pub fn bind_each(port: u16, times: usize) -> io::Result<Vec<Self>> {
        let first = Self::bind_shared(port, times > 1)?;
        let port = first.port()?;
        let others = (1..times).map(|_| Self::bind_shared(port, true));
        std::iter::once(Ok(first)).chain(others).collect()
    }

    fn bind_shared(port: u16, shared: bool) -> io::Result<Self> {
        let v4 = listen((Ipv4Addr::UNSPECIFIED, port).into(), shared)?;
        let port = v4.local_addr()?.port();
        let v6 = match listen((Ipv6Addr::UNSPECIFIED, port).into(), shared) {
            Ok(v6) => Some(v6),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => {
                tracing::info!(%error, "listening on IPv4 alone");
                None
            }
        };
        Ok(Self { v4, v6 })
    }

    /// Sets what connections need that are accepted here, as of [`connect::tune`].
    pub fn tune(&self, user_timeout: Option<Duration>) {
        connect::tune(&self.v4, user_timeout);
        if let Some(v6) = &self.v6 {
            connect::tune(v6, user_timeout);
        }
    }

    /// The port that was bound.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.v4.local_addr()?.port())
    }
}

async fn next(v4: &TcpListener, v6: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    let Some(v6) = v6 else {
        return v4.accept().await;
    };
    tokio::select! {
        accepted = v4.accept() => accepted,
        accepted = v6.accept() => accepted,
    }
}

fn listen(addr: SocketAddr, shared: bool) -> io::Result<net::TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts until the process ends, while it drains too: the application may still
/// be finishing. Each connection is a task on this thread that the drain waits for.
///
/// # Errors
/// If there is no runtime that could wait for the listeners.
pub async fn accept<C>(
    listeners: Listeners,
    door: Door,
    connection: impl Fn(TcpStream, ClientAddr) -> C,
) -> io::Result<()>
where
    C: Future<Output = ()> + 'static,
{
    let v4 = TcpListener::from_std(listeners.v4)?;
    let v6 = listeners.v6.map(TcpListener::from_std).transpose()?;
    loop {
        let (downstream, client) = match next(&v4, v6.as_ref()).await {
            Ok((downstream, client)) => (downstream, ClientAddr(client)),
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        let Some(open) = door.open() else {
            tracing::debug!(%client, reason = %Reason::TooManyConnections, "refused a connection");
            connect::reset(downstream);
            continue;
        };
        // What a future captures and then awaits has its place twice in it; a pointer's is
        // small.
        let connection = Box::pin(connection(downstream, client));
        tokio::task::spawn_local(async move {
            connection.await;
            drop(open);
        });
    }
}

impl Door {
    /// Takes a place, unless all are taken.
    fn open(&self) -> Option<Open> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.metrics.refused(Reason::TooManyConnections.as_str());
            return None;
        };
        self.metrics.opened.inc();
        self.metrics.active.inc();
        let task = self.drain.task();
        self.peak.opened(self.drain.tasks());
        Some(Open {
            active: self.metrics.active.clone(),
            _place: place,
            _task: task,
        })
    }
}

impl Drop for Open {
    /// Also when the connection's task panicked, or was aborted.
    fn drop(&mut self) {
        self.active.dec();
    }
}

#[cfg(test)]
mod tests;
