//! What all servers share: a listener for both address families, the accept loop, and what
//! SIGTERM means to it.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::duration::{DurationError, parse_duration};
use crate::journal;
use crate::pod::Pod;
use crate::terminate::Terminate;

/// Connections the kernel completes for us before we accept them.
const ACCEPT_BACKLOG: i32 = 1024;
/// How long to leave the accept loop alone after an error such as too many open files.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// Flags of every server.
#[derive(Debug, Clone, clap::Args)]
pub struct ServerArgs {
    /// TCP port to listen on, on all IPv6 and IPv4 addresses; 0 takes a free one
    #[arg(long, default_value = "8080", env = "NETTING_APP_PORT")]
    pub port: u16,

    /// What SIGTERM means: exit (at once, breaking connections), finish (accept no more, exit once
    /// what is in flight is done), linger=DURATION (keep serving for that long, then finish). The
    /// exit code is 0; a second signal always means now
    #[arg(long, default_value = "finish", env = "NETTING_APP_ON_SIGTERM")]
    pub on_sigterm: OnSigterm,
}

/// What a server does when it's asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnSigterm {
    /// Leave at once: what is in flight is lost.
    Exit,
    /// Accept no more connections, and leave when those that are open are done. A TCP mode is done
    /// when its peers closed; HTTP when each answer in progress has been sent.
    Finish,
    /// Serve on as if nothing had happened, then [`OnSigterm::Finish`].
    Linger(Duration),
}

/// Why a text is no [`OnSigterm`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OnSigtermError {
    /// Not one of the three words.
    #[error("expected exit, finish or linger=DURATION, such as linger=5s")]
    Unknown,
    /// `linger=` with something else behind it.
    #[error(transparent)]
    Duration(#[from] DurationError),
}

impl FromStr for OnSigterm {
    type Err = OnSigtermError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.strip_prefix("linger=")) {
            ("exit", _) => Ok(Self::Exit),
            ("finish", _) => Ok(Self::Finish),
            (_, Some(duration)) => Ok(Self::Linger(parse_duration(duration)?)),
            _ => Err(OnSigtermError::Unknown),
        }
    }
}

/// Tells a connection that the server is ending: finish what was begun, begin nothing new.
#[derive(Debug, Clone)]
pub struct Ending(watch::Receiver<bool>);

impl Ending {
    /// Returns once the server is ending.
    pub async fn begun(&mut self) {
        // An error means that the accept loop is gone, and so is this connection's reason to be.
        let _ = self.0.wait_for(|ending| *ending).await;
    }
}

#[derive(Serialize)]
struct Listening<'a> {
    mode: &'a str,
    addr: SocketAddr,
    #[serde(flatten)]
    pod: &'a Pod,
}

/// Listens on `port` of every address of both families, and says so in the journal.
///
/// A kernel without IPv6 gets `0.0.0.0` instead of `[::]`.
///
/// # Errors
///
/// The port is taken or not allowed.
pub fn listen(mode: &str, port: u16, pod: &Pod) -> anyhow::Result<TcpListener> {
    let dual_stack = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let ipv4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let listener = match bind(dual_stack) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        Err(_no_ipv6) => bind(ipv4),
        bound => bound,
    }
    .with_context(|| format!("listen on TCP port {port}"))?;
    let addr = listener
        .local_addr()
        .context("read the listener's address")?;
    journal::write("listening", &Listening { mode, addr, pod });
    Ok(listener)
}

fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        // The default is a sysctl (net.ipv6.bindv6only), so it's said for this socket.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(ACCEPT_BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts connections and hands each to `handle` in a task of its own, until `terminate` and
/// `on_sigterm` say to stop. Returns when the process may exit.
pub async fn serve<H, F>(
    listener: TcpListener,
    on_sigterm: OnSigterm,
    mut terminate: Terminate,
    handle: H,
) where
    H: Fn(TcpStream, SocketAddr, Ending) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let (end, ending) = watch::channel(false);
    let mut connections = JoinSet::new();
    let stop_accepting = stop_accepting(on_sigterm, terminate.clone());
    tokio::pin!(stop_accepting);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    // Small answers must not wait for the peer's delayed acknowledgement.
                    let _ = stream.set_nodelay(true);
                    connections.spawn(handle(stream, canonical(peer), Ending(ending.clone())));
                }
                Err(_) => tokio::time::sleep(ACCEPT_BACKOFF).await,
            },
            Some(_) = connections.join_next() => {}
            () = &mut stop_accepting => break,
        }
    }
    drop(listener);
    if on_sigterm == OnSigterm::Exit {
        return;
    }
    end.send_replace(true);
    tokio::select! {
        () = async { while connections.join_next().await.is_some() {} } => {}
        () = terminate.insisted() => {}
    }
}

async fn stop_accepting(on_sigterm: OnSigterm, mut terminate: Terminate) {
    terminate.requested().await;
    if let OnSigterm::Linger(duration) = on_sigterm {
        tokio::select! {
            () = tokio::time::sleep(duration) => {}
            () = terminate.insisted() => {}
        }
    }
}

/// A dual-stack listener sees IPv4 peers as `::ffff:a.b.c.d` (RFC 4291 section 2.5.5.2); tests
/// compare them with the pod's address as Kubernetes writes it.
fn canonical(peer: SocketAddr) -> SocketAddr {
    match peer.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::from((ip, peer.port())),
        IpAddr::V6(_) => peer,
    }
}

#[cfg(test)]
mod tests;
