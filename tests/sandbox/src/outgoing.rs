//! Single requests: the API's to webhooks, kubelets and pods, and those of probes.

use std::{error::Error, io, net::SocketAddr};

use bytes::Bytes;
use http::{Request, Response, Uri};
use kube::{Client, Config, client::Body};
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};

/// How the other side proves who it is.
pub(crate) enum Security {
    Plain,
    /// By a certificate for `name` that a CA of the PEM bundle signed.
    Verified {
        name: String,
        ca_bundle: Vec<u8>,
    },
    /// By nothing: as a real API server talks to kubelets unless told their CA, and as probes ask.
    Unverified,
}

/// Sends `request` over a connection of its own to `addr`, and returns the answer's head; its body
/// follows as it comes.
///
/// # Errors
/// Why there is no answer, in one line.
pub(crate) async fn send(
    addr: SocketAddr,
    security: Security,
    request: Request<Bytes>,
) -> Result<Response<Body>, String> {
    let scheme = match security {
        Security::Plain => "http",
        Security::Verified { .. } | Security::Unverified => "https",
    };
    let url = format!("{scheme}://{addr}").parse::<Uri>();
    let mut config = Config::new(url.map_err(|error| chain(&error))?);
    config.default_retry = false;
    config.root_cert = Some(Vec::new());
    match security {
        Security::Plain => {}
        Security::Unverified => config.accept_invalid_certs = true,
        Security::Verified { name, ca_bundle } => {
            let certificates = CertificateDer::pem_slice_iter(&ca_bundle);
            let certificates: Result<Vec<_>, _> = certificates
                .map(|one| one.map(|one| one.to_vec()))
                .collect();
            let certificates =
                certificates.map_err(|error| format!("unusable CA bundle: {error}"))?;
            config.root_cert = Some(certificates);
            config.tls_server_name = Some(name);
        }
    }
    let client = Client::try_from(config).map_err(|error| chain(&error))?;
    let answer = client.send(request.map(Body::from)).await;
    answer.map_err(|error| chain(&error))
}

/// The first address that `host` (a name or an address) has.
///
/// # Errors
/// Why it has none.
pub(crate) async fn resolve(host: &str, port: u16) -> Result<SocketAddr, String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((bare, port)).await;
    let first = found.and_then(|mut found| found.next().ok_or(io::ErrorKind::NotFound.into()));
    first.map_err(|error| format!("lookup {host}: {error}"))
}

/// An error with all its causes.
fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |error| (**error).source());
    let mut texts: Vec<String> = causes.map(ToString::to_string).collect();
    // Some repeat what they were caused by.
    texts.dedup_by(|next, before| before.ends_with(&**next));
    texts.join(": ")
}
