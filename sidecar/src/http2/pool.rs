//! Upstream connections, each shared by many streams.

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
use tokio::{net::TcpStream, sync::Mutex, task::spawn_local, time::Instant};

use super::wire::gather;
use crate::{
    addr::EndpointAddr, connect, destination::Endpoint, http::limits::Http2Limits, reason::Reason,
};

/// Connections to one endpoint, at most. Streams beyond what they take wait.
const CONNECTIONS_MAX: usize = 16;

/// The upstream connections of one thread, by where they go.
#[derive(Debug)]
pub(crate) struct Pool {
    limits: Http2Limits,
    idle: Duration,
    by_endpoint: RefCell<HashMap<EndpointAddr, Rc<Place>>>,
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
    is_over: Cell<bool>,
    used: Cell<Instant>,
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
    /// Their streams still finish.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.by_endpoint.borrow_mut().retain(|_, place| {
            let is_current = place.endpoint.as_ref().is_none_or(|e| e.is_current());
            place.connections.borrow_mut().retain(|connection| {
                let in_use = connection.streams.get() > 0;
                let is_fresh = now.duration_since(connection.used.get()) < self.idle;
                is_current && !connection.is_over.get() && (in_use || is_fresh)
            });
            let is_empty = place.connections.borrow().is_empty();
            !is_empty || Rc::strong_count(place) > 1
        });
    }
}

impl Place {
    /// A connection that has room for another stream. If there is none, one is to be
    /// made, unless there are as many as may be.
    pub(super) fn take(&self) -> Option<Hold> {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| !connection.is_over.get());
        let least = connections.iter().min_by_key(|each| each.streams.get())?;
        let has_room = least.streams.get() < least.requests.current_max_send_streams();
        (has_room || connections.len() >= CONNECTIONS_MAX).then(|| Hold::of(least))
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

    /// Begins to speak HTTP/2 on a connection, which streams share from now on.
    ///
    /// # Errors
    /// If that cannot be written.
    pub(super) async fn add(
        &self,
        stream: TcpStream,
        limits: &Http2Limits,
    ) -> Result<Hold, h2::Error> {
        connect::tune(&stream);
        let (wire, gathered) = gather(stream);
        let (requests, mut connection) = super::client(limits).handshake(wire).await?;
        let shared = Rc::new(Connection {
            requests,
            streams: Cell::new(0),
            is_over: Cell::new(false),
            used: Cell::new(Instant::now()),
        });
        // Not a strong reference: it would keep the connection open.
        let told = Rc::downgrade(&shared);
        spawn_local(async move {
            let ended = poll_fn(|cx| {
                let ended = Pin::new(&mut connection).poll(cx);
                if ended.is_pending()
                    && let Poll::Ready(Err(error)) = gathered.poll_send(cx)
                {
                    return Poll::Ready(Err(error));
                }
                ended.map_err(io::Error::other)
            });
            if let Err(error) = ended.await {
                tracing::debug!(%error, "an upstream connection ended");
            }
            if let Some(shared) = told.upgrade() {
                shared.is_over.set(true);
            }
        });
        let hold = Hold::of(&shared);
        self.connections.borrow_mut().push(shared);
        Ok(hold)
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
        self.0.is_over.set(true);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
        self.0.used.set(Instant::now());
    }
}
