//! Connections to upstreams.

use std::{io, net::SocketAddr, os::fd::AsFd, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout},
};

use crate::{
    addr::{EndpointAddr, OriginalDst},
    destination::Chosen,
    ejection::Outcome,
    reason::Reason,
};

/// A peer that has vanished without a word is noticed after about two minutes:
/// idle, then this many probes. The application's own keepalive ends at the sidecar.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

/// Nobody has so little patience with connections that are of use.
const AT_ONCE: Duration = Duration::from_secs(1);

/// How upstreams are connected.
#[derive(Clone, Copy, Debug)]
pub struct Connector {
    /// To an endpoint, when there may be another.
    pub timeout: Duration,
    /// To an address without an alternative.
    pub pass_through_timeout: Duration,
    /// As of [`tune`].
    pub user_timeout: Option<Duration>,
}

/// An upstream that could not be connected.
#[derive(Debug, thiserror::Error)]
#[error("could not connect to {addr} within {timeout:?} ({reason})")]
pub struct ConnectError {
    /// Where to.
    pub addr: SocketAddr,
    /// How long it was tried at most.
    pub timeout: Duration,
    /// Why not.
    pub reason: Reason,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

/// A connection to an upstream.
#[derive(Debug)]
pub struct Upstream {
    /// The connection.
    pub stream: TcpStream,
    /// Where it goes.
    pub addr: SocketAddr,
    /// How long the successful connect took.
    pub took: Duration,
    /// When that was.
    pub since: Instant,
    /// Why an earlier try at another endpoint failed, if there was one.
    pub retried: Option<Reason>,
    /// Counts the connection at its endpoint, if it goes to one.
    pub chosen: Option<Chosen>,
}

impl Connector {
    /// Connects to the endpoint that was chosen first for a connection; if that fails, to
    /// the one that `other` chooses then, without this.
    ///
    /// # Errors
    /// The last failure, if both failed or there is no other.
    pub async fn endpoint(
        &self,
        first: Chosen,
        other: impl FnOnce(EndpointAddr) -> Option<Chosen>,
    ) -> Result<Upstream, ConnectError> {
        let failure = match self.chosen(&first).await {
            Ok(upstream) => return Ok(upstream.at(first)),
            Err(failure) => failure,
        };
        failure.blame(&first);
        if !failure.reason.may_work_elsewhere() {
            return Err(failure);
        }
        let Some(second) = other(first.addr()) else {
            return Err(failure);
        };
        drop(first);
        match self.chosen(&second).await {
            Ok(upstream) => Ok(Upstream {
                retried: Some(failure.reason),
                ..upstream.at(second)
            }),
            Err(failure) => {
                failure.blame(&second);
                Err(failure)
            }
        }
    }

    /// Connects to the endpoint that was chosen for a request, until then at most.
    ///
    /// # Errors
    /// If that fails. That is held against the endpoint, unless there was less time
    /// than endpoints have, or it is the sidecar that lacks something.
    pub async fn one(
        &self,
        chosen: Chosen,
        until: Option<Instant>,
    ) -> Result<Upstream, ConnectError> {
        let EndpointAddr(addr) = chosen.addr();
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let limit = left.map_or(self.timeout, |left| left.min(self.timeout));
        match self.connect(addr, limit).await {
            Ok(upstream) => Ok(upstream.at(chosen)),
            Err(failure) => {
                if limit == self.timeout || failure.reason != Reason::ConnectTimeout {
                    failure.blame(&chosen);
                }
                Err(failure)
            }
        }
    }

    /// Connects to where the connection was going.
    ///
    /// # Errors
    /// If that fails.
    pub async fn original(&self, dst: OriginalDst) -> Result<Upstream, ConnectError> {
        self.connect(dst.0, self.pass_through_timeout).await
    }

    async fn chosen(&self, chosen: &Chosen) -> Result<Upstream, ConnectError> {
        let EndpointAddr(addr) = chosen.addr();
        self.connect(addr, self.timeout).await
    }

    async fn connect(&self, addr: SocketAddr, limit: Duration) -> Result<Upstream, ConnectError> {
        let failed = |source: io::Error| ConnectError {
            addr,
            timeout: limit,
            reason: Reason::of_connect(&source),
            source,
        };
        let socket = if addr.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        };
        let socket = socket.map_err(failed)?;
        tune(&socket, self.user_timeout);
        let begun = Instant::now();
        let stream = match timeout(limit, socket.connect(addr)).await {
            Ok(connected) => connected
                .and_then(|stream| to_another(stream, addr))
                .map_err(failed)?,
            Err(_) => return Err(failed(io::ErrorKind::TimedOut.into())),
        };
        let since = Instant::now();
        Ok(Upstream {
            stream,
            addr,
            took: since - begun,
            since,
            retried: None,
            chosen: None,
        })
    }
}

impl ConnectError {
    /// Holds it against the endpoint, unless it says nothing of that.
    fn blame(&self, chosen: &Chosen) {
        if !self.reason.is_local() {
            chosen.failed(Instant::now());
        }
    }
}

impl Upstream {
    fn at(self, chosen: Chosen) -> Self {
        chosen.connected(self.took, self.since);
        Self {
            chosen: Some(chosen),
            ..self
        }
    }

    /// Whether what was chosen is still there, if it was chosen.
    #[must_use]
    pub fn is_current(&self) -> bool {
        let endpoint = self.chosen.as_ref().map(Chosen::endpoint);
        endpoint.is_none_or(|endpoint| endpoint.is_current())
    }

    /// It has ended or broken off, and not said anything. At once, that is held against
    /// its endpoint; later it is what servers do with connections that nobody uses.
    pub fn hung_up(&mut self) {
        let now = Instant::now();
        if let Some(chosen) = &mut self.chosen
            && is_at_once(self.since, now)
        {
            chosen.showed(Outcome::Reset, now);
        }
    }
}

/// A connection that does not end where it begins. The kernel chooses the port that one
/// comes from; where that is the port that it goes to, of the pod's own address, and nobody
/// listens there yet, it meets itself (simultaneous open, RFC 9293 section 3.5), and is in
/// the way of the application that comes to listen.
fn to_another(stream: TcpStream, addr: SocketAddr) -> io::Result<TcpStream> {
    let own = stream.local_addr()?;
    if (own.ip(), own.port()) == (addr.ip(), addr.port()) {
        reset(stream);
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

/// Whether somebody who does something now to a connection that was made then seems to do
/// it to all of them.
pub(crate) fn is_at_once(connected: Instant, now: Instant) -> bool {
    now.saturating_duration_since(connected) < AT_ONCE
}

/// Sets what relayed connections need: no delay (the applications decide what they
/// batch), and keepalive. What a listener accepts has it from the listener, since the
/// kernel clones that, and costs no system calls of its own. A socket that refuses is
/// about to tell its error anyway.
///
/// `user_timeout` is for how long the peer may acknowledge nothing of what was sent
/// to it (`TCP_USER_TIMEOUT`, tcp(7)); without one [`vanished`](crate::vanished) has the
/// last word, or the kernel after a quarter of an hour. It ends connections to peers that are well and read nothing for as long,
/// too (RFC 1122, 4.2.2.17 would have them wait), which is why there is none by default.
pub fn tune(socket: &impl AsFd, user_timeout: Option<Duration>) {
    let socket = SockRef::from(socket);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    let tuned = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_keepalive(&keepalive))
        .and_then(|()| match user_timeout {
            Some(_) => socket.set_tcp_user_timeout(user_timeout),
            None => Ok(()),
        });
    if let Err(error) = tuned {
        tracing::debug!(%error, "could not set socket options");
    }
}

/// Closes a connection so that its peer sees a reset, as it would have seen from
/// the upstream itself.
pub fn reset(stream: TcpStream) {
    if let Err(error) = SockRef::from(&stream).set_linger(Some(Duration::ZERO)) {
        tracing::debug!(%error, "could not reset, closing instead");
    }
}

#[cfg(test)]
mod tests;
