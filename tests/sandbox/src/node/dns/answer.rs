//! From the bytes of a query to the bytes of its answer.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, SRV};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::zone::{self, Entry};
use crate::node::cluster::Cluster;

/// Seconds; what CoreDNS says for the names of a cluster.
const TTL_SECS: u32 = 5;

/// RFC 1035, 4.2.1: what every client can take in a datagram.
const PLAIN_DATAGRAM_BYTES_MAX: u16 = 512;

/// An alias may lead to another one, and that back again.
const ALIASES_MAX: usize = 8;

/// How long an answer can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Datagram,
    Stream,
}

/// Answers a query; `None` for bytes that are no query. Before the cluster is known the answer is a
/// server failure, which resolvers try again, rather than a name that doesn't exist.
pub(super) fn answer(
    bytes: &[u8],
    cluster: Option<&Cluster>,
    domain: &str,
    limit: Limit,
) -> Option<Vec<u8>> {
    let request = Message::from_vec(bytes).ok()?;
    if request.metadata.message_type != MessageType::Query {
        return None;
    }
    let mut response = Message::response(request.metadata.id, request.metadata.op_code);
    response.metadata.recursion_desired = request.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.metadata.authoritative = true;
    if request.edns.is_some() {
        response.set_edns(Edns::new());
    }
    let code = match (request.queries.as_slice(), cluster) {
        ([query], _) if request.metadata.op_code != OpCode::Query || !is_internet(query) => {
            ResponseCode::NotImp
        }
        ([_], None) => ResponseCode::ServFail,
        ([query], Some(cluster)) => {
            response.add_query(query.clone());
            fill(&mut response, query, cluster, domain)
        }
        _ => ResponseCode::FormErr,
    };
    response.metadata.response_code = code;
    let answer = response.to_vec().ok()?;
    let room = request
        .edns
        .as_ref()
        .map_or(PLAIN_DATAGRAM_BYTES_MAX, Edns::max_payload);
    if limit == Limit::Datagram && answer.len() > usize::from(room.max(PLAIN_DATAGRAM_BYTES_MAX)) {
        return response.truncate().to_vec().ok();
    }
    Some(answer)
}

fn is_internet(query: &Query) -> bool {
    query.query_class() == DNSClass::IN
}

fn fill(response: &mut Message, query: &Query, cluster: &Cluster, domain: &str) -> ResponseCode {
    let mut owner = query.name().clone();
    let mut next = find(&owner, cluster, domain);
    if next.is_none() {
        return ResponseCode::NXDomain;
    }
    // A stub resolver doesn't ask for what an alias stands for: it is part of the answer.
    for _ in 0..ALIASES_MAX {
        let Some(entry) = next.take() else { break };
        let alias = entry.alias.as_deref().and_then(absolute);
        if let Some(alias) = &alias {
            next = find(alias, cluster, domain);
        }
        for data in records(entry, query.query_type()) {
            response.add_answer(Record::from_rdata(owner.clone(), TTL_SECS, data));
        }
        owner = alias.unwrap_or(owner);
    }
    ResponseCode::NoError
}

fn find(name: &Name, cluster: &Cluster, domain: &str) -> Option<Entry> {
    let name = name.to_ascii().to_ascii_lowercase();
    zone::lookup(cluster, domain, name.trim_end_matches('.'))
}

fn absolute(name: &str) -> Option<Name> {
    let mut name = Name::from_ascii(name).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// What a name has of the type that was asked for; an alias is the answer to every type.
fn records(entry: Entry, kind: RecordType) -> Vec<RData> {
    if let Some(alias) = entry.alias {
        let alias = absolute(&alias).map(|alias| RData::CNAME(CNAME(alias)));
        return alias.into_iter().collect();
    }
    let addrs = entry
        .addrs
        .into_iter()
        .filter_map(|addr| match (addr, kind) {
            (IpAddr::V4(addr), RecordType::A) => Some(RData::A(A(addr))),
            (IpAddr::V6(addr), RecordType::AAAA) => Some(RData::AAAA(AAAA(addr))),
            _ => None,
        });
    let ports = entry.ports.into_iter().filter(|_| kind == RecordType::SRV);
    let ports = ports
        .filter_map(|(port, target)| Some(RData::SRV(SRV::new(0, 100, port, absolute(&target)?))));
    addrs.chain(ports).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const DOMAIN: &str = "cluster.local";

    fn query(name: &str, kind: RecordType) -> Message {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
        message
    }

    fn cluster(addrs: &[&str]) -> Cluster {
        let service = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"clusterIPs": addrs, "ports": [{"port": 80}]}
        }))
        .expect("a service");
        let key = ("shop".to_owned(), "web".to_owned());
        Cluster {
            services: [(key, Arc::new(service))].into(),
            ..Cluster::default()
        }
    }

    fn ask(message: &Message, cluster: Option<&Cluster>, limit: Limit) -> Message {
        let bytes = message.to_vec().expect("a message");
        let answer = answer(&bytes, cluster, DOMAIN, limit).expect("an answer");
        Message::from_vec(&answer).expect("a message")
    }

    #[test]
    fn bytes_that_are_no_query_are_not_answered() {
        let cluster = cluster(&[]);
        let answered = query("web.shop.svc.cluster.local.", RecordType::A).into_response();
        let answered = answered.to_vec().expect("a message");
        for bytes in [&b""[..], b"GET / HTTP/1.1\r\n", &answered] {
            assert_eq!(answer(bytes, Some(&cluster), DOMAIN, Limit::Datagram), None);
        }
    }

    #[test]
    fn an_unknown_cluster_is_a_failure_and_an_unknown_name_is_not() {
        let known = cluster(&["10.96.0.7"]);
        let nobody = query("nobody.shop.svc.cluster.local.", RecordType::A);
        let code = |cluster| {
            ask(&nobody, cluster, Limit::Datagram)
                .metadata
                .response_code
        };
        assert_eq!(code(None), ResponseCode::ServFail);
        assert_eq!(code(Some(&known)), ResponseCode::NXDomain);
    }

    #[test]
    fn a_name_without_addresses_of_a_family_exists_all_the_same() {
        let cluster = cluster(&["10.96.0.7"]);
        let message = query("Web.shop.svc.cluster.local.", RecordType::AAAA);
        let answer = ask(&message, Some(&cluster), Limit::Datagram);
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        assert_eq!(answer.answers, []);
        let message = query("Web.shop.svc.cluster.local.", RecordType::A);
        let answer = ask(&message, Some(&cluster), Limit::Datagram);
        assert_eq!(answer.answers.len(), 1);
        assert_eq!(answer.metadata.id, message.metadata.id);
    }

    #[test]
    fn an_alias_comes_with_what_it_stands_for_and_may_lead_in_a_circle() {
        let mut cluster = cluster(&["10.96.0.7"]);
        for (name, target) in [("a", "web"), ("b", "c"), ("c", "b"), ("d", "none")] {
            let service = serde_json::from_value(serde_json::json!({
                "metadata": {"name": name, "namespace": "shop"},
                "spec": {"type": "ExternalName",
                         "externalName": format!("{target}.shop.svc.cluster.local")}
            }))
            .expect("a service");
            let key = ("shop".to_owned(), name.to_owned());
            cluster.services.insert(key, Arc::new(service));
        }
        let answers = |name: &str| {
            let name = format!("{name}.shop.svc.cluster.local.");
            let message = query(&name, RecordType::A);
            let answers = ask(&message, Some(&cluster), Limit::Stream).answers;
            answers.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            answers("a"),
            [
                "a.shop.svc.cluster.local. 5 IN CNAME web.shop.svc.cluster.local.",
                "web.shop.svc.cluster.local. 5 IN A 10.96.0.7"
            ]
        );
        assert_eq!(answers("b").len(), ALIASES_MAX);
        assert_eq!(answers("d").len(), 1);
    }

    #[test]
    fn an_answer_too_long_for_a_datagram_is_truncated_there_only() {
        let addrs: Vec<String> = (0..100).map(|n| format!("10.96.1.{n}")).collect();
        let cluster = cluster(&addrs.iter().map(String::as_str).collect::<Vec<_>>());
        let message = query("web.shop.svc.cluster.local.", RecordType::A);
        assert!(
            ask(&message, Some(&cluster), Limit::Datagram)
                .metadata
                .truncation
        );
        let whole = ask(&message, Some(&cluster), Limit::Stream);
        assert_eq!(
            (whole.metadata.truncation, whole.answers.len()),
            (false, 100)
        );
    }
}
