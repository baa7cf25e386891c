//! Accepts connections to a port, no more than there are slots for.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};

use crate::slots::{Slot, Slots};

/// Pause after a failed accept, so that a lack of file descriptors doesn't spin.
const BACKOFF: Duration = Duration::from_millis(50);

/// A port whose connections are bounded in number.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    purpose: &'static str,
    slots: Slots,
}

impl Acceptor {
    /// So many connections of this listener at a time; what they are for is told in the
    /// log, as in "connections to the admin port".
    #[must_use]
    pub fn new(listener: TcpListener, purpose: &'static str, connections_max: usize) -> Self {
        Self {
            listener,
            purpose,
            slots: Slots::new(purpose, connections_max),
        }
    }

    /// The next connection, and its slot: whoever serves it ends once that is revoked,
    /// and says of the holder when it is at work.
    ///
    /// Nobody waits in line for somebody else: a connection that has no slot coming to
    /// it is closed.
    pub async fn accept(&self) -> (TcpStream, SocketAddr, Slot) {
        loop {
            match self.listener.accept().await {
                Ok((stream, client)) => {
                    if let Some(slot) = self.slots.take(client.ip()).await {
                        return (stream, client, slot);
                    }
                }
                Err(error) => {
                    let of = self.purpose;
                    tracing::warn!(%error, of, "could not accept a connection");
                    sleep(BACKOFF).await;
                }
            }
        }
    }
}
