//! Finds out what a connection carries without making anybody wait.
//!
//! A hint decides if there is one. Otherwise the client's first bytes do; if none
//! came soon, the upstream is connected meanwhile, for the server may be the one
//! that speaks first. What a client begins with and does not go on with may be the
//! whole of what an unknown protocol has to say, so the upstream gets it as it is: a
//! request line that comes to its end later is one all the same ([`Begun`]).

mod begun;
mod hint;
mod look;

use std::{
    cell::RefCell,
    collections::HashMap,
    future::{Future, poll_fn},
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::{
    addr::OriginalDst,
    connect::{ConnectError, Upstream},
    detect::{Detection, PREFIX_BYTES, Protocol, detect},
    http::idle::{Waiter, Waiters, WaitsFor},
    ports::PortSet,
    reason::Reason,
    stream::has_hung_up,
};

use look::{Heard, after_hang_up, hears, look};

pub use begun::Begun;
pub use hint::Hint;

/// Destinations whose servers speak first are remembered up to this many, for each
/// worker thread.
const REMEMBERED_MAX: usize = 1024;
/// And for so long: what listens there may become something else.
const REMEMBERED_FOR: Duration = Duration::from_secs(3600);

/// Finds protocols out, and remembers who speaks first.
#[derive(Debug)]
pub struct Finder {
    opaque_ports: PortSet,
    wait: Duration,
    waiters: Rc<Waiters>,
    server_first: RefCell<HashMap<SocketAddr, Instant>>,
}

/// A protocol, and the upstream if it was connected to find it out.
#[derive(Debug)]
pub struct Found {
    /// What the connection carries.
    pub protocol: Protocol,
    /// The upstream.
    pub upstream: Option<Upstream>,
    /// What was read of the client, and perhaps passed on to that upstream.
    pub begun: Begun,
}

/// Why nothing was found out.
#[derive(Debug, thiserror::Error)]
pub enum Unfound {
    /// The upstream had to be connected and could not be.
    #[error(transparent)]
    Unconnected(#[from] ConnectError),
    /// Neither side said anything, for as long as that is waited for.
    #[error("neither side said anything ({0})")]
    Unused(Reason),
}

/// What a client says by itself.
enum Said {
    /// Nothing soon.
    Nothing,
    /// Something that it does not go on with.
    Beginning,
    /// It speaks this.
    Protocol(Protocol),
}

impl Finder {
    /// `wait` is how long the client is given to speak first, and to go on with what
    /// it began; `waiters` end connections on which nobody says anything.
    #[must_use]
    pub(crate) fn new(opaque_ports: PortSet, wait: Duration, waiters: Rc<Waiters>) -> Self {
        Self {
            opaque_ports,
            wait,
            waiters,
            server_first: RefCell::default(),
        }
    }

    /// Finds out what a connection to `dst` carries. Nothing is read from either side,
    /// unless the client hesitates.
    ///
    /// # Errors
    /// If the upstream had to be connected and could not be, or nobody ever speaks.
    pub async fn find(
        &self,
        dst: OriginalDst,
        hint: Option<Hint>,
        downstream: &TcpStream,
        connect: impl AsyncFnOnce() -> Result<Upstream, ConnectError>,
    ) -> Result<Found, Unfound> {
        let is_opaque = hint == Some(Hint::Opaque)
            || self.opaque_ports.contains(dst.0.port())
            || self.server_spoke_first(dst);
        if is_opaque {
            return Ok(Found::at_once(Protocol::Opaque));
        }
        let mut said = Box::pin(self.client_says(downstream)).await;
        if matches!(said, Said::Nothing) && hint == Some(Hint::ClientFirst) {
            // An error shows when it is read.
            let _ = self.first_word(downstream.readable()).await?;
            said = Box::pin(self.client_says(downstream)).await;
        }
        let hesitated = match said {
            Said::Protocol(protocol) => return Ok(Found::at_once(protocol)),
            Said::Beginning => true,
            Said::Nothing => false,
        };
        let upstream = connect().await?;
        let sides = (downstream, upstream);
        Box::pin(self.find_meanwhile(dst, sides, hesitated)).await
    }

    /// Waits for either side to speak. What the client has begun with, and does not go
    /// on with soon, is passed on; at once, if it has `hesitated`.
    async fn find_meanwhile(
        &self,
        dst: OriginalDst,
        (downstream, mut upstream): (&TcpStream, Upstream),
        hesitated: bool,
    ) -> Result<Found, Unfound> {
        let waiter = self.waits_for_first_word();
        let mut begun = Begun::default();
        let mut wait = if hesitated { Duration::ZERO } else { self.wait };
        let mut is_over = false;
        let protocol = loop {
            let hesitates = sleep(wait);
            tokio::select! {
                biased;
                read = begun.read(downstream) => match (read, detect(begun.bytes())) {
                    // One that is broken already: the relay tells.
                    (Ok(0) | Err(_), _) => break Protocol::Opaque,
                    (Ok(_), Detection::Is(protocol)) => break protocol,
                    (Ok(_), Detection::NeedMore) => {}
                },
                heard = hears(&upstream.stream, self.wait) => {
                    match heard {
                        Heard::Settings => continue,
                        Heard::Words { are_a_habit } => {
                            if are_a_habit && begun.bytes().is_empty() {
                                self.remember(dst);
                            }
                            break Protocol::Opaque;
                        }
                        Heard::End => {}
                        Heard::Break => upstream.hung_up(),
                    }
                    is_over = true;
                    break after_hang_up(&mut begun, downstream).await;
                }
                () = hesitates, if !begun.is_passed_on() => {
                    wait = self.wait;
                    if begun.pass_on(&upstream.stream).is_err() {
                        break after_hang_up(&mut begun, downstream).await;
                    }
                }
                reason = poll_fn(|cx| waiter.poll_over(cx)), if begun.bytes().is_empty() => {
                    return Err(Unfound::Unused(reason));
                }
            }
        };
        // Whatever had come of what it was sent, nobody could act on that yet. An opaque
        // client is told of it as it is.
        let is_over = is_over || has_hung_up(&upstream.stream);
        if protocol != Protocol::Opaque && is_over {
            upstream.hung_up();
            let begun = begun.anew();
            return Ok(Found {
                begun,
                ..Found::at_once(protocol)
            });
        }
        Ok(Found {
            protocol,
            upstream: Some(upstream),
            begun,
        })
    }

    /// Waits for the first word of a connection, as long as anybody does.
    async fn first_word<T>(&self, said: impl Future<Output = T>) -> Result<T, Unfound> {
        let waiter = self.waits_for_first_word();
        tokio::select! {
            biased;
            said = said => Ok(said),
            reason = poll_fn(|cx| waiter.poll_over(cx)) => Err(Unfound::Unused(reason)),
        }
    }

    fn waits_for_first_word(&self) -> Waiter {
        let waiter = self.waiters.join();
        waiter.waits_for(WaitsFor::Request);
        waiter
    }

    /// What the client says. Bytes that go on coming are waited for, as far as a
    /// protocol may begin with them.
    async fn client_says(&self, downstream: &TcpStream) -> Said {
        let mut prefix = vec![0; PREFIX_BYTES];
        let mut seen = 0;
        loop {
            let looked = timeout(self.wait, look(downstream, &mut prefix, seen)).await;
            let more = match looked {
                Ok(Ok(more)) => more,
                // A connection that is broken already: the relay tells.
                Ok(Err(_)) => return Said::Protocol(Protocol::Opaque),
                Err(_) if seen == 0 => return Said::Nothing,
                Err(_) => return Said::Beginning,
            };
            match detect(&prefix[..more.bytes]) {
                Detection::Is(protocol) => return Said::Protocol(protocol),
                Detection::NeedMore if more.are_all => return Said::Protocol(Protocol::Opaque),
                Detection::NeedMore => seen = more.bytes,
            }
        }
    }

    fn server_spoke_first(&self, dst: OriginalDst) -> bool {
        let remembered = self.server_first.borrow().get(&dst.0).copied();
        remembered.is_some_and(|since| since.elapsed() < REMEMBERED_FOR)
    }

    fn remember(&self, dst: OriginalDst) {
        let mut remembered = self.server_first.borrow_mut();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.retain(|_, since| since.elapsed() < REMEMBERED_FOR);
        }
        if remembered.len() < REMEMBERED_MAX {
            remembered.insert(dst.0, Instant::now());
        }
    }
}

impl Found {
    /// Nothing had to be read or connected for it.
    fn at_once(protocol: Protocol) -> Self {
        Self {
            protocol,
            upstream: None,
            begun: Begun::default(),
        }
    }
}

#[cfg(test)]
mod tests;
