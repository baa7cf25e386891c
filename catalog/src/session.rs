//! One sidecar's conversation, without its stream: requests go in, the next
//! message comes out.
//!
//! What is to be said is worked out when it can be said, from the newest state.
//! Until then there is a note for each address that something is due, and no
//! more than one, however often the address changes meanwhile.

mod request;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
};

use netting_proto::v1::{self, stream_response::Kind as Message};

use crate::{
    index::{
        diff::Diff,
        state::{Hash, State},
    },
    publisher::Published,
    wire,
};

pub use request::{Fault, Heard, Ignored};

/// What a session says of itself, and how much it takes on.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Told to the sidecar in Welcome.
    pub heartbeat_interval_ms: u32,
    /// Addresses that one sidecar may follow.
    pub subscriptions_max: usize,
}

/// The state of a conversation.
#[derive(Debug)]
pub struct Session {
    terms: Terms,
    greeting: Greeting,
    followed: HashMap<SocketAddr, Followed>,
    /// Addresses of which something is due, in the order in which it became so.
    queue: BTreeMap<u64, SocketAddr>,
    turn: u64,
    /// Addresses beyond the limit, which are answered once and not followed.
    declined: VecDeque<SocketAddr>,
    /// Sequence of a heartbeat that is due.
    heartbeat: Option<u64>,
    application: Application,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Greeting {
    /// Nothing has been said.
    Awaited,
    /// The sidecar said Hello; Welcome is due.
    Due,
    /// Both have been said.
    Done,
}

/// What the sidecar has to know of the application that it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Application {
    /// Nothing: it may be running.
    Running,
    /// That it has ended, which is due to be said.
    Ended,
    /// Nothing more.
    Told,
}

/// What the sidecar has to know of where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// Nothing: it isn't known yet.
    Unknown,
    /// The zone, which is due to be said.
    Due(Arc<str>),
    /// Nothing more.
    Told,
}

#[derive(Debug)]
struct Followed {
    sent: Sent,
    due: Option<(u64, Due)>,
}

/// What the sidecar holds of an address.
#[derive(Debug)]
enum Sent {
    Nothing,
    Unknown,
    State(Arc<State>),
}

#[derive(Clone, Copy, Debug)]
enum Due {
    /// The answer to a subscription, with the hash of what the sidecar holds.
    Answer(Option<Hash>),
    /// News, if the state is really another one than what was sent.
    News,
}

impl Session {
    /// A conversation that begins.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            greeting: Greeting::Awaited,
            followed: HashMap::new(),
            queue: BTreeMap::new(),
            turn: 0,
            declined: VecDeque::new(),
            heartbeat: None,
            application: Application::Running,
            place: Place::Unknown,
        }
    }

    /// The addresses that the sidecar follows.
    pub fn followed(&self) -> impl ExactSizeIterator<Item = SocketAddr> {
        self.followed.keys().copied()
    }

    /// An address changed.
    pub fn changed(&mut self, addr: SocketAddr) {
        // If an answer is due, it will tell the newest state anyway.
        self.note(addr, Due::News, |due| due.is_none());
    }

    /// It is time to say something, be it only a heartbeat.
    pub fn beat(&mut self) {
        self.heartbeat.get_or_insert(0);
    }

    /// The application of the sidecar's pod has ended.
    pub fn application_ended(&mut self) {
        if self.application == Application::Running {
            self.application = Application::Ended;
        }
    }

    /// Whether it isn't known yet where the sidecar is.
    #[must_use]
    pub fn is_nowhere(&self) -> bool {
        self.place == Place::Unknown
    }

    /// The sidecar's node is in this zone.
    pub fn is_in_zone(&mut self, zone: Arc<str>) {
        if self.is_nowhere() {
            self.place = Place::Due(zone);
        }
    }

    /// Whether something is to be said. While the index is not `synced`, nothing
    /// is said of any address: what hasn't been listed yet isn't unknown.
    #[must_use]
    pub fn has_due(&self, synced: bool) -> bool {
        self.greeting == Greeting::Due
            || self.heartbeat.is_some()
            || self.application == Application::Ended
            || matches!(self.place, Place::Due(_))
            || (synced && self.owes_answers())
    }

    /// Whether something is to be said of an address: at once, or once the index is
    /// synced.
    #[must_use]
    pub fn owes_answers(&self) -> bool {
        !self.queue.is_empty() || !self.declined.is_empty()
    }

    /// The next message, worked out now. `look` gives the newest state of an
    /// address, which is followed from then on.
    pub fn next(
        &mut self,
        synced: bool,
        mut look: impl FnMut(SocketAddr) -> Published,
    ) -> Option<Message> {
        if self.greeting == Greeting::Due {
            self.greeting = Greeting::Done;
            return Some(Message::Welcome(v1::Welcome {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                heartbeat_interval_ms: self.terms.heartbeat_interval_ms,
            }));
        }
        if self.application == Application::Ended {
            self.application = Application::Told;
            return Some(Message::ApplicationEnded(v1::ApplicationEnded {}));
        }
        if let Place::Due(zone) = &self.place {
            let zone = zone.to_string();
            self.place = Place::Told;
            return Some(Message::Place(v1::Place { zone }));
        }
        if let Some(sequence) = self.heartbeat.take() {
            return Some(Message::Heartbeat(v1::Heartbeat { sequence }));
        }
        if !synced {
            return None;
        }
        while let Some((_, addr)) = self.queue.pop_first() {
            let followed = self.followed.get_mut(&addr);
            let followed = followed.expect("what is not followed is not in the queue");
            let due = followed.due.take();
            let (_, due) = due.expect("what is in the queue is due");
            if let Some(message) = followed.say(addr, due, look(addr)) {
                return Some(message);
            }
        }
        let declined = self.declined.pop_front();
        declined.map(|addr| wire::unknown(addr, 0))
    }

    /// Notes that something is due of a followed address, in place of what was, if
    /// `replaces` says so of that.
    fn note(&mut self, addr: SocketAddr, due: Due, replaces: fn(Option<Due>) -> bool) {
        let Some(followed) = self.followed.get_mut(&addr) else {
            return;
        };
        if !replaces(followed.due.map(|(_, due)| due)) {
            return;
        }
        let turn = followed.due.map_or(self.turn, |(turn, _)| turn);
        followed.due = Some((turn, due));
        self.queue.insert(turn, addr);
        self.turn += 1;
    }
}

impl Followed {
    fn say(&mut self, addr: SocketAddr, due: Due, newest: Published) -> Option<Message> {
        let before = match newest.state.clone() {
            Some(state) => std::mem::replace(&mut self.sent, Sent::State(state)),
            None => std::mem::replace(&mut self.sent, Sent::Unknown),
        };
        match (due, newest.state.as_deref()) {
            (Due::Answer(_), None) => Some(wire::unknown(addr, 0)),
            (Due::Answer(Some(held)), Some(state)) if held == state.hash => {
                Some(wire::unchanged(addr))
            }
            (Due::Answer(_), Some(state)) => Some(wire::snapshot(addr, state, 0)),
            (Due::News, None) => match before {
                Sent::Unknown => None,
                _ => Some(wire::unknown(addr, newest.changed_at_us)),
            },
            (Due::News, Some(state)) => news(addr, &before, state, &newest),
        }
    }
}

/// What leads a sidecar that holds `before` to `state`; nothing if it is there.
fn news(addr: SocketAddr, before: &Sent, state: &State, newest: &Published) -> Option<Message> {
    let changed_at_us = newest.changed_at_us;
    let Sent::State(held) = before else {
        return Some(wire::snapshot(addr, state, changed_at_us));
    };
    if held.hash == state.hash {
        return None;
    }
    let shared = newest.diff.as_ref().filter(|diff| diff.base == held.hash);
    let diff = match shared {
        Some(diff) => Arc::clone(diff),
        None => Arc::new(Diff::between(held, state)),
    };
    if diff.is_smaller_than(state) {
        Some(wire::delta(addr, &diff, state, changed_at_us))
    } else {
        Some(wire::snapshot(addr, state, changed_at_us))
    }
}

#[cfg(test)]
mod tests;
