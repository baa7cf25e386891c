//! For tests: an application behind two proxies in a row, its client's and its own,
//! with real sockets.

use std::{
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use netting_proto::v1;
use netting_telemetry::{
    Metrics,
    connections::{ConnectionMetrics, Direction},
    trace::Tracer,
    traffic::TrafficMetrics,
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::spawn_local,
    time::timeout,
};

use super::{Inbound, Outbound, Proxy};
use crate::{
    access_log::AccessLog,
    addr::{ClientAddr, OriginalDst},
    connect::{self, Connector},
    http::idle::{Patience, Waiters},
    http::limits::Http2Limits,
    http1::{
        pool::{Pool, PoolLimits},
        session::Http1,
    },
    http2::{self, session::Http2},
    ports::PortSet,
    protocol::Finder,
    route::OwnPorts,
    view::{Known, View, ViewLimits},
};

/// The ports that the proxies take for their own.
pub(crate) const OWN: OwnPorts = OwnPorts {
    outbound: 15001,
    inbound: 15006,
    admin: 15020,
};
/// Where the client was going.
pub(crate) const SERVICE: ([u8; 4], u16) = ([192, 0, 2, 10], 80);
pub(crate) const HEAD_BYTES_MAX: usize = 8192;
/// Upstream connections that the proxies keep, of each version of HTTP.
pub(crate) const POOL_MAX: usize = 8;
pub(crate) const PING_INTERVAL: Duration = Duration::from_millis(50);
/// How long connections that wait may still be used once the proxies drain.
pub(crate) const DRAIN_QUIET: Duration = Duration::from_millis(50);

const HTTP2: Http2Limits = Http2Limits {
    stream_window: 256 * 1024,
    connection_window: 16 * 1024 * 1024,
    streams_max: 100,
    head_bytes_max: 8192,
    pool_max: POOL_MAX,
    // Short, for tests that look after its pool.
    ping_interval: PING_INTERVAL,
    ping_timeout: PING_INTERVAL,
};

/// A proxy that counts into `metrics`.
pub(crate) fn proxy(direction: Direction, metrics: &Metrics) -> Proxy {
    let connections = ConnectionMetrics::register(metrics);
    let peers = TrafficMetrics::register(metrics);
    let second = Duration::from_secs(1);
    let waiters = Rc::new(Waiters::new(Patience {
        idle: second * 60,
        head: second * 60,
        draining: DRAIN_QUIET,
        tcp_retries: 9,
    }));
    Proxy {
        direction,
        own: OWN,
        connector: Connector {
            timeout: CONNECT_TIMEOUT,
            pass_through_timeout: CONNECT_TIMEOUT,
            user_timeout: None,
        },
        finder: Rc::new(Finder::new(
            PortSet::default(),
            Duration::from_millis(10),
            Rc::clone(&waiters),
        )),
        access_log: AccessLog::off(),
        tracer: None,
        metrics: connections.of(direction),
        traffic: peers.of(direction),
        peers,
        http1: Http1 {
            pool: Rc::new(Pool::new(PoolLimits {
                connections_max: POOL_MAX,
                idle: second * 60,
            })),
            waiters: Rc::clone(&waiters),
            head_bytes_max: HEAD_BYTES_MAX,
        },
        http2: Http2 {
            pool: Rc::new(http2::pool::Pool::new(HTTP2, second * 60)),
            waiters,
        },
    }
}

/// How long the proxies wait for a connection to an upstream.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A view that asks nobody.
pub(crate) fn view() -> Arc<View> {
    let limits = ViewLimits {
        destinations_max: 8,
        discovery_timeout: Duration::from_secs(5),
        idle: Duration::from_secs(300),
    };
    Arc::new(View::new(limits, ""))
}

/// Lets a view know the endpoints of an address that was asked for.
pub(crate) fn know(view: &View, dst: SocketAddr, endpoints: &[SocketAddr]) {
    let endpoint = |endpoint: &SocketAddr| v1::Endpoint {
        address: Some((*endpoint).into()),
        ready: true,
        ..Default::default()
    };
    let snapshot = v1::Snapshot {
        address: Some(dst.into()),
        destination: Some(v1::Destination {
            namespace: "shop".to_owned(),
            name: "reviews".to_owned(),
            ..Default::default()
        }),
        endpoints: endpoints.iter().map(endpoint).collect(),
        ..Default::default()
    };
    view.snapshot(snapshot).expect("a good snapshot");
}

/// Both proxies.
pub(crate) struct Chain {
    /// Where the client connects to.
    pub(crate) addr: SocketAddr,
    pub(crate) outbound: Outbound,
    pub(crate) inbound: Inbound,
    /// What the outbound one counts.
    pub(crate) metrics: Metrics,
}

/// Listens on a port of loopback.
pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("a free port");
    connect::tune(&listener, None);
    let addr = listener.local_addr().expect("it is bound");
    (listener, addr)
}

/// A policy's timeout, longer than anything of a test takes that is not waited for on
/// purpose.
pub(crate) const PATIENCE_MS: u64 = 30_000;

/// Lets that time pass at once.
pub(crate) async fn lose_patience() {
    tokio::time::pause();
    tokio::time::sleep(Duration::from_millis(PATIENCE_MS + 1)).await;
    tokio::time::resume();
}

/// A listener whose backlog is full drops what comes next, like a host that is gone.
pub(crate) async fn full() -> (SocketAddr, impl Sized) {
    let socket = TcpSocket::new_v4().expect("a socket");
    let bound = socket.bind((Ipv4Addr::LOCALHOST, 0).into());
    bound.expect("a free port");
    let full = socket.listen(1).expect("it can listen");
    let addr = full.local_addr().expect("it is bound");
    let mut queued = Vec::new();
    for _ in 0..8 {
        let connect = timeout(Duration::from_millis(20), TcpStream::connect(addr));
        queued.push(connect.await);
    }
    (addr, (full, queued))
}

/// What the view knows of the one address in use becomes these endpoints while something
/// is on its way to one of those before, and not connected yet: what a test waits for is
/// looked at before its tasks.
pub(crate) async fn know_amid_connect(view: &View, dst: SocketAddr, endpoints: &[SocketAddr]) {
    let is_under_way = |known: &Known| match known {
        Known::Destination(known) => known
            .endpoints
            .iter()
            .any(|at| at.open() + at.requests() > 0),
        Known::Nothing | Known::Unknown => false,
    };
    while !view.all().iter().any(|(_, known)| is_under_way(known)) {
        tokio::task::yield_now().await;
    }
    know(view, dst, endpoints);
}

/// The same, where the connect is in vain and its time passes.
pub(crate) async fn know_meanwhile(view: &View, dst: SocketAddr, endpoints: &[SocketAddr]) {
    know_amid_connect(view, dst, endpoints).await;
    tokio::time::pause();
    tokio::time::advance(CONNECT_TIMEOUT).await;
    tokio::time::resume();
}

/// Who is told of requests and connections one by one, by both proxies.
#[derive(Clone)]
pub(crate) struct Tells {
    pub(crate) tracer: Option<Tracer>,
    pub(crate) access_log: AccessLog,
}

/// A proxy that tells of what goes through it.
fn telling(direction: Direction, metrics: &Metrics, tells: &Tells) -> Proxy {
    Proxy {
        tracer: tells.tracer.clone(),
        access_log: tells.access_log.clone(),
        ..proxy(direction, metrics)
    }
}

impl Default for Tells {
    fn default() -> Self {
        Self {
            tracer: None,
            access_log: AccessLog::off(),
        }
    }
}

impl Chain {
    /// Two proxies before the application at `app`.
    pub(crate) async fn before(app: SocketAddr) -> Self {
        Self::telling(app, &Tells::default()).await
    }

    /// The same, who tell of what goes through them.
    pub(crate) async fn telling(app: SocketAddr, tells: &Tells) -> Self {
        let (inbound, endpoint) = Self::behind(app, tells).await;
        Self::from_client(&[endpoint], inbound, tells).await
    }

    /// The application's own proxy, and where it listens.
    pub(crate) async fn behind(app: SocketAddr, tells: &Tells) -> (Inbound, SocketAddr) {
        let inbound = Inbound {
            proxy: telling(Direction::Inbound, &Metrics::new("test", "0"), tells),
            view: view(),
        };
        let (listener, endpoint) = listen().await;
        let serving = inbound.clone();
        spawn_local(async move {
            while let Ok((stream, client)) = listener.accept().await {
                let inbound = serving.clone();
                spawn_local(async move {
                    let (dst, client) = (OriginalDst(app), ClientAddr(client));
                    inbound.connection(dst, stream, client).await;
                });
            }
        });
        (inbound, endpoint)
    }

    /// The client's proxy alone, before these endpoints.
    pub(crate) async fn to(endpoints: &[SocketAddr], inbound: Inbound) -> Self {
        Self::from_client(endpoints, inbound, &Tells::default()).await
    }

    async fn from_client(endpoints: &[SocketAddr], inbound: Inbound, tells: &Tells) -> Self {
        let metrics = Metrics::new("test", "0");
        let outbound = Outbound {
            proxy: telling(Direction::Outbound, &metrics, tells),
            view: view(),
        };
        let service = SocketAddr::from(SERVICE);
        // What nobody knows passes through, so it has to be asked for once.
        outbound.view.resolve(OriginalDst(service)).await;
        know(&outbound.view, service, endpoints);
        let (listener, addr) = listen().await;
        let serving = outbound.clone();
        spawn_local(async move {
            while let Ok((stream, client)) = listener.accept().await {
                let outbound = serving.clone();
                spawn_local(async move {
                    let (dst, client) = (OriginalDst(service), ClientAddr(client));
                    outbound.connection(Some(dst), stream, client).await;
                });
            }
        });
        Self {
            addr,
            outbound,
            inbound,
            metrics,
        }
    }

    /// The client's proxy alone, before these endpoints of a service with this policy,
    /// and with this workload behind each of them.
    pub(crate) async fn to_service(
        endpoints: &[SocketAddr],
        policy: v1::ServicePolicy,
        workload: Option<v1::Workload>,
    ) -> Self {
        Self::to_service_telling(endpoints, policy, workload, &Tells::default()).await
    }

    /// The same, which tells of what goes through it.
    pub(crate) async fn to_service_telling(
        endpoints: &[SocketAddr],
        policy: v1::ServicePolicy,
        workload: Option<v1::Workload>,
        tells: &Tells,
    ) -> Self {
        let inbound = Inbound {
            proxy: proxy(Direction::Inbound, &Metrics::new("test", "0")),
            view: view(),
        };
        let chain = Self::from_client(endpoints, inbound, tells).await;
        let endpoint = |addr: &SocketAddr| v1::Endpoint {
            address: Some((*addr).into()),
            ready: true,
            workload: workload.clone(),
            ..Default::default()
        };
        let snapshot = v1::Snapshot {
            address: Some(SocketAddr::from(SERVICE).into()),
            destination: Some(v1::Destination {
                policy: Some(policy),
                ..Default::default()
            }),
            endpoints: endpoints.iter().map(endpoint).collect(),
            ..Default::default()
        };
        let known = chain.outbound.view.snapshot(snapshot);
        known.expect("a good snapshot");
        chain
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.expect("it listens")
    }

    /// What the series of this name come to that have these labels.
    pub(crate) fn count(&self, name: &str, labels: &[&str]) -> u64 {
        let exposition = self.metrics.expose();
        let lines = exposition.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            let is_of_name = rest.is_some_and(|rest| rest.starts_with('{'));
            is_of_name && labels.iter().all(|label| line.contains(label))
        });
        let value = |line: &str| line.rsplit(' ').next()?.parse::<u64>().ok();
        lines.filter_map(value).sum()
    }

    /// Whether its proxy says exactly this.
    pub(crate) fn has(&self, series: &str) -> bool {
        let exposition = self.metrics.expose();
        exposition.lines().any(|line| line == series)
    }

    /// Requests of the client that ended, of those that have these labels.
    pub(crate) fn requests(&self, labels: &[&str]) -> u64 {
        self.count("http_client_request_duration_seconds_count", labels)
    }

    /// How often its proxy has sent one again for this reason.
    pub(crate) fn retries(&self, reason: &str) -> u64 {
        let reason = format!(r#"reason="{reason}""#);
        self.count("netting_http_request_retries_total", &[&reason])
    }
}
