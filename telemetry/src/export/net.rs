//! Connections to backends.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use netting_runtime::resolve;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::pki_types::ServerName};

use super::reason::{Failure, Reason};
use crate::config::{Authority, Http};

mod acknowledged;
mod tls;

pub(crate) use tls::{Alpn, BadCertificates, connector};

/// How long one address may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Reaches one backend, again and again.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) authority: Authority,
    pub(crate) resolv_conf: Arc<PathBuf>,
    pub(crate) tls: Option<TlsConnector>,
}

/// A connection, with TLS or without.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Dialer {
    /// For a URL, with whose certificates are trusted there and what is shown to it.
    pub(crate) fn new(
        to: &Http,
        alpn: Alpn,
        resolv_conf: Arc<PathBuf>,
    ) -> Result<Self, BadCertificates> {
        Ok(Self {
            authority: to.url.authority.clone(),
            resolv_conf,
            tls: if to.url.tls {
                Some(connector(to.ca.as_deref(), to.client.as_ref(), alpn)?)
            } else {
                None
            },
        })
    }

    /// Connects to the first of the backend's addresses that answers.
    pub(crate) async fn dial(&self) -> Result<Stream, Failure> {
        let stream = first_of(&self.addresses().await?).await?;
        let Some(tls) = &self.tls else {
            return Ok(Stream::Plain(stream));
        };
        let name = ServerName::try_from(self.authority.host.clone());
        let name = name.map_err(|error| Failure::lasting(Reason::Tls, error))?;
        let secured = timeout(CONNECT_TIMEOUT, tls.connect(name, stream)).await;
        match secured {
            Ok(Ok(stream)) => Ok(Stream::Tls(Box::new(stream))),
            Ok(Err(error)) => Err(Failure::transient(Reason::Tls, error)),
            Err(_) => Err(Failure::transient(Reason::Tls, "no handshake in time")),
        }
    }

    pub(crate) async fn addresses(&self) -> Result<Vec<SocketAddr>, Failure> {
        let Authority { host, port } = &self.authority;
        let found = resolve::addresses(host, *port, &self.resolv_conf).await;
        found.map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let cause = cause.unwrap_or_default();
            Failure::transient(Reason::Resolve, format!("{error}: {cause}"))
        })
    }
}

impl Stream {
    /// Waits until all that was written has come to the backend's kernel.
    pub(crate) async fn acknowledged(&self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => acknowledged::all(stream).await,
            Self::Tls(stream) => acknowledged::all(stream.get_ref().0).await,
        }
    }
}

async fn first_of(addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
    let mut last = Failure::transient(Reason::Resolve, "the name has no address");
    for addr in addresses {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(addr)).await {
            Ok(Ok(stream)) => {
                // Whole requests are written at once; only their ends would wait.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => {
                last = Failure::transient(Reason::Connect, format!("{addr}: {error}"));
            }
            Err(_) => {
                last = Failure::transient(Reason::Connect, format!("{addr} does not answer"));
            }
        }
    }
    Err(last)
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
