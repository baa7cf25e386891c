//! Looks the catalog's name up, without the C library: a static binary has no
//! getaddrinfo.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

use anyhow::Context as _;
use hickory_resolver::{TokioResolver, net::runtime::TokioRuntimeProvider, system_conf};

use crate::args::HostPort;

/// The addresses of a name, in random order: replicas share the load that way, and
/// a dead one is not tried first each time. An IP address is its own.
///
/// The resolver's configuration is read each time, for it may change while the pod
/// runs.
///
/// # Errors
/// If the configuration cannot be read, or the name has no address.
pub async fn addresses(of: &HostPort, resolv_conf: &Path) -> anyhow::Result<Vec<SocketAddr>> {
    if let Ok(ip) = of.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, of.port)]);
    }
    let text = std::fs::read(resolv_conf)
        .with_context(|| format!("could not read {}", resolv_conf.display()))?;
    let (config, options) = system_conf::parse_resolv_conf(text)
        .with_context(|| format!("{} is no resolver configuration", resolv_conf.display()))?;
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    let resolver = builder.build().context("could not set up the resolver")?;
    let found = resolver
        .lookup_ip(of.host.as_str())
        .await
        .with_context(|| format!("could not resolve {}", of.host))?;
    let mut addresses: Vec<_> = found
        .iter()
        .map(|ip| SocketAddr::new(ip, of.port))
        .collect();
    fastrand::shuffle(&mut addresses);
    Ok(addresses)
}
