//! The cluster's DNS server, on the node's own addresses.
//!
//! It answers from the same view of Services that the rules are made of, so a name and the address
//! it stands for change together.

mod answer;
mod zone;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;

use crate::node::cluster::ClusterView;

/// RFC 1035, 4.2.2: resolvers keep a connection for some queries, not for ever.
const TCP_IDLE: Duration = Duration::from_secs(10);

const TCP_CONNECTIONS_MAX: usize = 64;

/// Of a query; no name is longer than 255 bytes.
const UDP_QUERY_BYTES_MAX: usize = 4096;

/// The sockets of a server that doesn't serve yet.
#[derive(Debug)]
pub(crate) struct Server {
    sockets: Vec<(UdpSocket, TcpListener)>,
    domain: Arc<str>,
}

impl Server {
    /// Binds port 53 of each address, for UDP and TCP.
    ///
    /// # Errors
    /// When an address is not the node's or its port is taken.
    pub(crate) async fn bind(addrs: &[IpAddr], domain: &str) -> anyhow::Result<Self> {
        let mut sockets = Vec::new();
        for addr in addrs {
            let addr = SocketAddr::new(*addr, 53);
            let said = || format!("bind the DNS server to {addr}; is another one running?");
            let udp = UdpSocket::bind(addr).await.with_context(said)?;
            let tcp = TcpListener::bind(addr).await.with_context(said)?;
            sockets.push((udp, tcp));
        }
        Ok(Self {
            sockets,
            domain: domain.into(),
        })
    }

    /// Answers until it is dropped.
    pub(crate) async fn serve(self, cluster: ClusterView) {
        let connections = Arc::new(Semaphore::new(TCP_CONNECTIONS_MAX));
        let servers = self.sockets.into_iter().map(|(udp, tcp)| {
            let source = Source {
                cluster: cluster.clone(),
                domain: self.domain.clone(),
            };
            let connections = connections.clone();
            async move {
                tokio::join!(
                    serve_udp(udp, source.clone()),
                    serve_tcp(tcp, source, connections)
                );
            }
        });
        futures_util::future::join_all(servers).await;
    }
}

/// What answers are made of.
#[derive(Clone)]
struct Source {
    cluster: ClusterView,
    domain: Arc<str>,
}

impl Source {
    /// None for what is no query; there is no one to answer then.
    fn answer(&self, query: &[u8], limit: answer::Limit) -> Option<Vec<u8>> {
        let cluster = self.cluster.borrow().clone();
        answer::answer(query, cluster.as_deref(), &self.domain, limit)
    }
}

async fn serve_udp(socket: UdpSocket, source: Source) {
    let mut buffer = vec![0; UDP_QUERY_BYTES_MAX];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, client)) => {
                if let Some(answer) = source.answer(&buffer[..length], answer::Limit::Datagram)
                    && let Err(error) = socket.send_to(&answer, client).await
                {
                    tracing::debug!(%error, %client, "could not send a DNS answer");
                }
            }
            // An ICMP error for an earlier answer; the socket is as good as before.
            Err(error) => {
                tracing::debug!(%error, "could not receive a DNS query");
                tokio::task::yield_now().await;
            }
        }
    }
}

async fn serve_tcp(listener: TcpListener, source: Source, connections: Arc<Semaphore>) {
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, client)) => {
                let source = source.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve_stream(stream, &source).await {
                        tracing::debug!(%error, %client, "a DNS connection failed");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "could not accept a DNS connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve_stream(mut stream: TcpStream, source: &Source) -> std::io::Result<()> {
    loop {
        let Ok(length) = tokio::time::timeout(TCP_IDLE, stream.read_u16()).await else {
            return Ok(());
        };
        let mut query = match length {
            Ok(length) => vec![0; usize::from(length)],
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        tokio::time::timeout(TCP_IDLE, stream.read_exact(&mut query)).await??;
        let Some(answer) = source.answer(&query, answer::Limit::Stream) else {
            return Ok(());
        };
        let length = u16::try_from(answer.len()).map_err(std::io::Error::other)?;
        stream.write_u16(length).await?;
        stream.write_all(&answer).await?;
    }
}
