//! The real sidecar behind the real rules: a pod's network namespace and a peer's,
//! joined by a veth pair.
//!
//! Needs root (or `CAP_SYS_ADMIN` and `CAP_NET_ADMIN`), iptables and iproute2.

mod drain;
#[path = "../harness/lib.rs"]
mod harness;
mod hinted;
mod idle;
mod ports;
mod probes;
mod scraped;
mod soak;
mod vanished;

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
};

use harness::{PATIENCE, namespace::dst, pod::Pod};

const FAMILIES: [Family; 2] = [
    Family {
        pod: "10.0.0.2",
        peer: "10.0.0.1",
        service: "192.0.2.10:80",
    },
    Family {
        pod: "fd00::2",
        peer: "fd00::1",
        service: "[2001:db8::10]:80",
    },
];

/// The addresses of one IP family.
struct Family {
    pod: &'static str,
    peer: &'static str,
    service: &'static str,
}

/// Answers each connection with `name`, who connected, and all that they said.
fn answer_with(listener: TcpListener, name: &'static str) {
    thread::spawn(move || {
        while let Ok((mut stream, client)) = listener.accept() {
            thread::spawn(move || -> io::Result<()> {
                let mut said = String::new();
                stream.read_to_string(&mut said)?;
                write!(stream, "{name} {} {said}", client.ip())
            });
        }
    });
}

/// Says something, closes that direction, and reads the answer to its end.
fn ask(mut stream: TcpStream, question: &str) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(question.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn is_broken_off(stream: io::Result<TcpStream>) -> bool {
    let kind = match stream.and_then(|stream| ask(stream, "hello")) {
        Ok(answer) => panic!("it was answered: {answer}"),
        Err(error) => error.kind(),
    };
    [
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::BrokenPipe,
        io::ErrorKind::ConnectionRefused,
        // The reset came just before the client closed its direction.
        io::ErrorKind::NotConnected,
    ]
    .contains(&kind)
}

#[test]
fn an_inbound_connection_reaches_the_application_where_it_was_going() {
    let pod = Pod::start(&[]);
    for family in FAMILIES {
        let app = dst(family.pod, 8080);
        answer_with(pod.listen(app), "app");
        let answer = pod
            .peer_connect(app)
            .and_then(|stream| ask(stream, "hello"));
        let expected = format!("app {} hello", family.pod);
        assert_eq!(answer.expect("the application answers"), expected);
    }
    let metrics = pod.admin("/instruments");
    assert!(
        metrics.contains(r#"netting_tcp_connections_opened_total{direction="inbound"} 2"#),
        "{metrics}"
    );
}

#[test]
fn what_is_bound_to_loopback_stays_private() {
    let pod = Pod::start(&[]);
    answer_with(pod.listen(dst("127.0.0.1", 9000)), "private");
    assert!(is_broken_off(pod.peer_connect(dst("10.0.0.2", 9000))));
    let own = pod
        .connect(dst("127.0.0.1", 9000))
        .and_then(|stream| ask(stream, "hello"));
    assert_eq!(own.expect("the pod itself may"), "private 127.0.0.1 hello");
}

#[test]
fn an_outbound_connection_goes_to_an_endpoint_of_its_service() {
    let services = FAMILIES.map(|family| {
        (
            family.service.parse().expect("a literal address"),
            dst(family.peer, 8080),
        )
    });
    let pod = Pod::start(&services);
    for (family, (service, endpoint)) in FAMILIES.iter().zip(services) {
        answer_with(pod.peer_listen(endpoint), "endpoint");
        let answer = pod.connect(service).and_then(|stream| ask(stream, "hello"));
        let expected = format!("endpoint {} hello", family.pod);
        assert_eq!(answer.expect("the endpoint answers"), expected);
    }
    let config = pod.admin("/config");
    assert!(config.contains(r#""connections_total":1"#), "{config}");
}

#[test]
fn an_unknown_address_is_reached_as_it_is() {
    let pod = Pod::start(&[]);
    for family in FAMILIES {
        let outside = dst(family.peer, 9999);
        answer_with(pod.peer_listen(outside), "outside");
        let answer = pod.connect(outside).and_then(|stream| ask(stream, "hello"));
        assert_eq!(
            answer.expect("it answers"),
            format!("outside {} hello", family.pod)
        );
    }
    let passed = r#"netting_tcp_connections_passed_through_total{direction="outbound",reason="unknown_address"} 2"#;
    let metrics = pod.admin("/instruments");
    assert!(metrics.contains(passed), "{metrics}");
}

#[test]
fn without_a_catalog_the_pod_is_ready_and_everything_passes_through() {
    let pod = Pod::start_without_catalog();
    answer_with(pod.peer_listen(dst("10.0.0.1", 9999)), "outside");
    let answer = pod
        .connect(dst("10.0.0.1", 9999))
        .and_then(|stream| ask(stream, "hello"));
    assert_eq!(answer.expect("it answers"), "outside 10.0.0.2 hello");
    assert!(
        pod.admin("/instruments")
            .contains(r#"reason="catalog_unavailable"} 1"#)
    );
}

#[test]
fn the_pods_own_address_is_reached_from_within() {
    let pod = Pod::start(&[]);
    for family in FAMILIES {
        let app = dst(family.pod, 8080);
        answer_with(pod.listen(app), "app");
        let answer = pod.connect(app).and_then(|stream| ask(stream, "hello"));
        assert_eq!(
            answer.expect("it answers"),
            format!("app {} hello", family.pod)
        );
    }
    assert!(
        pod.admin("/instruments")
            .contains(r#"reason="own_address"} 2"#)
    );
}

#[test]
fn the_sidecar_is_no_open_relay_and_never_loops() {
    let pod = Pod::start(&[]);
    for family in FAMILIES {
        for port in [15001, 15006] {
            let own = dst(family.pod, port);
            assert!(is_broken_off(pod.connect(own)), "{own} from the pod");
            assert!(is_broken_off(pod.peer_connect(own)), "{own} from outside");
        }
    }
    for port in [15001, 15006] {
        assert!(is_broken_off(pod.connect(dst("127.0.0.1", port))));
        assert!(is_broken_off(pod.connect(dst("::1", port))));
    }
}

#[test]
fn a_neighbour_cannot_reach_other_addresses_through_the_pod() {
    let pod = Pod::start(&[]);
    let beyond = dst("192.0.2.99", 80);
    pod.peer_routes_to_the_pod(beyond.ip());
    assert!(is_broken_off(pod.peer_connect(beyond)));
    let refused = r#"{direction="inbound",reason="foreign_destination"} 1"#;
    let metrics = pod.admin("/instruments");
    assert!(metrics.contains(refused), "{metrics}");
}

#[test]
fn a_second_address_of_the_pod_is_its_own() {
    let pod = Pod::start(&[]);
    let second = dst("10.0.0.3", 8080);
    pod.add_address("10.0.0.3/24");
    answer_with(pod.listen(second), "app");
    let answer = pod
        .peer_connect(second)
        .and_then(|stream| ask(stream, "hello"));
    let answer = answer.expect("it answers");
    assert!(answer.starts_with("app "), "{answer}");
}

#[test]
fn a_refused_connect_looks_like_a_reset() {
    let pod = Pod::start(&[]);
    assert!(is_broken_off(pod.peer_connect(dst("10.0.0.2", 8080))));
    assert!(is_broken_off(pod.connect(dst("10.0.0.1", 9999))));
}

#[test]
fn a_client_that_says_nothing_or_half_a_hello_disturbs_nobody() {
    let pod = Pod::start(&[]);
    let app = dst("10.0.0.2", 8080);
    answer_with(pod.listen(app), "app");
    let silent = pod.peer_connect(app).expect("the sidecar accepts");
    let mut half = pod.peer_connect(app).expect("the sidecar accepts");
    half.write_all(b"\x16\x03\x01\x02\x00\x01\x00")
        .expect("it is passed on");
    let answer = pod
        .peer_connect(app)
        .and_then(|stream| ask(stream, "hello"));
    assert_eq!(answer.expect("it answers"), "app 10.0.0.2 hello");
    drop((silent, half));
}

#[test]
fn http_is_answered_request_by_request() {
    let services = [(dst("192.0.2.10", 80), dst("10.0.0.1", 8080))];
    let pod = Pod::start(&services);
    let listener = pod.peer_listen(services[0].1);
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let response = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let upstream = thread::spawn(move || -> io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        for _ in 0..3 {
            let mut read = vec![0; request.len()];
            stream.read_exact(&mut read)?;
            assert_eq!(read, request.as_bytes());
            stream.write_all(response.as_bytes())?;
        }
        Ok(())
    });
    let mut client = pod.connect(services[0].0).expect("the sidecar accepts");
    for _ in 0..3 {
        client.write_all(request.as_bytes()).expect("it reads");
        let mut read = vec![0; response.len()];
        client.read_exact(&mut read).expect("it is answered");
        assert_eq!(read, response.as_bytes());
    }
    let ended = upstream.join().expect("it does not panic");
    ended.expect("one connection is used three times");
    let metrics = pod.admin("/instruments");
    let requests = metrics.lines().find(|line| {
        line.starts_with("http_client_request_duration_seconds_count{")
            && line.contains(r#"http_response_status_code="200""#)
    });
    assert!(
        requests.is_some_and(|line| line.ends_with(" 3")),
        "{metrics}"
    );
}

#[test]
fn the_application_may_not_answer_its_admin_port_to_others() {
    let pod = Pod::start(&[]);
    let addr: SocketAddr = dst("10.0.0.2", 15020);
    let mut admin = pod.peer_connect(addr).expect("the admin port is reachable");
    let request =
        "PUT /log HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nconnection: close\r\n\r\ntrace";
    admin.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    admin.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}
