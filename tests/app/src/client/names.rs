//! Host names to addresses, without the C library: a static binary has no use for getaddrinfo,
//! which loads the name service's modules at run time.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{ResolverBuilder, TokioResolver};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

use crate::client::failure::{Failure, FailureKind, with_sources};
use crate::client::target::{Host, Target};

/// How long an answer is kept whatever its time to live says, so that a headless service's new
/// pods are noticed.
const ANSWER_KEPT_MAX: Duration = Duration::from_secs(5);
/// The same for "there is no such name": tests wait for services to appear.
const ABSENCE_KEPT_MAX: Duration = Duration::from_millis(200);

/// A resolver that follows `/etc/resolv.conf` (search list and ndots included) and `/etc/hosts`.
///
/// The files are read when the first name is looked up: literal addresses work without them.
#[derive(Default)]
pub struct Names {
    resolver: OnceCell<TokioResolver>,
}

impl Names {
    /// The addresses of `target`, those of A records before those of AAAA records.
    ///
    /// # Errors
    ///
    /// `Resolve` if there is none, `Timeout` at `deadline`.
    pub async fn addresses(
        &self,
        target: &Target,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>, Failure> {
        let name = match &target.host {
            Host::Address(ip) => return Ok(vec![SocketAddr::new(*ip, target.port)]),
            Host::Name(name) => name,
        };
        let resolver = self
            .resolver
            .get_or_try_init(|| async { from_system() })
            .await?;
        let found = timeout_at(deadline, resolver.lookup_ip(name.as_str()))
            .await
            .map_err(|_| Failure::timeout(format!("resolving {name}")))?
            .map_err(|error| resolve_failure(&format!("resolve {name}"), &error))?;
        Ok(found
            .iter()
            .map(|ip| SocketAddr::new(ip, target.port))
            .collect())
    }
}

fn from_system() -> Result<TokioResolver, Failure> {
    let builder = TokioResolver::builder_tokio()
        .map_err(|error| resolve_failure("read /etc/resolv.conf", &error))?;
    build(builder)
}

fn build(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> Result<TokioResolver, Failure> {
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.positive_max_ttl = Some(ANSWER_KEPT_MAX);
    options.negative_max_ttl = Some(ABSENCE_KEPT_MAX);
    builder
        .build()
        .map_err(|error| resolve_failure("set up the resolver", &error))
}

fn resolve_failure(doing: &str, error: &dyn Error) -> Failure {
    let reason = format!("{doing}: {}", with_sources(error));
    Failure::new(FailureKind::Resolve, reason)
}

#[cfg(test)]
mod tests;
