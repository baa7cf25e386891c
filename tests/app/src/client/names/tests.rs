use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use tokio::net::UdpSocket;

use super::*;

/// A name server that knows `echo.demo.svc.` by one address of each family, and nothing else.
async fn name_server() -> NameServerConfig {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a free port");
    let addr = socket.local_addr().expect("it's bound");
    tokio::spawn(async move {
        let mut packet = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut packet).await {
            let query = Message::from_vec(&packet[..length]).expect("a DNS query");
            let answer = answer(&query).to_vec().expect("it can be encoded");
            let _ = socket.send_to(&answer, peer).await;
        }
    });
    let mut udp = ConnectionConfig::udp();
    udp.port = addr.port();
    NameServerConfig::new(addr.ip(), true, vec![udp])
}

fn answer(query: &Message) -> Message {
    let asked = &query.queries[0];
    let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
    answer.add_query(asked.clone());
    let ip: IpAddr = match asked.query_type() {
        RecordType::A => [10, 96, 0, 7].into(),
        _ => [0xfd00, 0, 0, 0, 0, 0, 0, 7].into(),
    };
    if asked.name().to_ascii() == "echo.demo.svc." {
        let record = Record::from_rdata(asked.name().clone(), 30, RData::from(ip));
        answer.add_answer(record);
    } else {
        answer.metadata.response_code = ResponseCode::NXDomain;
    }
    answer
}

async fn names() -> Names {
    let search = vec![Name::from_ascii("demo.svc.").expect("a domain")];
    let config = ResolverConfig::from_parts(None, search, vec![name_server().await]);
    let provider = TokioRuntimeProvider::default();
    let resolver = build(TokioResolver::builder_with_config(config, provider));
    Names {
        resolver: OnceCell::new_with(resolver.ok()),
    }
}

async fn addresses(name: &str) -> Result<Vec<SocketAddr>, Failure> {
    let target = Target {
        host: Host::Name(name.to_owned()),
        port: 8080,
    };
    let deadline = Instant::now() + Duration::from_secs(5);
    names().await.addresses(&target, deadline).await
}

#[tokio::test]
async fn a_name_nobody_knows_is_a_resolve_failure_that_names_it() {
    let failure = addresses("ehco").await.expect_err("there is none");
    assert_eq!(failure.kind, FailureKind::Resolve);
    assert!(failure.reason.starts_with("resolve ehco: "), "{failure}");
}

#[tokio::test]
async fn a_name_has_the_addresses_of_both_families_and_ipv4_goes_first() {
    let expected = ["10.96.0.7:8080", "[fd00::7]:8080"].map(|addr| addr.parse().expect("ip:port"));
    assert_eq!(addresses("echo.demo.svc.").await, Ok(expected.to_vec()));
}

#[tokio::test]
async fn the_search_list_completes_short_names() {
    let found = addresses("echo").await.expect("echo.demo.svc is searched");
    assert_eq!(found.len(), 2, "{found:?}");
}

#[tokio::test]
async fn a_silent_name_server_is_a_timeout() {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a free port");
    let addr = silent.local_addr().expect("it's bound");
    let mut udp = ConnectionConfig::udp();
    udp.port = addr.port();
    let server = NameServerConfig::new(addr.ip(), true, vec![udp]);
    let config = ResolverConfig::from_parts(None, vec![], vec![server]);
    let provider = TokioRuntimeProvider::default();
    let names = Names {
        resolver: OnceCell::new_with(
            build(TokioResolver::builder_with_config(config, provider)).ok(),
        ),
    };
    let target = Target {
        host: Host::Name("echo.demo".to_owned()),
        port: 8080,
    };
    let deadline = Instant::now() + Duration::from_millis(30);
    let failure = names.addresses(&target, deadline).await;
    assert_eq!(failure, Err(Failure::timeout("resolving echo.demo")));
}
