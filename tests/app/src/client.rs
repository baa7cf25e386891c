//! The client's half: from a URL to an answer, or to the reason why there is none.
//!
//! - [`target`]: what the URL or `HOST:PORT` names
//! - [`names`]: host names to addresses
//! - [`connect`]: the first address that accepts
//! - [`exchange`]: one HTTP/1.1 request on a connection
//! - [`failure`]: what can go wrong, by kind

pub mod exchange;
pub mod failure;
pub mod names;
pub mod target;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use failure::{Failure, FailureKind};
use names::Names;
use target::Target;

/// Connects to the first of the target's addresses that accepts, in the resolver's order.
///
/// An address that doesn't answer gets its share of the time left, so that one black hole doesn't
/// hide the addresses behind it.
///
/// # Errors
///
/// No address, none that accepted, or `deadline` passed; the last address's failure is told.
pub async fn connect(
    names: &Names,
    target: &Target,
    deadline: Instant,
) -> Result<TcpStream, Failure> {
    let addresses = names.addresses(target, deadline).await?;
    let mut last = Failure::new(FailureKind::Resolve, format!("{target} has no address"));
    for (tried, addr) in addresses.iter().enumerate() {
        match connect_one(*addr, share_of(deadline, addresses.len() - tried)).await {
            Ok(stream) => return Ok(stream),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

fn share_of(deadline: Instant, addresses_left: usize) -> Instant {
    let left = deadline.saturating_duration_since(Instant::now());
    let shares = u32::try_from(addresses_left).unwrap_or(u32::MAX).max(1);
    Instant::now() + left / shares
}

async fn connect_one(addr: SocketAddr, deadline: Instant) -> Result<TcpStream, Failure> {
    let stream = timeout_at(deadline, TcpStream::connect(addr))
        .await
        .map_err(|_| Failure::timeout(format!("connecting to {addr}")))?
        .map_err(|error| {
            Failure::new(FailureKind::Connect, format!("connect to {addr}: {error}"))
        })?;
    // Small requests must not wait for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// The point in time `timeout` from now.
#[must_use]
pub fn deadline_in(timeout: Duration) -> Instant {
    Instant::now() + timeout
}

#[cfg(test)]
mod tests;
