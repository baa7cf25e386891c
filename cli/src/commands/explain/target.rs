//! Where a connection goes to, as people write it, and what has that address.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, SocketAddr},
};

use anyhow::Context as _;
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{Api, api::ListParams};

use super::owner::{self, owner};
use crate::{
    cluster::{Asked as _, Cluster},
    exit::Usage,
    explain::{connection::Owner, service::alias_of},
};

/// `10.0.0.7:80`, `[fd00::7]:80`, `echo:80` or `echo.shop.svc:http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Address(SocketAddr),
    Service {
        name: String,
        /// That of the pod, if it is not said.
        namespace: Option<String>,
        /// Its number or its name.
        port: String,
    },
}

/// What a target is found to be.
pub(super) struct Found {
    /// What is connected to.
    pub(super) address: SocketAddr,
    /// What has that.
    pub(super) owner: Owner,
    /// Of how many addresses of the same name it is one.
    pub(super) of_addresses: usize,
}

impl Found {
    fn only(address: SocketAddr, owner: Owner) -> Self {
        let of_addresses = 1;
        Self {
            address,
            owner,
            of_addresses,
        }
    }
}

impl Target {
    /// Reads one, as a value of the command line; says what is wrong with it.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let refuse = || {
            let forms = "10.0.0.7:80, [fd00::7]:80, echo:80 or echo.shop.svc:http";
            format!("is no ADDRESS:PORT or SERVICE:PORT, such as {forms}")
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(refuse)?;
        let is_name = |part: &str| {
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            !part.is_empty() && part.chars().all(fits)
        };
        let parts: Vec<&str> = host.trim_end_matches('.').split('.').collect();
        let svc = parts.get(2).is_none_or(|part| *part == "svc");
        if !svc
            || !parts.iter().all(|part| is_name(part))
            || !is_name(port)
            || host.parse::<IpAddr>().is_ok()
        {
            return Err(refuse());
        }
        Ok(Self::Service {
            name: parts[0].to_owned(),
            namespace: parts.get(1).map(|part| (*part).to_owned()),
            port: port.to_owned(),
        })
    }

    /// The address that is connected to, and what has it.
    pub(super) async fn find(
        &self,
        cluster: &Cluster,
        own_namespace: &str,
    ) -> anyhow::Result<Found> {
        match self {
            Self::Address(address) => {
                let owner = owner(cluster, *address).await?;
                Ok(Found::only(*address, owner))
            }
            Self::Service {
                name,
                namespace,
                port,
            } => {
                let namespace = namespace.as_deref().unwrap_or(own_namespace);
                service(cluster, namespace, name, port).await
            }
        }
    }
}

/// As it was asked, but for the ending that all names of services have.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Service {
                name,
                namespace: None,
                port,
            } => write!(f, "{name}:{port}"),
            Self::Service {
                name,
                namespace: Some(namespace),
                port,
            } => write!(f, "{name}.{namespace}:{port}"),
        }
    }
}

async fn service(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    wanted: &str,
) -> anyhow::Result<Found> {
    let services: Api<Service> = Api::namespaced(cluster.client(), namespace);
    let doing = format!("get Service {namespace}/{name}");
    let found = services.get(name).await.asked(&doing)?;
    if let Some(alias) = alias_of(&found) {
        return Err(Usage(format!(
            "service {namespace}/{name} has no address: it is another name for {alias} \
             (ExternalName); ask for an address that this has, such as 192.0.2.1:{wanted}"
        ))
        .into());
    }
    let (number, port) = match owner::port(&found, wanted) {
        Some((number, port)) => (number, Some(port)),
        None => {
            let missing = || format!("service {namespace}/{name} has no TCP port {wanted}");
            (wanted.parse().with_context(missing)?, None)
        }
    };
    let ip = found.spec.as_ref().and_then(|spec| spec.cluster_ip.clone());
    let Some(ip) = ip.and_then(|ip| ip.parse::<IpAddr>().ok()) else {
        return headless(cluster, namespace, name, wanted).await;
    };
    let address = SocketAddr::new(ip, number);
    Ok(Found::only(address, owner::at(&found, port)))
}

/// A name without an address of its own is answered with those of its pods; the first
/// of them stands for all.
async fn headless(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    wanted: &str,
) -> anyhow::Result<Found> {
    let slices: Api<EndpointSlice> = Api::namespaced(cluster.client(), namespace);
    let of_service = ListParams::default().labels(&format!("kubernetes.io/service-name={name}"));
    let slices = slices
        .list(&of_service)
        .await
        .asked("list EndpointSlices")?;
    let ips = answered_by_dns(&slices.items);
    let ip = *ips.first().with_context(|| {
        format!(
            "service {namespace}/{name} has no address of its own and no endpoint that is ready: \
             DNS has no address for its name"
        )
    })?;
    let port = wanted.parse().with_context(|| {
        format!("service {namespace}/{name} is headless: give the number of the pods' port, not {wanted}")
    })?;
    let address = SocketAddr::new(ip, port);
    Ok(Found {
        address,
        owner: owner(cluster, address).await?,
        of_addresses: ips.len(),
    })
}

/// The addresses of the endpoints that are ready, which those are too that don't say. Of a
/// service with `publishNotReadyAddresses` all are called so:
/// <https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#conditions>
fn answered_by_dns(slices: &[EndpointSlice]) -> BTreeSet<IpAddr> {
    let endpoints = slices.iter().flat_map(|slice| &slice.endpoints);
    let ready = endpoints.filter(|one| {
        let conditions = one.conditions.as_ref();
        conditions.and_then(|conditions| conditions.ready) != Some(false)
    });
    let addresses = ready.flat_map(|one| &one.addresses);
    addresses.filter_map(|ip| ip.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dns_answers_with_what_is_ready() {
        let slice = |endpoints| {
            let slice = json!({"metadata": {}, "addressType": "IPv4", "endpoints": endpoints});
            serde_json::from_value(slice).expect("a slice")
        };
        let starting = json!({"addresses": ["10.0.0.5"], "conditions": {"ready": false}});
        let ready = json!({"addresses": ["10.0.0.7"], "conditions": {"ready": true}});
        let unsaid = json!({"addresses": ["10.0.0.6"]});
        let answer = |slices: &[EndpointSlice]| {
            let ips = answered_by_dns(slices).into_iter();
            ips.map(|ip| ip.to_string()).collect::<Vec<_>>()
        };
        assert!(answer(&[]).is_empty());
        assert!(answer(&[slice(json!([starting]))]).is_empty());
        // While an endpoint moves between slices it may be in both.
        let slices = [
            slice(json!([starting, ready])),
            slice(json!([ready, unsaid])),
        ];
        assert_eq!(answer(&slices), ["10.0.0.6", "10.0.0.7"]);
    }

    #[test]
    fn refuses_what_is_neither_an_address_nor_a_service() {
        for text in [
            "",
            "echo",
            ":80",
            "echo:",
            "10.0.0.7",
            "10.0.0:80",
            "Echo:80",
            "a.b.c:80",
            "fd00::7",
            "http://echo:80",
        ] {
            assert!(Target::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_addresses_and_services_as_pods_call_them() {
        for text in ["10.0.0.7:80", "[fd00::7]:80"] {
            assert!(
                matches!(Target::read(text), Ok(Target::Address(_))),
                "{text}"
            );
        }
        for (text, expected) in [
            ("echo:80", ("echo", None, "80")),
            ("echo.shop:http", ("echo", Some("shop"), "http")),
            (
                "echo.shop.svc.cluster.local:80",
                ("echo", Some("shop"), "80"),
            ),
        ] {
            let Ok(Target::Service {
                name,
                namespace,
                port,
            }) = Target::read(text)
            else {
                panic!("{text} is a service");
            };
            assert_eq!(
                (name.as_str(), namespace.as_deref(), port.as_str()),
                expected
            );
        }
    }
}
