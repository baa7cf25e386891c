//! Upstream connections, each shared by many streams.

mod room;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::{Future as _, poll_fn},
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::{
    net::TcpStream,
    sync::{Mutex, Notify},
    task::{AbortHandle, spawn_local},
    time::Instant,
};

use super::{
    keepalive::{Keepalive, Patience},
    wire::{Gathered, gather},
};
use crate::{addr::EndpointAddr, destination::Endpoint, http::limits::Http2Limits, reason::Reason};

/// Connections to one endpoint, at most. Streams beyond what they have room for share them
/// all the same, and wait once their peer takes no more.
const CONNECTIONS_MAX: usize = 16;

/// The upstream connections of one thread, by where they go.
#[derive(Debug)]
pub(crate) struct Pool {
    limits: Http2Limits,
    idle: Duration,
    by_endpoint: RefCell<HashMap<EndpointAddr, Rc<Place>>>,
    /// Those that get no more streams, and have some yet.
    retired: RefCell<Vec<Rc<Connection>>>,
}

/// The connections to one address.
#[derive(Debug, Default)]
pub(crate) struct Place {
    connections: RefCell<Vec<Rc<Connection>>>,
    /// Held by the one stream that connects, while the others wait for it.
    pub(super) connecting: Mutex<()>,
    /// When and why that last failed.
    failed: Cell<Option<(Instant, Reason)>>,
    /// The endpoint, if it is one.
    endpoint: Option<Arc<Endpoint>>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    requests: SendRequest<Bytes>,
    streams: Cell<usize>,
    /// As many streams can each have a window's worth on its way that nobody takes, and
    /// leave room for the others'.
    unread_max: usize,
    used: Cell<Instant>,
    state: Rc<State>,
    gathered: Rc<Gathered>,
    keepalive: Keepalive,
    patience: Option<Patience>,
    task: AbortHandle,
}

/// What a connection's task knows of it.
#[derive(Debug, Default)]
struct State {
    /// It takes no more streams.
    is_over: Cell<bool>,
    /// It gave no sign of life.
    is_silent: Cell<bool>,
    /// The upstream has said what it offers.
    has_greeted: Cell<bool>,
    /// It has, or won't any more.
    greeted: Notify,
}

/// A stream's hold on its connection.
#[derive(Debug)]
pub(super) struct Hold(Rc<Connection>);

impl Pool {
    pub(crate) fn new(limits: Http2Limits, idle: Duration) -> Self {
        Self {
            limits,
            idle,
            by_endpoint: RefCell::default(),
            retired: RefCell::default(),
        }
    }

    pub(crate) fn limits(&self) -> &Http2Limits {
        &self.limits
    }

    /// The connections to an endpoint.
    pub(super) fn at(&self, endpoint: &Arc<Endpoint>) -> Rc<Place> {
        let mut places = self.by_endpoint.borrow_mut();
        let place = places.entry(endpoint.addr).or_insert_with(|| {
            Rc::new(Place {
                endpoint: Some(Arc::clone(endpoint)),
                ..Place::default()
            })
        });
        Rc::clone(place)
    }

    /// Lets go of connections that nobody uses, or that go to an endpoint that is gone.
    /// Their streams still finish, and are told if their upstream vanishes.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        let mut retired = self.retired.borrow_mut();
        retired.retain(|connection| connection.is_used());
        for connection in retired.iter() {
            connection.keep_alive(now);
        }
        self.by_endpoint.borrow_mut().retain(|_, place| {
            let endpoint = place.endpoint.as_ref();
            let is_current = endpoint.is_none_or(|endpoint| endpoint.is_current());
            let mut connections = place.connections.borrow_mut();
            connections.retain(|connection| {
                connection.keep_alive(now);
                let is_fresh = now.duration_since(connection.used.get()) < self.idle;
                connection.is_used() || is_fresh
            });
            let is_over = |connection: &mut Rc<Connection>| connection.is_over() || !is_current;
            retired.extend(connections.extract_if(.., is_over));
            !connections.is_empty() || Rc::strong_count(place) > 1
        });
    }
}

impl Place {
    /// A connection that has room for another stream. If there is none, one is to be
    /// made, unless there are as many as may be: the stream may have to wait then, for its
    /// turn or for what others don't read, and that is `reached`.
    pub(super) fn take(&self, reached: impl FnOnce()) -> Option<Hold> {
        let mut connections = self.connections.borrow_mut();
        // Those that are used yet are looked after until they aren't.
        connections.retain(|connection| !connection.is_over() || connection.is_used());
        let open = || {
            connections
                .iter()
                .filter(|connection| !connection.is_over())
        };
        let least = open().min_by_key(|each| each.streams.get())?;
        let has_room = least.streams.get() < least.streams_max();
        if !has_room {
            if open().count() < CONNECTIONS_MAX {
                return None;
            }
            reached();
        }
        Some(Hold::of(least))
    }

    /// Lets go of all that are there. Their streams still finish.
    pub(super) fn let_go(&self) {
        self.connections.borrow_mut().clear();
    }

    /// A connect failed.
    pub(super) fn failed(&self, reason: Reason) {
        self.failed.set(Some((Instant::now(), reason)));
    }

    /// Why the last connect failed, if that was after `since`.
    pub(super) fn failed_since(&self, since: Instant) -> Option<Reason> {
        let (at, reason) = self.failed.get()?;
        (at > since).then_some(reason)
    }

    /// Begins to speak HTTP/2 on a connection, which streams share from now on. So much
    /// of the preface it has been sent.
    ///
    /// # Errors
    /// If that cannot be written.
    pub(super) async fn add(
        &self,
        (stream, has): (TcpStream, usize),
        limits: &Http2Limits,
    ) -> Result<Hold, h2::Error> {
        let (wire, gathered) = gather(stream, has);
        let (requests, mut connection) = super::client(limits).handshake(wire).await?;
        let keepalive = Keepalive::new(connection.ping_pong(), Instant::now());
        let state = Rc::new(State::default());
        let (told, wired) = (Rc::clone(&state), Rc::clone(&gathered));
        let task = spawn_local(async move {
            let ended = poll_fn(|cx| {
                let ended = Pin::new(&mut connection).poll(cx);
                if !told.has_greeted.get() && wired.has_first_frame() {
                    told.has_greeted.set(true);
                    told.greeted.notify_waiters();
                }
                if ended.is_pending()
                    && let Poll::Ready(Err(error)) = wired.poll_send(cx)
                {
                    return Poll::Ready(Err(error));
                }
                ended.map_err(io::Error::other)
            });
            if let Err(error) = ended.await {
                tracing::debug!(%error, "an upstream connection ended");
            }
            told.ended();
        });
        let is_meshed = self.endpoint.as_ref().is_some_and(|at| at.meshed);
        let shared = Rc::new(Connection {
            requests,
            streams: Cell::new(0),
            unread_max: (limits.connection_window / limits.stream_window).max(1) as usize,
            used: Cell::new(Instant::now()),
            state,
            gathered,
            keepalive,
            patience: Patience::of(limits, is_meshed),
            task: task.abort_handle(),
        });
        let hold = Hold::of(&shared);
        self.connections.borrow_mut().push(shared);
        Ok(hold)
    }
}

impl Connection {
    /// How many streams it is to have.
    fn streams_max(&self) -> usize {
        self.unread_max
            .min(self.requests.current_max_send_streams())
    }

    /// Whether it has streams.
    fn is_used(&self) -> bool {
        self.streams.get() > 0
    }

    /// Whether it takes no more streams.
    fn is_over(&self) -> bool {
        self.state.is_over.get()
    }

    /// Ends the connection if its upstream has vanished: its streams fail at once.
    fn keep_alive(&self, now: Instant) {
        let Some(patience) = self.patience else {
            return;
        };
        let seen = (self.gathered.take_heard(), self.is_used());
        if self.keepalive.is_alive(seen, patience, now) {
            return;
        }
        tracing::info!(reason = %Reason::UpstreamSilent, "gave an upstream connection up");
        self.state.is_silent.set(true);
        self.task.abort();
        self.state.ended();
    }
}

impl State {
    fn ended(&self) {
        self.is_over.set(true);
        self.greeted.notify_waiters();
    }
}

impl Hold {
    fn of(connection: &Rc<Connection>) -> Self {
        connection.streams.set(connection.streams.get() + 1);
        Self(Rc::clone(connection))
    }

    /// What requests are sent by.
    pub(super) fn requests(&self) -> SendRequest<Bytes> {
        self.0.requests.clone()
    }

    /// The connection takes no more streams.
    pub(super) fn is_over(&self) {
        self.0.state.is_over.set(true);
    }

    /// Whether the connection ended since its upstream gave no sign of life.
    pub(super) fn was_silent(&self) -> bool {
        self.0.state.is_silent.get()
    }

    /// Whether streams may ask for other protocols (RFC 8441). That is the first thing
    /// that the upstream says; `None` if it ended before.
    pub(super) async fn offers_connect(&self) -> Option<bool> {
        while !self.0.state.has_greeted.get() {
            if self.0.is_over() {
                return None;
            }
            self.0.state.greeted.notified().await;
        }
        Some(self.0.requests.is_extended_connect_protocol_enabled())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
        self.0.used.set(Instant::now());
    }
}
