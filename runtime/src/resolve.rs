//! Looks names up without the C library: a static binary has no getaddrinfo.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use hickory_resolver::{
    TokioResolver,
    net::{NetError, runtime::TokioRuntimeProvider},
    system_conf,
};

/// Why a name has no addresses.
#[derive(Debug, thiserror::Error)]
pub enum Unresolved {
    /// Nothing says whom to ask.
    #[error("could not read {path}")]
    Unreadable {
        /// The resolver's configuration.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What says whom to ask cannot be used.
    #[error("{path} is no resolver configuration")]
    BadConfiguration {
        /// The resolver's configuration.
        path: PathBuf,
        /// Why not.
        #[source]
        source: NetError,
    },
    /// Nobody knows it, or nobody answers.
    #[error("could not resolve {host}")]
    Lookup {
        /// The name.
        host: String,
        /// Why not.
        #[source]
        source: NetError,
    },
}

/// The addresses of a name, in random order: replicas share the load that way, and
/// a dead one is not tried first each time. An IP address is its own.
///
/// The resolver's configuration is read each time, for it may change while the pod
/// runs.
///
/// # Errors
/// If the configuration cannot be read, or the name has no address.
pub async fn addresses(
    host: &str,
    port: u16,
    resolv_conf: &Path,
) -> Result<Vec<SocketAddr>, Unresolved> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let path = || resolv_conf.to_owned();
    let text = std::fs::read(resolv_conf).map_err(|source| Unresolved::Unreadable {
        path: path(),
        source,
    })?;
    let bad = |source| Unresolved::BadConfiguration {
        path: path(),
        source,
    };
    let (config, options) = system_conf::parse_resolv_conf(text).map_err(bad)?;
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    let resolver = builder.build().map_err(bad)?;
    let found = resolver.lookup_ip(host).await;
    let found = found.map_err(|source| Unresolved::Lookup {
        host: host.to_owned(),
        source,
    })?;
    let mut addresses: Vec<_> = found.iter().map(|ip| SocketAddr::new(ip, port)).collect();
    fastrand::shuffle(&mut addresses);
    Ok(addresses)
}
