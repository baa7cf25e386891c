//! An HTTP/2 connection to one of the catalog's replicas.

use std::{io, net::SocketAddr, path::Path, time::Duration};

use anyhow::Context as _;
use hyper_util::rt::TokioIo;
use netting_runtime::resolve;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::args::HostPort;

/// How long one address may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// HTTP/2 pings notice a connection that died without a word, also before the
/// stream's own heartbeats have begun.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// What the catalog may send before it is read. A sidecar follows few addresses;
/// the default of HTTP/2 would do, a little more saves round trips.
const WINDOW_BYTES: u32 = 256 * 1024;

/// Connects to the first of the catalog's addresses that answers.
pub(super) async fn connect(catalog: &HostPort, resolv_conf: &Path) -> anyhow::Result<Channel> {
    let addresses = resolve::addresses(&catalog.host, catalog.port, resolv_conf).await?;
    let endpoint = Endpoint::from_shared(format!("http://{catalog}"))
        .with_context(|| format!("{catalog} is no authority"))?
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .initial_connection_window_size(WINDOW_BYTES)
        .initial_stream_window_size(WINDOW_BYTES);
    let connector = tower::service_fn(move |_: Uri| {
        let addresses = addresses.clone();
        async move { first_of(&addresses).await.map(TokioIo::new) }
    });
    let connected = endpoint.connect_with_connector(connector).await;
    connected.with_context(|| format!("could not connect to {catalog}"))
}

async fn first_of(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for addr in addresses {
        match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(addr)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}
