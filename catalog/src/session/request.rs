//! What sidecars say.

use std::net::SocketAddr;

use netting_proto::{
    required,
    v1::{self, stream_request::Kind},
};

use super::{Due, Followed, Greeting, Sent, Session};
use crate::index::state::Hash;

/// What came of a request.
#[derive(Debug, Default)]
pub struct Heard {
    /// Who opened the stream, once it is said.
    pub hello: Option<v1::Hello>,
    /// Addresses that are followed no more.
    pub unfollowed: Vec<SocketAddr>,
    /// Items of the request that were ignored; the others count.
    pub ignored: Vec<Ignored>,
}

/// Why an item of a request, or a whole one, was ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// It is no TCP address.
    BadAddress,
    /// The stream follows as many addresses as it may. This one is answered with
    /// Unknown, so that connections to it pass through.
    TooManySubscriptions,
    /// No kind of request that this version knows.
    UnknownRequest,
}

impl Ignored {
    /// As in logs and labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Ignored::BadAddress => "bad_address",
            Ignored::TooManySubscriptions => "too_many_subscriptions",
            Ignored::UnknownRequest => "unknown_request",
        }
    }
}

/// A breach of the contract that ends the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Something was said before Hello.
    #[error("the first request on a stream is Hello")]
    NoHello,
    /// Hello was said again.
    #[error("Hello is only the first request on a stream")]
    SecondHello,
}

impl Session {
    /// Takes a request in.
    ///
    /// # Errors
    /// If it breaches the contract in a way that leaves no sense in going on.
    pub fn hear(&mut self, request: v1::StreamRequest) -> Result<Heard, Fault> {
        let mut heard = Heard::default();
        let awaited = self.greeting == Greeting::Awaited;
        match request.kind {
            Some(Kind::Hello(hello)) if awaited => {
                self.greeting = Greeting::Due;
                heard.hello = Some(hello);
            }
            _ if awaited => return Err(Fault::NoHello),
            Some(Kind::Hello(_)) => return Err(Fault::SecondHello),
            Some(Kind::Subscribe(subscribe)) => {
                for subscription in &subscribe.subscriptions {
                    let subscribed = self.subscribe(subscription);
                    heard.ignored.extend(subscribed.err());
                }
            }
            Some(Kind::Unsubscribe(unsubscribe)) => {
                for address in &unsubscribe.addresses {
                    match SocketAddr::try_from(address) {
                        Ok(addr) => heard.unfollowed.extend(self.unsubscribe(addr)),
                        Err(_) => heard.ignored.push(Ignored::BadAddress),
                    }
                }
            }
            Some(Kind::Heartbeat(heartbeat)) => self.heartbeat = Some(heartbeat.sequence),
            None => heard.ignored.push(Ignored::UnknownRequest),
        }
        Ok(heard)
    }

    fn subscribe(&mut self, subscription: &v1::Subscription) -> Result<(), Ignored> {
        let addr = required(subscription.address.as_ref()).map_err(|_| Ignored::BadAddress)?;
        let room = self.followed.len() < self.terms.subscriptions_max;
        if !room && !self.followed.contains_key(&addr) {
            // This list is bounded too, for who asks on and on without reading.
            if self.declined.len() < self.terms.subscriptions_max {
                self.declined.push_back(addr);
            }
            return Err(Ignored::TooManySubscriptions);
        }
        self.followed.entry(addr).or_insert(Followed {
            sent: Sent::Nothing,
            due: None,
        });
        // A hash of another length is no hash of ours, and current in no case.
        let held = <[u8; 16]>::try_from(&subscription.known_hash[..]).ok();
        self.note(addr, Due::Answer(held.map(Hash)), |_| true);
        Ok(())
    }

    fn unsubscribe(&mut self, addr: SocketAddr) -> Option<SocketAddr> {
        let followed = self.followed.remove(&addr)?;
        if let Some((turn, _)) = followed.due {
            self.queue.remove(&turn);
        }
        Some(addr)
    }
}
