//! A client by way of a proxy. kube has its own for each kind of proxy, each with all of
//! its client once more; here a connection is one, whichever way it was made.

use http::Uri;
use hyper_util::{
    client::legacy::{
        self,
        connect::{
            HttpConnector,
            proxy::{SocksV5, Tunnel},
        },
    },
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{ConfigExt as _, retry::RetryPolicy},
};
use tower::{
    BoxError, ServiceBuilder, ServiceExt as _, retry::RetryLayer, timeout::Timeout,
    util::BoxCloneSyncService,
};

use super::Proxy;
use crate::cluster::CONNECT_TIMEOUT;

/// The default port of a SOCKS proxy (RFC 1928).
const SOCKS_PORT: u16 = 1080;

/// A client as `Client::try_from` makes it, but that its connections go by `proxy`.
///
/// # Errors
/// If the credentials or the certificates of `config` can't be used.
pub(in super::super) fn client(config: &Config, proxy: &Proxy) -> kube::Result<Client> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    // For proxies that speak TLS themselves; as with kubectl, the cluster's CA vouches
    // for them too.
    let to_proxy = config.rustls_https_connector_with_connector(tcp)?;
    let intercept = &proxy.intercept;
    let by_proxy = match intercept.raw_auth() {
        _ if is_http(intercept.uri()) => {
            let mut tunnel = Tunnel::new(intercept.uri().clone(), to_proxy);
            if let Some(basic) = intercept.basic_auth() {
                tunnel = tunnel.with_auth(basic.clone());
            }
            BoxCloneSyncService::new(tunnel.map_err(BoxError::from))
        }
        auth => {
            let mut socks = SocksV5::new(socks_address(intercept.uri()), to_proxy);
            if let Some((user, password)) = auth.filter(|(user, _)| !user.is_empty()) {
                socks = socks.with_auth(user.to_owned(), password.to_owned());
            }
            BoxCloneSyncService::new(socks.map_err(BoxError::from))
        }
    };
    let https = config.rustls_https_connector_with_connector(by_proxy)?;
    let connector = BoxCloneSyncService::new(Timeout::new(https, CONNECT_TIMEOUT));
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(RetryLayer::new(RetryPolicy::server_retry()))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(legacy::Client::builder(TokioExecutor::new()).build(connector));
    Ok(Client::new(service, config.default_namespace.clone()))
}

fn is_http(proxy: &Uri) -> bool {
    matches!(proxy.scheme_str(), Some("http" | "https"))
}

/// As a URL that the connector to it takes, which knows nothing of SOCKS.
fn socks_address(proxy: &Uri) -> Uri {
    let host = proxy.host().unwrap_or_default();
    let port = proxy.port_u16().unwrap_or(SOCKS_PORT);
    let address = format!("http://{host}:{port}");
    address
        .parse()
        .expect("the host and port of a URI make one")
}
