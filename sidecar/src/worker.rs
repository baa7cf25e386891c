//! The threads that proxy: each has its own runtime, listeners and connections.
//!
//! A connection stays on the thread that accepted it, and all that it needs of what
//! others know is the view. So nothing is locked and no other thread is woken where
//! traffic passes.

use std::{
    io,
    rc::Rc,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use netting_runtime::Drain;
use netting_telemetry::{
    connections::{ConnectionMetrics, Direction},
    trace::Tracer,
    traffic::TrafficMetrics,
};
use tokio::{runtime, task::spawn_local, time::sleep};

use crate::{
    access_log::AccessLog,
    connect::Connector,
    http::{
        idle::{LOOK_EVERY, Patience, Waiters},
        limits::{Http2Limits, HttpLimits},
    },
    http1::{
        pool::{Pool, PoolLimits},
        session::Http1,
    },
    http2::{self, session::Http2},
    listener::{Door, Listeners, Places},
    memory::Peak,
    ports::PortSet,
    protocol::Finder,
    proxy::{Inbound, Outbound, Proxy},
    route::OwnPorts,
    view::View,
};

/// What all workers share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The ports that must not be proxied to.
    pub own: OwnPorts,
    /// How upstreams are connected.
    pub connector: Connector,
    /// Ports whose protocol is of no interest.
    pub opaque_ports: PortSet,
    /// How long a client may take to speak first.
    pub detect_wait: Duration,
    /// What is written to the log.
    pub access_log: AccessLog,
    /// What begins spans, if anybody is sent any.
    pub tracer: Option<Tracer>,
    /// What is known of destinations, and of the application's own ports.
    pub view: Arc<View>,
    /// Room for connections.
    pub places: Places,
    /// How often something is sent again to a peer that acknowledges nothing, before it is
    /// given up. As often as the kernel likes, if zero.
    pub tcp_retries: u8,
    /// Bounds and times of HTTP connections.
    pub http: HttpLimits,
    /// Bounds of HTTP/2 connections.
    pub http2: Http2Limits,
    /// Instruments of both directions.
    pub metrics: ConnectionMetrics,
    /// And for what goes anywhere.
    pub traffic: TrafficMetrics,
    /// What waits for connections.
    pub drain: Drain,
    /// How many of them there were at most.
    pub peak: Peak,
}

/// One thread's listeners.
#[derive(Debug)]
pub struct Doors {
    /// For connections of the application.
    pub outbound: Listeners,
    /// For connections to the application.
    pub inbound: Listeners,
}

/// Starts a thread that serves until the drain is aborted, and then drops what
/// connections are left.
///
/// # Errors
/// If there is no thread or no runtime to be had.
pub fn start(shared: Shared, doors: Doors) -> io::Result<()> {
    let (started, outcome) = mpsc::sync_channel(1);
    let thread = thread::Builder::new().name("netting-worker".to_owned());
    thread.spawn(move || {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(runtime::LocalOptions::default());
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return drop(started.send(Err(error))),
        };
        drop(started.send(Ok(())));
        runtime.block_on(serve(shared, doors));
    })?;
    outcome
        .recv()
        .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}

async fn serve(shared: Shared, doors: Doors) {
    let limits = shared.http;
    let pool = Rc::new(Pool::new(PoolLimits {
        connections_max: limits.pool_max,
        idle: limits.pool_idle_timeout,
    }));
    let streams = Rc::new(http2::pool::Pool::new(
        shared.http2,
        limits.pool_idle_timeout,
    ));
    let waiters = Rc::new(Waiters::new(Patience {
        idle: limits.idle_timeout,
        head: limits.head_timeout,
        draining: limits.drain_quiet,
        tcp_retries: shared.tcp_retries,
    }));
    let finder = Rc::new(Finder::new(
        shared.opaque_ports.clone(),
        shared.detect_wait,
        Rc::clone(&waiters),
    ));
    let proxy = |direction| Proxy {
        direction,
        own: shared.own,
        connector: shared.connector,
        finder: Rc::clone(&finder),
        access_log: shared.access_log.clone(),
        tracer: shared.tracer.clone(),
        metrics: shared.metrics.of(direction),
        traffic: shared.traffic.of(direction),
        peers: shared.traffic.clone(),
        http1: Http1 {
            pool: Rc::clone(&pool),
            waiters: Rc::clone(&waiters),
            head_bytes_max: limits.head_bytes_max,
        },
        http2: Http2 {
            pool: Rc::clone(&streams),
            waiters: Rc::clone(&waiters),
        },
    };
    let door = |direction| Door {
        places: Arc::clone(&shared.places),
        drain: shared.drain.clone(),
        peak: shared.peak.clone(),
        metrics: shared.metrics.of(direction),
    };
    let outbound = Outbound {
        proxy: proxy(Direction::Outbound),
        view: Arc::clone(&shared.view),
    };
    let inbound = Inbound {
        proxy: proxy(Direction::Inbound),
        view: Arc::clone(&shared.view),
    };
    spawn_local(outbound.serve(doors.outbound, door(Direction::Outbound)));
    spawn_local(inbound.serve(doors.inbound, door(Direction::Inbound)));
    tokio::select! {
        () = keep_house(&waiters, &pool, &streams, &shared.drain) => {}
        () = shared.drain.aborted() => {}
    }
}

/// Ends what nobody uses, for as long as the thread runs.
async fn keep_house(waiters: &Waiters, pool: &Pool, streams: &http2::pool::Pool, drain: &Drain) {
    loop {
        sleep(LOOK_EVERY).await;
        if drain.has_started() {
            waiters.drain();
        }
        waiters.look();
        pool.sweep();
        streams.sweep();
    }
}
