//! The cluster's DNS server, on the node's own addresses, over UDP: addresses of Services, of the
//! endpoints of headless ones, and aliases (ExternalName). It knows no other names.
//!
//! It answers from the same view of Services that the rules are made of, so a name and the address
//! it stands for change together. See <https://github.com/kubernetes/dns/blob/master/docs/specification.md>.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use k8s_openapi::api::discovery::v1::Endpoint;
use tokio::net::UdpSocket;

use super::cluster::{Cluster, ClusterView, Key, is_ready};
use super::services::cluster_ips;

/// Seconds; what CoreDNS says for the names of a cluster.
const TTL_SECS: u32 = 5;

/// Of a query; no name is longer than 255 bytes.
const QUERY_BYTES_MAX: usize = 4096;

/// The sockets of a server that doesn't serve yet.
#[derive(Debug)]
pub(crate) struct Server {
    sockets: Vec<UdpSocket>,
    domain: Arc<str>,
}

impl Server {
    /// Binds port 53 of each address.
    ///
    /// # Errors
    /// When an address is not the node's or its port is taken.
    pub(crate) async fn bind(addrs: &[IpAddr], domain: &str) -> anyhow::Result<Self> {
        let mut sockets = Vec::new();
        for addr in addrs {
            let addr = SocketAddr::new(*addr, 53);
            let bound = UdpSocket::bind(addr).await;
            let said = || format!("bind the DNS server to {addr}; is another one running?");
            sockets.push(bound.with_context(said)?);
        }
        Ok(Self {
            sockets,
            domain: domain.into(),
        })
    }

    /// Answers until it is dropped.
    pub(crate) async fn serve(self, cluster: ClusterView) {
        let servers = self.sockets.into_iter();
        let servers = servers.map(|socket| serve(socket, cluster.clone(), self.domain.clone()));
        futures_util::future::join_all(servers).await;
    }
}

async fn serve(socket: UdpSocket, cluster: ClusterView, domain: Arc<str>) {
    let mut buffer = vec![0; QUERY_BYTES_MAX];
    loop {
        // Most often an ICMP error for an earlier answer; the socket is as good as before.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            tokio::task::yield_now().await;
            continue;
        };
        let known = cluster.borrow().clone();
        if let Some(answer) = answer(&buffer[..length], known.as_deref(), &domain)
            && let Err(error) = socket.send_to(&answer, client).await
        {
            tracing::debug!(%error, %client, "could not send a DNS answer");
        }
    }
}

/// Answers a query; `None` for bytes that are no query. Before the cluster is known the answer is a
/// server failure, which resolvers try again, rather than a name that doesn't exist.
fn answer(bytes: &[u8], cluster: Option<&Cluster>, domain: &str) -> Option<Vec<u8>> {
    let request = Message::from_vec(bytes).ok()?;
    if request.metadata.message_type != MessageType::Query {
        return None;
    }
    let mut response = Message::response(request.metadata.id, request.metadata.op_code);
    response.metadata.recursion_desired = request.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.metadata.authoritative = true;
    response.metadata.response_code = match (request.queries.as_slice(), cluster) {
        ([_], None) => ResponseCode::ServFail,
        ([query], Some(cluster)) => {
            response.add_query(query.clone());
            let records = records(query.name(), query.query_type(), cluster, domain);
            let code = if records.is_some() {
                ResponseCode::NoError
            } else {
                ResponseCode::NXDomain
            };
            for record in records.into_iter().flatten() {
                response.add_answer(record);
            }
            code
        }
        _ => ResponseCode::FormErr,
    };
    response.to_vec().ok()
}

/// What the name stands for; `None` if there is no such name.
fn records(name: &Name, kind: RecordType, cluster: &Cluster, domain: &str) -> Option<Vec<Record>> {
    let record = |owner: &Name, data| Record::from_rdata(owner.clone(), TTL_SECS, data);
    let addresses = |owner: &Name, addrs: Vec<IpAddr>| {
        let data = addrs.into_iter().filter_map(|addr| match (addr, kind) {
            (IpAddr::V4(addr), RecordType::A) => Some(RData::A(A(addr))),
            (IpAddr::V6(addr), RecordType::AAAA) => Some(RData::AAAA(AAAA(addr))),
            _ => None,
        });
        data.map(|data| record(owner, data)).collect::<Vec<_>>()
    };
    match lookup(name, cluster, domain)? {
        Entry::Addresses(addrs) => Some(addresses(name, addrs)),
        Entry::Alias(target) => {
            let mut records = vec![record(name, RData::CNAME(CNAME(target.clone())))];
            // A stub resolver doesn't ask for what an alias stands for: it is part of the answer.
            if let Some(Entry::Addresses(addrs)) = lookup(&target, cluster, domain) {
                records.extend(addresses(&target, addrs));
            }
            Some(records)
        }
    }
}

/// What a name that exists stands for.
enum Entry {
    Addresses(Vec<IpAddr>),
    Alias(Name),
}

fn lookup(name: &Name, cluster: &Cluster, domain: &str) -> Option<Entry> {
    let name = name.to_ascii().to_ascii_lowercase();
    let local = name
        .trim_end_matches('.')
        .strip_suffix(domain)?
        .strip_suffix(".svc.")?;
    let labels: Vec<&str> = local.split('.').collect();
    let (host, service, namespace) = match labels.as_slice() {
        [service, namespace] => (None, *service, *namespace),
        [host, service, namespace] => (Some(*host), *service, *namespace),
        _ => return None,
    };
    let key: Key = (namespace.to_owned(), service.to_owned());
    let spec = cluster.services.get(&key)?.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        let mut target = Name::from_ascii(spec.external_name.as_ref()?).ok()?;
        target.set_fqdn(true);
        return Some(Entry::Alias(target));
    }
    if spec.cluster_ip.as_deref() != Some("None") {
        let addrs = cluster_ips(cluster.services.get(&key)?);
        return host.is_none().then_some(Entry::Addresses(addrs));
    }
    // The endpoints of a headless Service are found together, and each by a name of its own.
    let early = spec.publish_not_ready_addresses == Some(true);
    let endpoints = cluster.slices_of(&key).flat_map(|slice| &slice.endpoints);
    let wanted = |endpoint: &&Endpoint| {
        (early || is_ready(endpoint)) && host.is_none_or(|host| endpoint_name(endpoint) == host)
    };
    let addrs = endpoints
        .filter(wanted)
        .flat_map(|endpoint| &endpoint.addresses);
    let addrs: Vec<IpAddr> = addrs.filter_map(|addr| addr.parse().ok()).collect();
    (host.is_none() || !addrs.is_empty()).then_some(Entry::Addresses(addrs))
}

/// The pod's hostname, or its address with dashes.
fn endpoint_name(endpoint: &Endpoint) -> String {
    let addr = endpoint
        .addresses
        .first()
        .map(|addr| addr.replace(['.', ':'], "-"));
    endpoint.hostname.clone().or(addr).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Query;
    use serde_json::{Value, json};

    use super::*;

    fn cluster() -> Cluster {
        let service = |name: &str, spec: Value| {
            let object = json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec});
            Arc::new(serde_json::from_value(object).expect("a service"))
        };
        let alias = |target: &str| json!({"type": "ExternalName", "externalName": target});
        let slice = json!({"metadata": {"name": "x", "namespace": "shop", "labels": {"kubernetes.io/service-name": "db"}},
            "addressType": "IPv4", "endpoints": [
                {"addresses": ["10.244.0.5"], "hostname": "db-0", "conditions": {"ready": true}},
                {"addresses": ["10.244.0.6"], "conditions": {"ready": false}}, {"addresses": ["garbage"]}]});
        let services = vec![
            service(
                "web",
                json!({"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7", "fd00::7"]}),
            ),
            service("db", json!({"clusterIP": "None", "clusterIPs": ["None"]})),
            service("a", alias("web.shop.svc.cluster.local")),
            service("circle", alias("circle.shop.svc.cluster.local")),
        ];
        Cluster::new(
            services,
            vec![Arc::new(serde_json::from_value(slice).expect("a slice"))],
        )
    }

    fn ask(name: &str, kind: RecordType, cluster: Option<&Cluster>) -> (ResponseCode, Vec<String>) {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
        let bytes = message.to_vec().expect("a message");
        let answer = answer(&bytes, cluster, "cluster.local").expect("an answer");
        let answer = Message::from_vec(&answer).expect("a message");
        assert_eq!(answer.metadata.id, message.metadata.id);
        let said = answer
            .answers
            .iter()
            .map(|record| record.data.to_string())
            .collect();
        (answer.metadata.response_code, said)
    }

    #[test]
    fn bytes_that_are_no_query_are_not_answered() {
        for bytes in [&b""[..], b"GET / HTTP/1.1\r\n"] {
            assert_eq!(answer(bytes, Some(&cluster()), "cluster.local"), None);
        }
    }

    #[test]
    fn an_unknown_cluster_is_a_failure_and_an_unknown_name_is_not() {
        let name = "nobody.shop.svc.cluster.local.";
        assert_eq!(ask(name, RecordType::A, None).0, ResponseCode::ServFail);
        for name in [
            name,
            "example.org.",
            "db-1.db.shop.svc.cluster.local.",
            "x.web.shop.svc.cluster.local.",
        ] {
            assert_eq!(
                ask(name, RecordType::A, Some(&cluster())).0,
                ResponseCode::NXDomain,
                "{name}"
            );
        }
    }

    #[test]
    fn names_stand_for_the_addresses_of_the_family_that_is_asked_for() {
        let (yes, cluster) = (ResponseCode::NoError, cluster());
        for (name, kind, expected) in [
            ("Web.shop", RecordType::A, &["10.96.0.7"][..]),
            ("web.shop", RecordType::AAAA, &["fd00::7"]),
            ("db.shop", RecordType::A, &["10.244.0.5"]),
            ("db.shop", RecordType::AAAA, &[]),
            ("db-0.db.shop", RecordType::A, &["10.244.0.5"]),
            (
                "a.shop",
                RecordType::A,
                &["web.shop.svc.cluster.local.", "10.96.0.7"],
            ),
            (
                "circle.shop",
                RecordType::A,
                &["circle.shop.svc.cluster.local."],
            ),
        ] {
            let (code, said) = ask(&format!("{name}.svc.cluster.local."), kind, Some(&cluster));
            assert_eq!(
                (code, said),
                (yes, expected.iter().map(|one| (*one).to_owned()).collect()),
                "{name}"
            );
        }
    }
}
